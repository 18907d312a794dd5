"""JPEG compression of a batch of images, without writing JPEG files.

A JPEG file stores the coefficients of its blocks without loss, so that compression changes
pixels only by converting colours, halving the resolution of two of them, and rounding
coefficients to multiples of quantization steps. In libjpeg-turbo all of this is arithmetic of
integers, which is done here in the same order: the results are those of Pillow's
`save(…, "JPEG", quality=q)` and `open`, to the bit. Numbers such as 4433 are factors of
libjpeg's accurate integer transform, of Loeffler, Ligtenberg and Moschytz (1989), times 2 to
the power of 13, or weights of colours, times 2 to the power of 16.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Of brightness and of the other two colours at a quality of 50: the JPEG standard (ITU-T T.81),
# annex K.
STANDARD_STEPS = (
    (
        (16, 11, 10, 16, 24, 40, 51, 61),
        (12, 12, 14, 19, 26, 58, 60, 55),
        (14, 13, 16, 24, 40, 57, 69, 56),
        (14, 17, 22, 29, 51, 87, 80, 62),
        (18, 22, 37, 56, 68, 109, 103, 77),
        (24, 35, 55, 64, 81, 104, 113, 92),
        (49, 64, 78, 87, 103, 121, 120, 101),
        (72, 92, 95, 98, 112, 100, 103, 99),
    ),
    (
        (17, 18, 24, 47, 99, 99, 99, 99),
        (18, 21, 26, 66, 99, 99, 99, 99),
        (24, 26, 56, 99, 99, 99, 99, 99),
        (47, 66, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
    ),
)


def through_jpeg(images: Tensor, quality: Sequence[float]) -> Tensor:
    """Compress each image as JPEG and decompress it again; chroma has half the resolution.

    Grey images give the same pixels as their RGB copies.

    Args:
        images: uint8 (batch, 1 or 3, height, width), on any device.
        quality: Quality of each image, from 1 to 100.

    Returns:
        uint8, of the same shape and on the same device.

    >>> through_jpeg(torch.full((1, 1, 16, 16), 77, dtype=torch.uint8), [85])[0, 0, 0, 0].item()
    77
    """
    if len(images) == 0:
        return images.clone()
    steps = torch.from_numpy(np.stack([quantization_steps(q) for q in quality]))
    steps = steps.to(images.device)[:, :, None, :, None]  # (batch, 2, 1, 8, 1, 8)
    _, channels, height, width = images.shape
    if channels == 1:
        light = _quantize(images.to(torch.int32), steps[:, :1])
        return light.to(torch.uint8)
    light, colour = _from_rgb(images)
    light = _quantize(light, steps[:, :1])
    colour = _quantize(colour, steps[:, 1:])[:, :, : (height + 1) // 2, : (width + 1) // 2]
    return _to_rgb(light, _double(colour, height, width) - 128)


@functools.cache
def quantization_steps(quality: float) -> NDArray[np.int32]:
    """The steps of brightness and of the other two colours at a quality from 1 to 100.

    Returns:
        (2, 8, 8): the colour, and the vertical and horizontal frequency; from 1 to 255.

    >>> quantization_steps(25)[0, 0, :3]
    array([32, 22, 20], dtype=int32)
    """
    percent = 5000 // int(quality) if quality < 50 else 200 - 2 * int(quality)
    steps = (np.array(STANDARD_STEPS) * percent + 50) // 100
    return steps.clip(1, 255).astype(np.int32)


def _from_rgb(images: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness, (batch, 1, height, width), and blueness and redness at half the resolution.

    Blueness and redness have two or more columns for each that is shown, up to whole blocks.
    """
    red, green, blue = images.to(torch.int32).unbind(1)
    light = (19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16
    offset = (128 << 16) + (1 << 15) - 1
    blueness = (-11059 * red - 21709 * green + 32768 * blue + offset) >> 16
    redness = (32768 * red - 27439 * green - 5329 * blue + offset) >> 16
    colour = _extend(torch.stack([blueness, redness], 1), 2, 16)
    colour = colour[:, :, ::2] + colour[:, :, 1::2]
    colour = colour[..., ::2] + colour[..., 1::2]
    # Rounds half down and half up in turns.
    turns = torch.arange(colour.shape[3], dtype=torch.int32, device=images.device) % 2 + 1
    return light[:, None], (colour + turns) >> 2


def _extend(planes: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat the last row and column, up to multiples of `rows` and `columns`."""
    for dim, multiple in ((2, rows), (3, columns)):
        size = planes.shape[dim]
        index = torch.arange(-(-size // multiple) * multiple, device=planes.device)
        planes = planes.index_select(dim, index.clamp_(max=size - 1))
    return planes


def _quantize(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the coefficients of all blocks to multiples of their steps.

    Args:
        planes: int32 (batch, planes, height, width), from 0 to 255.
        steps: int32 (batch, 1, 1, 8, 1, 8).
    """
    height, width = planes.shape[2:]
    blocks = _extend(planes, 8, 8) - 128
    shape = blocks.shape
    blocks = blocks.view(*shape[:2], -1, 8, shape[3] // 8, 8)
    for dim, shift in ((5, 11), (3, 15)):
        blocks = _along(_forward, blocks, dim, shift)
    rounded = (blocks.abs() + 4 * steps).div_(8 * steps, rounding_mode="floor")
    blocks = rounded.mul_(steps) * blocks.sign()
    for dim, shift in ((3, 11), (5, 18)):
        blocks = _along(_inverse, blocks, dim, shift)
    return (blocks.reshape(shape)[:, :, :height, :width] + 128).clamp_(0, 255)


def _along(
    transform: Callable[[Sequence[Tensor]], list[Tensor]], blocks: Tensor, dim: int, shift: int
) -> Tensor:
    """Transform 8 values along a dimension, and divide by 2 to the power of `shift`."""
    values = torch.stack(transform(blocks.unbind(dim)), dim)
    return values.add_(1 << (shift - 1)).bitwise_right_shift_(shift)


def _double(planes: Tensor, height: int, width: int) -> Tensor:
    """Double the resolution: 3/4 of the nearest row and column, and 1/4 of the second nearest.

    Up to two columns are repeated instead.
    """
    (row, next_row), (column, next_column) = (
        _neighbours(size, planes.device) for size in (height, width)
    )
    if planes.shape[3] <= 2:
        return planes.index_select(2, row).index_select(3, column)
    sums = 3 * planes.index_select(2, row) + planes.index_select(2, next_row)
    sums = 3 * sums.index_select(3, column) + sums.index_select(3, next_column)
    return (sums + (8 - torch.arange(width, dtype=torch.int32, device=planes.device) % 2)) >> 4


def _neighbours(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The nearest and the second nearest of half as many samples, for each position."""
    position = torch.arange(size, device=device)
    near = position // 2
    return near, (near + 2 * (position % 2) - 1).clamp_(0, (size - 1) // 2)


def _to_rgb(light: Tensor, colour: Tensor) -> Tensor:
    blueness, redness = colour[:, :1], colour[:, 1:]
    half = 1 << 15
    red = (91881 * redness + half) >> 16
    green = (-22554 * blueness - 46802 * redness + half) >> 16
    blue = (116130 * blueness + half) >> 16
    return (light + torch.cat([red, green, blue], 1)).clamp_(0, 255).to(torch.uint8)


def _forward(values: Sequence[Tensor]) -> list[Tensor]:
    """The cosine transform of 8 values, times the square root of 8 and 2 to the power of 13."""
    outer, inner = values[:4], values[:3:-1]
    sums = [a + b for a, b in zip(outer, inner, strict=True)]
    even, odd = sums[0] + sums[3], sums[0] - sums[3]
    even_, odd_ = sums[1] + sums[2], sums[1] - sums[2]
    shared = 4433 * (odd + odd_)
    seventh, fifth, third, first = _odd(*(a - b for a, b in zip(outer, inner, strict=True)))
    return [
        (even + even_) << 13,
        first,
        shared + 6270 * odd,
        third,
        (even - even_) << 13,
        fifth,
        shared - 15137 * odd_,
        seventh,
    ]


def _inverse(values: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `_forward`, times 64, for the coefficients divided by 2 to the 13."""
    shared = 4433 * (values[2] + values[6])
    low, high = (values[0] + values[4]) << 13, (values[0] - values[4]) << 13
    wide, narrow = shared + 6270 * values[2], shared - 15137 * values[6]
    even = [low + wide, high + narrow, high - narrow, low - wide]
    odd = _odd(*values[1::2])[::-1]
    sums = [a + b for a, b in zip(even, odd, strict=True)]
    return sums + [a - b for a, b in zip(even, odd, strict=True)][::-1]


def _odd(first: Tensor, third: Tensor, fifth: Tensor, seventh: Tensor) -> list[Tensor]:
    """The odd half of both transforms, which is its own inverse but for the order."""
    across, along = -7373 * (first + seventh), -20995 * (third + fifth)
    left, right = third + seventh, first + fifth
    shared = 9633 * (left + right)
    left, right = shared - 16069 * left, shared - 3196 * right
    return [
        2446 * seventh + across + left,
        16819 * fifth + along + right,
        25172 * third + along + left,
        12299 * first + across + right,
    ]
