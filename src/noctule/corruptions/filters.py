"""Gaussian filters and magnification like SciPy's, and sums of shifted images.

Results are bit-identical for any batch and any number of threads. Where torch may fuse a
product and a sum for some elements only, the products are exact (bytes times weights of 16
bits), so that fusing changes nothing; elsewhere they are separate operations. Sums in matrix
products are exact, so that their order does not matter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from noctule.corruptions.grouping import in_chunks

Border = Literal["nearest", "reflect", "mirror"]

_WEIGHT_BITS = 16
LANES = 16
# Larger planes fill vectors by themselves.
_LARGE_PX = 3 * 224**2


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
    planes = values.flatten(0, 1)
    result = torch.empty_like(planes, dtype=torch.float32)
    for chunk, out in in_chunks(planes, result):
        rows = _along_rows(chunk, gaussian_kernel(across, truncate), border)
        _along_columns(rows, gaussian_kernel(down, truncate), border, out)
    return result.view(values.shape)


def gaussian_kernel(sigma: float, truncate: float = 4.0) -> list[float]:
    """SciPy's weights, from the centre outwards; see `gaussian_filter`."""
    radius = int(truncate * sigma + 0.5)
    half = [math.exp(-0.5 * (x / sigma) ** 2) if x else 1.0 for x in range(radius + 1)]
    total = 2 * math.fsum(half) - 1
    return [weight / total for weight in half]


def _along_rows(planes: Tensor, kernel: list[float], border: Border) -> Tensor:
    """Filter (planes, height, width) along the rows: float32."""
    radius, (count, height, width) = len(kernel) - 1, planes.shape
    if radius == 0:
        return planes.to(torch.float32)
    if 6 * radius > width:
        return _by_matrix(planes, _matrix(width, kernel, border).T)
    # Rows are stored end to end; sums across their ends fall into the margins.
    flat = extended(planes, (0, 0), (radius, radius), border).view(1, -1)
    length = flat.shape[1] - 2 * radius
    if planes.dtype == torch.uint8:
        weights = (*kernel[:0:-1], *kernel)
        summed = sum_of_bytes(flat, range(2 * radius + 1), weights, length)
    else:
        summed = symmetric_sum(flat, kernel, 1, planes.new_empty(1, length))
    pitch = width + 2 * radius
    return summed.as_strided((count, height, width), (height * pitch, pitch, 1))


def _along_columns(planes: Tensor, kernel: list[float], border: Border, out: Tensor) -> None:
    """Filter float32 (planes, height, width) along the columns, into `out`."""
    radius, (count, height, width) = len(kernel) - 1, planes.shape
    if radius == 0:
        out.copy_(planes)
    elif 6 * radius > height:
        out.copy_(_by_matrix(planes.mT, _matrix(height, kernel, border).T).mT)
    else:
        flat = extended(planes, (radius, radius), (0, 0), border).view(count, -1)
        symmetric_sum(flat, kernel, width, out.view(count, -1))


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
    skip = 1 if border == "mirror" else 0
    planes[:, :, :before] = planes[:, :, before + skip : 2 * before + skip].flip(2)
    planes[:, :, end:] = planes[:, :, end - skip - after : end - skip].flip(2)


def sum_of_bytes(
    values: Tensor, offsets: Sequence[int], weights: tuple[float, ...], length: int
) -> Tensor:
    """Σ weight · values[:, offset : offset + length], for integers: float32 (planes, length).

    Args:
        values: Integers from −256 to 256, as float32 (planes, n).
        offsets: Offset of each tap.
        weights: Weight of each tap; see `byte_weights`.
        length: Length of the result.
    """
    (first, weight), *others = byte_weights(weights)
    total = values[:, offsets[first] : offsets[first] + length] * weight
    for tap, weight in others:
        total.add_(values[:, offsets[tap] : offsets[tap] + length], alpha=weight)
    return total


@functools.lru_cache(maxsize=64)
def byte_weights(weights: tuple[float, ...]) -> list[tuple[int, float]]:
    """Split weights into weights of 16 significant bits: (index of the tap, weight).

    Large rounding errors are added to their taps separately. All others are added to the first
    tap, so that a constant image keeps its value.
    """
    rounded = [_rounded(weight) for weight in weights]
    errors = [
        (tap, weight - near)
        for tap, (weight, near) in enumerate(zip(weights, rounded, strict=True))
    ]
    large = [(tap, error) for tap, error in errors if abs(error) > 2.0**-20]
    pooled = math.fsum(error for _, error in errors) - math.fsum(error for _, error in large)
    corrections = [(tap, _rounded(error)) for tap, error in [*large, (0, pooled)]]
    return [*enumerate(rounded), *corrections]


def _rounded(weight: float) -> float:
    mantissa, exponent = math.frexp(weight)
    return math.ldexp(round(math.ldexp(mantissa, _WEIGHT_BITS)), exponent - _WEIGHT_BITS)


def sum_of_floats(
    values: Tensor, offsets: Sequence[int], weights: Sequence[float], length: int
) -> Tensor:
    """`sum_of_bytes` for any float32 values, in twice the time."""
    total = values.new_zeros(len(values), length)
    product = torch.empty_like(total)
    for offset, weight in zip(offsets, weights, strict=True):
        total.add_(torch.mul(values[:, offset : offset + length], weight, out=product))
    return total


def symmetric_sum(values: Tensor, kernel: list[float], step: int, out: Tensor) -> Tensor:
    """Filter with a symmetric kernel, write the result into `out` and return it.

    Pairs of taps are added from the ends inwards, and the sum is scaled before the next pair:
    without temporaries for products, everything stays in a CPU's cache.

    Args:
        values: float32 (planes, n).
        kernel: At least two weights, from the centre outwards, none of them 0.
        step: Distance between taps.
        out: float32 (planes, n − 2 · radius · step).
    """
    radius, length = len(kernel) - 1, out.shape[1]

    def tap(number: int) -> Tensor:
        first = (radius + number) * step
        return values[:, first : first + length]

    torch.add(tap(-radius), tap(radius), out=out)
    for number in range(radius - 1, 0, -1):
        out.mul_(kernel[number + 1] / kernel[number]).add_(tap(-number)).add_(tap(number))
    return out.mul_(kernel[1] / kernel[0]).add_(tap(0)).mul_(kernel[0])


def disc_sums(flat: Tensor, half_widths: Sequence[int], pitch: int) -> Tensor:
    """Sum over a disc around each pixel, from the first pixel whose disc is complete: float32.

    The sums along a row are extended from the shortest chord of the disc to the longest, and
    added to every row of the disc with that chord.

    Args:
        flat: Rows stored end to end, (n,): int16 or int32 for signed bytes, float64 for
            integers below 2^24.
        half_widths: Half-widths of the disc in pixels, in its middle row and those below it.
        pitch: Length of a row.
    """
    reach, half, pixels = len(half_widths) - 1, 0, 0
    room = {torch.int16: 1 << 8, torch.int32: 1 << 24, torch.float64: 1 << 29}[flat.dtype]
    chord = flat[reach : len(flat) - reach]
    part, total = flat.new_zeros(len(flat) - 2 * reach * (pitch + 1)), None
    for row in range(reach, -1, -1):
        while half < half_widths[row]:
            half += 1
            first, last = reach - half, reach + half
            left, right = (flat[at : at + len(chord)] for at in (first, last))
            chord = torch.add(chord, right) if half == 1 else chord.add_(right)
            chord.add_(left)
        for line in {reach - row, reach + row}:
            if pixels + 2 * half + 1 > room:
                total = part.to(torch.float32) if total is None else total.add_(part)
                part.zero_()
                pixels = 0
            part.add_(chord[line * pitch : line * pitch + len(part)])
            pixels += 2 * half + 1
    return part.to(torch.float32) if total is None else total.add_(part)


def _by_matrix(values: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the last axis by a matrix whose entries are multiples of 2^-24: float32.

    Partial sums of multiples of 2^-42 up to 2^8 are exact in float64.
    """
    fixed = values.to(torch.float64)
    if values.dtype != torch.uint8:
        fixed = fixed.mul_(2.0**18).round_().mul_(2.0**-18)
    return (fixed @ matrix.to(values.device)).to(torch.float32)


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
        values: float32 or float64 (batch, channels, height, width); see `as_channels`.
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


def as_channels(planes: Tensor) -> Tensor:
    """Store planes (n, height, width) as the channels of one float32 image, channels last.

    The channels are padded with zeros to a multiple of `LANES`, because torch interpolates them
    in vectors and rounds an incomplete vector differently. It also rounds differently, and is
    slower, without a gap between rows: so there is a column of padding. Large planes keep their
    layout and are not padded.
    """
    count, height, width = planes.shape
    if height * width > _LARGE_PX:
        return planes.to(torch.float32)[None]
    lanes = -(-count // LANES) * LANES
    size = (1, height, width + 1, lanes)
    wide = torch.zeros(size, dtype=torch.float32, device=planes.device)
    wide[0, :, :width, :count] = planes.permute(1, 2, 0).contiguous()  # faster on bytes
    return wide[:, :, :width].permute(0, 3, 1, 2)
