"""Gaussian filters and magnification like SciPy's, and sums over discs.

Results are bit-identical for any batch and any number of threads: products and sums are
separate operations in a fixed order, or exact, as the sums in matrix products are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["nearest", "reflect", "mirror", "odd"]


def gaussian_filter(
    values: Tensor,
    sigma_px: float | tuple[float, float],
    *,
    truncate: float = 4.0,
    border: Border = "nearest",
) -> Tensor:
    """Filter along rows and columns like `scipy.ndimage.gaussian_filter`.

    Args:
        values: uint8, or float32 with magnitudes up to 256; (batch, channels, height, width).
        sigma_px: Standard deviation, or one along the columns and one along the rows. An axis
            whose kernel has a radius of 0 is not filtered.
        truncate: Radius of the kernel in standard deviations, rounded to whole pixels.
        border: SciPy's name of the border: "nearest" repeats the edge pixel, "reflect" mirrors
            about the edge (d c b a | a b c d), "mirror" about the edge pixel (d c b | a b c d).

    Returns:
        float32 with the shape and in the units of the values.
    """
    down, across = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    kernels = gaussian_kernel(down, truncate), gaussian_kernel(across, truncate)
    return filter_planes(values.flatten(0, 1), *kernels, border).view(values.shape)


def filter_planes(
    planes: Tensor, down: list[float], across: list[float], border: Border
) -> Tensor:
    """Filter (planes, height, width) along rows and columns with symmetric kernels: float32.

    Args:
        planes: uint8, or float32 with magnitudes up to 256.
        down, across: Weights along the columns and along the rows, from the centre outwards.
        border: See `gaussian_filter`; "odd" mirrors with the opposite sign about the first
            pixel outside, which is 0 (a b c | 0 -c -b).
    """
    rows = _along_columns(planes.mT, across, border).mT
    return _along_columns(rows, down, border).contiguous()


def gaussian_kernel(sigma: float, truncate: float = 4.0) -> list[float]:
    """SciPy's weights, from the centre outwards; see `gaussian_filter`."""
    radius = int(truncate * sigma + 0.5)
    half = [math.exp(-0.5 * (x / sigma) ** 2) if x else 1.0 for x in range(radius + 1)]
    total = 2 * math.fsum(half) - 1
    return [weight / total for weight in half]


def _along_columns(planes: Tensor, kernel: list[float], border: Border) -> Tensor:
    radius, size = len(kernel) - 1, planes.shape[1]
    if radius == 0:
        return planes.to(torch.float32, copy=True)
    if 6 * radius > size:
        return _by_matrix(planes, _matrix(size, kernel, border))
    return symmetric_sum(extended(planes, (radius, radius), (0, 0), border), kernel, 1)


def extended(
    planes: Tensor,
    rows: tuple[int, int],
    columns: tuple[int, int],
    border: Border,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Pad planes beyond their borders.

    Args:
        planes: (planes, height, width).
        rows, columns: Numbers to add before and after; less than the size, unless the border is
            "nearest".
        border: See `gaussian_filter`.
        dtype: dtype of the result.
    """
    count, height, width = planes.shape
    result = torch.empty(
        count,
        height + sum(rows),
        width + sum(columns),
        dtype=dtype,
        device=planes.device,
    )
    inner = result[:, rows[0] : rows[0] + height]
    inner[:, :, columns[0] : columns[0] + width] = planes
    _continue(inner, *columns, border)
    _continue(result.mT, *rows, border)
    return result


def _continue(planes: Tensor, before: int, after: int, border: Border) -> None:
    """Fill the first and the last columns from the columns between them."""
    end = planes.shape[2] - after
    if border == "nearest":
        planes[:, :, :before] = planes[:, :, before : before + 1]
        planes[:, :, end:] = planes[:, :, end - 1 : end]
        return
    if border == "odd":
        if before:
            planes[:, :, : before - 1] = -planes[:, :, before : 2 * before - 1].flip(2)
            planes[:, :, before - 1] = 0
        if after:
            planes[:, :, end + 1 :] = -planes[:, :, end - after + 1 : end].flip(2)
            planes[:, :, end] = 0
        return
    skip = 1 if border == "mirror" else 0
    planes[:, :, :before] = planes[:, :, before + skip : 2 * before + skip].flip(2)
    planes[:, :, end:] = planes[:, :, end - skip - after : end - skip].flip(2)


def symmetric_sum(values: Tensor, kernel: list[float], dim: int) -> Tensor:
    """Filter along an axis with a symmetric kernel, where all taps lie inside: float32.

    Pairs of taps are added from the ends inwards, and the sum is scaled before the next pair.

    Args:
        values: float32.
        kernel: At least two weights, from the centre outwards, none of them 0.
        dim: The axis, which becomes shorter by the radius at both ends.
    """
    radius = len(kernel) - 1

    def tap(number: int) -> Tensor:
        return values.narrow(dim, radius + number, values.shape[dim] - 2 * radius)

    total = tap(-radius) + tap(radius)
    for number in range(radius - 1, 0, -1):
        total.mul_(kernel[number + 1] / kernel[number]).add_(tap(-number)).add_(tap(number))
    return total.mul_(kernel[1] / kernel[0]).add_(tap(0)).mul_(kernel[0])


def disc_sums(planes: Tensor, half_widths: Sequence[int]) -> Tensor:
    """Sum over a disc around each pixel whose disc lies inside: (planes, height, width).

    The sums along a row are extended from the shortest chord of the disc to the longest, and
    added to every row of the disc with that chord.

    Args:
        planes: Integers (planes, height, width).
        half_widths: Half-widths of the disc in pixels, in its middle row and those below it.
    """
    reach, half = len(half_widths) - 1, 0
    height, width = (side - 2 * reach for side in planes.shape[1:])
    chord = planes[:, :, reach : reach + width].clone()
    total = torch.zeros_like(chord[:, :height])
    for row in range(reach, -1, -1):
        while half < half_widths[row]:
            half += 1
            chord.add_(planes[:, :, reach + half : reach + half + width])
            chord.add_(planes[:, :, reach - half : reach - half + width])
        for line in {reach - row, reach + row}:
            total.add_(chord[:, line : line + height])
    return total


def _by_matrix(planes: Tensor, matrix: Tensor) -> Tensor:
    """Multiply planes from the left by a matrix of multiples of 2^-24: float32.

    Partial sums of multiples of 2^-42 up to 2^8 are exact in float64.
    """
    fixed = planes.to(torch.float64)
    if planes.dtype != torch.uint8:
        fixed = fixed.mul_(2.0**18).round_().mul_(2.0**-18)
    return (matrix.to(planes.device) @ fixed).to(torch.float32)


def _matrix(size: int, kernel: list[float], border: Border) -> Tensor:
    """The matrix of a filter along a column of this size: float64 (size, size)."""
    radius = len(kernel) - 1
    position = torch.arange(-radius, size + radius)
    if border == "nearest":
        position = position.clamp(0, size - 1)
    else:
        last = 2 * size - 1 if border == "reflect" else 2 * size - 2
        turn = position % (last + (border == "reflect"))
        position = torch.minimum(turn, last - turn)
    weights = torch.tensor([*kernel[:0:-1], *kernel], dtype=torch.float64)
    weights = weights.mul(2.0**24).round_().mul_(2.0**-24)
    weights[radius] += 1 - weights.sum()
    source = position.unfold(0, 2 * radius + 1, 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, source, weights.expand(size, -1))


def clipped_zoom(values: Tensor, factor: float, size: tuple[int, int] | None = None) -> Tensor:
    """Magnify the centre of each image to its full size: bilinear, with aligned corners.

    A crop of ceil(side / factor) is resized to round(crop · factor), and trimmed equally on
    both sides. Positions in the crop have the precision of the values: in float32, results at
    224 px are off by up to 1e-5 of the range.

    Args:
        values: float32 or float64 (batch, channels, height, width).
        factor: Magnification, at least 1.
        size: Height and width of the images, if `values` are already the crops.
    """
    sides = size or tuple(values.shape[2:])
    crop = [math.ceil(side / factor) for side in sides]
    if size is None:
        values = _middle(values, crop)
    large = [round(side * factor) for side in crop]
    return _middle(F.interpolate(values, large, mode="bilinear", align_corners=True), sides)


def _middle(values: Tensor, sides: Sequence[int]) -> Tensor:
    for dim, side in enumerate(sides, 2):
        values = values.narrow(dim, (values.shape[dim] - side) // 2, side)
    return values
