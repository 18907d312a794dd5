"""ImageNet-C-bar, perlin_noise."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, blend_pattern
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream, integers

CELL_PX = 32
OCTAVES = (1, 2, 4, 8, 16)
PERIOD = 256
NOISE_SCALE = 1.5


@corruption(
    family="noise",
    source=f"{SOURCE}: perlin_noise",
    draws={
        "alpha": PerSeverity(0.23, 0.26, 0.29, 0.38, 0.44, highest=1.0),
        "lattice": NoiseField(),
    },
    bytes_per_value=16,
)
def perlin_noise(
    images: Images, *, released: bool = False, alpha: PerImage, lattice: Stream
) -> Images:
    """Mix the image with turbulence: the absolute value of Perlin noise at five scales.

    As published, the noise is between mid-grey and white, so that it brightens dark images. All
    scales start at the top left pixel and share one lattice, as in Perlin's reference
    implementation of 1985, so that the pattern there repeats at half the size.

    Args:
        released: Truncate uint8 results instead of rounding them.
        alpha: Weight of the noise; published as 0.05 times the paper's severity.
        lattice: Random words for a permutation of 256 lattice points and a gradient for each.
            Departure: a gradient is never zero; in the released code one in 262,144 is.
    """
    order, gradients = _lattice(lattice)
    height, width = images.shape[2:]
    cell_px = CELL_PX * min(height, width) / REFERENCE_SIDE_PX
    total = torch.zeros((len(images), height, width), dtype=torch.float32, device=images.device)
    for frequency in OCTAVES:
        noise = _noise(order, gradients, height, width, cell_px / frequency)
        total.add_(noise.abs_().mul_(1 / frequency))
    pattern = total.mul_(0.5 * NOISE_SCALE).add_(0.5).clamp_(max=1)
    return blend_pattern(images, pattern[:, None], alpha, released=released)


def _lattice(stream: Stream) -> tuple[Tensor, Tensor]:
    """A permutation, int64 (batch, 256), and unit vectors, float32 (batch, 256, 2).

    As published, the vectors point to random points of a square, not of a circle, so that
    diagonal directions are more likely.
    """
    order = integers(stream.words(PERIOD)[0], 0, (1 << 24) - 1).argsort(dim=1, stable=True)
    corner = torch.stack(stream.words(PERIOD, lane=1), dim=2)
    offset = integers(corner, -PERIOD, PERIOD - 1).to(torch.float64) + 0.5
    return order, (offset / offset.square().sum(dim=2, keepdim=True).sqrt()).to(torch.float32)


def _noise(order: Tensor, gradients: Tensor, height: int, width: int, cell_px: float) -> Tensor:
    """Perlin noise without its factor: float32 (batch, height, width).

    At a position r within a cell, corner 0 contributes gradient · r with the weight 1 − s(r),
    and corner 1 gradient · (r − 1) with the weight s(r). The sum over the four corners is
    separable, so rows and columns are interpolated one after the other.
    """
    rows, row, row_weight, row_pull = _along(height, cell_px, order.device)
    columns, column, column_weight, column_pull = _along(width, cell_px, order.device)
    grid = _gradients_at(order, gradients, rows, columns).permute(3, 0, 2, 1)
    down = _interpolated(grid[0], row, row_pull).mT
    across = _interpolated(grid[1], row, row_weight).mT
    noise = _interpolated(down, column, column_weight)
    return noise.add_(_interpolated(across, column, column_pull))


def _along(
    size: int, cell_px: float, device: torch.device
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Interpolation between lattice lines.

    Returns:
        The lattice lines next to pixels, ascending; for each pixel, the index among them of the
        line before it, which is followed by the line after it; weights and offsets (pulls) of
        the two lines.
    """
    position = torch.arange(size, dtype=torch.float64) / cell_px
    line = position.floor()
    rest = position - line
    ease = rest**2 * (3 - 2 * rest)
    columns = (1 - ease, ease, (1 - ease) * rest, ease * (rest - 1))
    first, second, pull_first, pull_second = (c.to(torch.float32).to(device) for c in columns)
    before = line.to(torch.int64)
    lines: Tensor = torch.unique(torch.cat([before, before + 1]))
    index = torch.searchsorted(lines, before)
    return lines.to(device), index.to(device), (first, second), (pull_first, pull_second)


def _gradients_at(order: Tensor, gradients: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The gradients at the lattice points: float32 (batch, rows, columns, 2)."""
    position = (order[:, rows % PERIOD][:, :, None] + columns) % PERIOD
    index = order.gather(1, position.flatten(1))[..., None].expand(-1, -1, 2)
    return gradients.gather(1, index).view(*position.shape, 2)


def _interpolated(values: Tensor, line: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    """Weighted sums of neighbours along the last axis: (…, lattice) to (…, len(line))."""
    first, second = weights
    return (values[..., line] * first).add_(values[..., line + 1] * second)
