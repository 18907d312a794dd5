"""ImageNet-C: fog."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.pixels import from_float, full_scale, per_image, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import FIELD_ROUNDS, Stream

# Grids up to this side use 16-bit numbers; finer grids, whose steps are small, use bytes.
COARSE_SIDE = 64


@corruption(
    family="weather",
    source="Hendrycks & Dietterich 2019, released code: fog",
    draws={
        "intensity": PerSeverity(1.5, 2.0, 2.5, 2.5, 3.0),
        "wibble_decay": PerSeverity(2.0, 2.0, 1.7, 1.5, 1.4, lowest=1.0),
        "plasma": NoiseField(),
    },
    bytes_per_value=24,
)
def fog(
    images: Images,
    *,
    released: bool = False,
    intensity: PerImage,
    wibble_decay: PerImage,
    plasma: Stream,
) -> Images:
    """Add a fractal height map, and rescale so that the maximum of the image does not change.

    Heights are 0 to 1. The side of the map is the smallest power of two that covers the image,
    which gets its upper left corner, the same in all channels.

    Args:
        released: Truncate uint8 results instead of rounding them.
        intensity: Factor of the map before rescaling, as a share of white.
        wibble_decay: Root of the factor by which steps shrink when the grid becomes twice as
            fine.
        plasma: 8 or 16 random bits for each element of the map.
    """
    height, width = images.shape[2:]
    maximum = images.flatten(1).amax(dim=1).to(torch.float64) / full_scale(images)
    # A black image stays black, even at intensity 0.
    share = maximum / (maximum + intensity).clamp(min=torch.finfo(torch.float64).tiny)
    side = 1 << (max(height, width) - 1).bit_length()
    heights = _height_map(plasma, wibble_decay, side)
    low, high = heights.amin(dim=(1, 2)), heights.amax(dim=(1, 2))
    gain = share * intensity * full_scale(images) / (high - low).to(torch.float64)
    veil = (heights[:, None, :height, :width] - per_image(low)) * per_image(gain)
    values = to_float(images) * per_image(share) + veil
    return from_float(values, images.dtype, in_range=True, truncate=released)


def _height_map(plasma: Stream, decay: Tensor, side: int) -> Tensor:
    """A periodic fractal height map of a side: float32 (batch, side, side).

    Computed by the diamond-square algorithm: starting from a single 0, the grid is refined by
    two until it has the side of the map. New points, first at centres and then at edges, are
    the mean of their four neighbours plus a uniform number.

    The first words of the stream's elements, followed by their second words, are split into
    16-bit numbers for grids up to `COARSE_SIDE`, and into bytes for finer grids. The grid of
    side n is refined with numbers n² to 4 n² − 1: for the centres, then for the edges along
    rows, then for the edges along columns. Maps are square even if images are not.
    """
    halves = min(side, COARSE_SIDE) ** 2
    words = torch.cat(plasma.words((side**2 + halves) // 8, rounds=FIELD_ROUNDS), dim=1)
    halfwords, bytes_ = words.view(torch.int16), words.view(torch.int8)[:, halves:]
    grid = torch.zeros(len(decay), 1, 1, device=decay.device)
    reach = torch.ones_like(decay)
    while (n := grid.shape[1]) < side:
        numbers, whole = (halfwords, 1 << 15) if 2 * n <= COARSE_SIDE else (bytes_, 1 << 7)
        steps = numbers[:, n * n : 4 * n * n].view(-1, 3, n, n).to(torch.float32)
        steps = (steps + 0.5) * per_image(reach / whole)
        centre, along_row, along_column = steps.unbind(dim=1)
        pairs = grid + grid.roll(-1, dims=2)
        centre = centre + pairs / 4 + pairs.roll(-1, dims=1) / 4
        along_row = along_row + (pairs + centre + centre.roll(1, dims=1)) / 4
        below = grid.roll(-1, dims=1)
        along_column = along_column + (grid + below + centre + centre.roll(1, dims=2)) / 4
        upper, lower = torch.stack([grid, along_row], 3), torch.stack([along_column, centre], 3)
        grid = torch.stack([upper, lower], dim=2).view(-1, 2 * n, 2 * n)
        reach = reach / decay**2
    return grid
