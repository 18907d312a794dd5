"""ImageNet-C: fog."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Field, PerLevel
from noctule.corruptions.grouping import few_at_a_time
from noctule.corruptions.pixels import full_scale, in_levels, per_image, to_float
from noctule.corruptions.registry import corruption
from noctule.sampling import FIELD_ROUNDS, Stream

# Up to this side a map is made of 16-bit numbers; the finer grain, of little height, of bytes.
COARSE_SIDE = 64


@corruption(
    family="weather",
    source="Hendrycks & Dietterich 2019, published code: fog",
    draws={
        "intensity": PerLevel(1.5, 2.0, 2.5, 2.5, 3.0),
        "wibble_decay": PerLevel(2.0, 2.0, 1.7, 1.5, 1.4, lowest=1.0),
        "plasma": Field(),
    },
)
def fog(
    images: Tensor,
    *,
    published: bool = False,
    intensity: Tensor,
    wibble_decay: Tensor,
    plasma: Stream,
) -> Tensor:
    """Add a fractal height map, and scale back so that the image's maximum stays.

    The map has heights of 0 to 1 and repeats with the smallest power of two that covers the
    image; the image shows its upper left corner, the same in all channels.

    Args:
        images: see `noctule.corrupt`.
        published: cut the result off to whole levels instead of rounding; uint8 only.
        intensity: of white, the height of the map before scaling back, (batch,).
        wibble_decay: by whose square the fractal's steps shrink when they halve, (batch,).
        plasma: 8 or 16 random bits for each element of the map.
    """
    height, width = images.shape[2:]
    maximum = images.flatten(1).amax(dim=1).to(torch.float64) / full_scale(images)
    # A black image stays black, also without fog.
    share = maximum / (maximum + intensity).clamp(min=torch.finfo(torch.float64).tiny)
    planes = _plasma_planes(plasma, wibble_decay, max(height, width))
    low = torch.stack([plane.flatten(1).amin(dim=1) for plane in planes]).amin(dim=0)
    high = torch.stack([plane.flatten(1).amax(dim=1) for plane in planes]).amax(dim=0)
    gain = share * intensity * full_scale(images) / (high - low).to(torch.float64)
    rows, columns = -(-height // 2), -(-width // 2)
    heights = _interleaved([plane[:, :rows, :columns] for plane in planes])
    veil = heights[:, None, :height, :width].sub_(per_image(low)).mul_(per_image(gain))

    def change(few: Tensor, what_is_left: Tensor, added: Tensor) -> Tensor:
        values = to_float(few).mul_(what_is_left).add_(added)
        return in_levels(values, images.dtype, in_range=True, truncate=published)

    return few_at_a_time(change, images, per_image(share), veil)


def _plasma_planes(plasma: Stream, decay: Tensor, least_side: int) -> list[Tensor]:
    """A fractal height map that repeats, by the diamond-square algorithm.

    From a single 0, the grid is made twice as fine until its side is at least `least_side`: a
    new point is the mean of its four neighbours plus a uniform number, first for the centres
    and then for the edges. Element k of the stream belongs to the new points n² to 4 n² − 1
    of the grid with side n: first the centres, then the edges along rows, along columns.

    Returns:
        The map's [0::2, 0::2], [0::2, 1::2], [1::2, 0::2] and [1::2, 1::2], each float32
        (batch, side / 2, side / 2).
    """
    side = 1 << (least_side - 1).bit_length()
    steps = _Steps(plasma, side)
    grid = torch.zeros((len(plasma), 1, 1), dtype=torch.float32, device=plasma.keys.device)
    reach = torch.ones_like(decay)
    while True:
        corner, n = grid, grid.shape[1]
        centre, along_row, along_column = steps.of(n, reach)
        pairs = _add_rolled(corner.clone(), corner, -1, 2)
        _add_rolled(centre.add_(pairs, alpha=0.25), pairs, -1, 1, alpha=0.25)
        along_row.add_(_add_rolled(pairs.add_(centre), centre, 1, 1), alpha=0.25)
        pairs = _add_rolled(corner.clone(), corner, -1, 1)
        along_column.add_(_add_rolled(pairs.add_(centre), centre, 1, 2), alpha=0.25)
        planes = [corner, along_row, along_column, centre]
        if 2 * n == side:
            return planes
        grid = _interleaved(planes)
        reach = reach / decay**2


def _add_rolled(
    total: Tensor, values: Tensor, shift: int, dim: int, *, alpha: float = 1.0
) -> Tensor:
    """`total.add_(values.roll(shift, dim), alpha=alpha)` without a copy, for a shift of ±1."""
    size = total.shape[dim]
    to, source = (1, 0) if shift > 0 else (0, 1)
    most = values.narrow(dim, source, size - 1)
    total.narrow(dim, to, size - 1).add_(most, alpha=alpha)
    end, other_end = (0, size - 1) if shift > 0 else (size - 1, 0)
    total.narrow(dim, end, 1).add_(values.narrow(dim, other_end, 1), alpha=alpha)
    return total


class _Steps:
    """The uniform numbers that a map of a given side is made of.

    The first words of the stream's elements, followed by their second words, are cut into
    halves for the grids up to `COARSE_SIDE`, and the rest into bytes.
    """

    def __init__(self, plasma: Stream, side: int) -> None:
        self.halves = min(side, COARSE_SIDE) ** 2
        words = plasma.words((side**2 + self.halves) // 8, rounds=FIELD_ROUNDS)
        self.bytes = torch.cat(words, dim=1).view(torch.int8)

    def of(self, n: int, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three grids of side n, uniform in (−reach, reach): float32 (batch, n, n) each."""
        if 2 * n <= COARSE_SIDE:
            numbers, first, whole = self.bytes.view(torch.int16), n * n, 1 << 15
        else:
            numbers, first, whole = self.bytes, n * n + self.halves, 1 << 7
        part = numbers[:, first : first + 3 * n * n].to(torch.float32).add_(0.5)
        part.mul_((reach / whole).to(torch.float32)[:, None])
        centre, along_row, along_column = part.view(len(part), 3, n, n).unbind(dim=1)
        return centre, along_row, along_column


def _interleaved(planes: list[Tensor]) -> Tensor:
    """One grid (batch, 2 n, 2 m) of its four parts (batch, n, m), in order of rows."""
    upper, lower = (
        torch.view_as_real(torch.complex(left, right)).flatten(2)
        for left, right in (planes[:2], planes[2:])
    )
    return torch.stack([upper, lower], dim=2).flatten(1, 2)
