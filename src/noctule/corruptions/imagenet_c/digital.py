"""ImageNet-C: pixelate_c, jpeg_compression."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.codec import through_jpeg
from noctule.corruptions.draws import LEVELS, PerLevel
from noctule.corruptions.grouping import alike, regroup
from noctule.corruptions.pixels import from_float
from noctule.corruptions.registry import corruption

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Pillow's resampling weighs pixels in whole numbers of this many bits.
SHARE_BITS = 22


@corruption(
    family="digital",
    source=f"{SOURCE}: JPEG compression",
    draws={"quality": PerLevel(25, 18, 15, 10, 7, lowest=1, highest=100)},
)
def jpeg_compression(images: Tensor, *, quality: Tensor) -> Tensor:
    """Save as JPEG and open again, as Pillow does, chroma at half the resolution.

    Float32 images are rounded to 8 bits first. The codec runs on the CPU.

    Args:
        images: see `noctule.corrupt`.
        quality: as libjpeg counts it, 1 to 100, (batch,).
    """
    if images.dtype == torch.uint8:
        return through_jpeg(images, quality.tolist())
    eight_bit = (images * 255).round_().to(torch.uint8)
    return through_jpeg(eight_bit, quality.tolist()).to(torch.float32).div_(255)


@corruption(
    family="digital",
    source=f"{SOURCE}: pixelate",
    draws={"share": PerLevel(0.6, 0.5, 0.4, 0.3, 0.25, highest=1.0)},
    bytes_per_value=8,
    published_name="pixelate",
)
def pixelate_c(images: Tensor, *, published: bool = False, share: Tensor) -> Tensor:
    """Shrink to a share of each side and enlarge again, with a box filter.

    So blocks of whole pixels, of up to two heights and two widths, are replaced by their mean.

    Args:
        images: see `noctule.corrupt`.
        published: send uint8 images through Pillow, as the released code does. It rounds half
            up after the columns and again after the rows, up to half a level brighter on
            average; and where a pixel's centre is on the border of two blocks (at 224, 64 and
            32 px there is none), its rounding errors decide whether the pixel counts for one,
            both or neither. Otherwise the mean is rounded once, half to even, and such a pixel
            is the first of the second block.
        share: of the side; rounded down to whole pixels, at least 1, (batch,).
    """
    like_pillow = published and images.dtype == torch.uint8
    groups = alike(share)
    parts = [
        _pixelated(images.index_select(0, index), part, like_pillow)
        for index, (part,) in groups
    ]
    return regroup(parts, groups)


def _pixelated(images: Tensor, share: float, like_pillow: bool) -> Tensor:
    down, across = (_cut(side, share, images.device) for side in images.shape[2:])
    if not like_pillow:
        means = _means(images, down, across)
    elif down.tied or across.tied:
        return _with_pillow(images, across.blocks, down.blocks)
    else:
        half_way = _half_up(_sums_across(images, across), across.pixel_size)
        means = _half_up(_sums_down(half_way, down), down.size[:, None])
    return _spread_across(means, across).index_select(2, down.of_pixel)


def _with_pillow(images: Tensor, columns: int, rows: int) -> Tensor:
    height, width = images.shape[2:]
    box = Image.Resampling.BOX
    planes = [
        np.asarray(
            Image.fromarray(plane).resize((columns, rows), box).resize((width, height), box)
        )
        for plane in images.flatten(0, 1).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(planes)).view_as(images).to(images.device)


class _Blocks(NamedTuple):
    """How a side is cut into blocks of whole pixels.

    Attributes:
        blocks: how many.
        of_pixel: number of the block of each pixel, int64 (side,).
        place: number of each pixel in its block, int64 (side,).
        pixel_size: size of each pixel's block in pixels, int64 (side,).
        first: pixel of each block, int64 (blocks,).
        size: of each block in pixels, int64 (blocks,).
        largest: size of a block.
        tied: whether a pixel's centre is on the border of two blocks.
    """

    blocks: int
    of_pixel: Tensor
    place: Tensor
    pixel_size: Tensor
    first: Tensor
    size: Tensor
    largest: int
    tied: bool


@functools.lru_cache(maxsize=4 * len(LEVELS))
def _cut(side: int, share: float, device: torch.device) -> _Blocks:
    """A pixel belongs to the block of equal length that its centre is in.

    >>> _cut(7, 0.5, torch.device("cpu")).of_pixel.tolist()
    [0, 0, 1, 1, 1, 2, 2]
    """
    count = max(1, int(side * share))
    centre = (2 * torch.arange(side) + 1) * count
    of_pixel = centre // (2 * side)
    size = of_pixel.bincount(minlength=count)
    first = size.cumsum(0) - size
    return _Blocks(
        count,
        of_pixel.to(device),
        (torch.arange(side) - first[of_pixel]).to(device),
        size[of_pixel].to(device),
        first.to(device),
        size.to(device),
        largest=int(size.max()),
        tied=bool((centre % (2 * side) == 0).any()),
    )


def _means(images: Tensor, down: _Blocks, across: _Blocks) -> Tensor:
    """The mean at the first column of each block: (batch, channels, blocks, width)."""
    sums = _sums_across(_sums_down(images, down, down.largest * across.largest), across)
    area = (down.size[:, None] * across.pixel_size).to(torch.float32)
    return from_float(sums.to(torch.float32).div_(area), images.dtype)


def _half_up(sums: Tensor, size: Tensor) -> Tensor:
    """Sums as means, in Pillow's arithmetic: a share in units of 2**-22, then half up."""
    share = ((1 << SHARE_BITS) / size.to(torch.float64) + 0.5).to(torch.int32)
    means = sums.to(torch.int32).mul_(share.expand(sums.shape[2:]).contiguous())
    half = 1 << SHARE_BITS - 1
    return means.add_(half).bitwise_right_shift_(SHARE_BITS).to(torch.uint8)


def _exact(dtype: torch.dtype, area: int) -> torch.dtype:
    """What holds the sum of so many values: int16 that of 128 bytes."""
    if dtype == torch.uint8:
        return torch.int16 if area <= 128 else torch.int32
    return dtype


def _sums_down(images: Tensor, blocks: _Blocks, area: int = 0) -> Tensor:
    """The sum of each block of rows: (batch, channels, blocks, width)."""
    dtype = _exact(images.dtype, area or blocks.largest)
    total = images.index_select(2, blocks.first).to(dtype)
    for step in range(1, blocks.largest):
        inside = blocks.size > step
        rows = images.index_select(2, blocks.first + step * inside).to(dtype)
        total.add_(rows.mul_(_plane(inside[:, None], rows)))
    return total


def _sums_across(values: Tensor, blocks: _Blocks) -> Tensor:
    """The sum of each block of columns, at its first one; the others hold anything."""
    values = values.to(_exact(values.dtype, blocks.largest))
    flat = values.flatten(2)  # along whole planes, because loops over rows are short
    total = flat.clone()
    for step in range(1, blocks.largest):
        inside = _plane(blocks.pixel_size > step, values).flatten()
        total[..., :-step].addcmul_(flat[..., step:], inside[:-step])
    return total.view_as(values)


def _spread_across(values: Tensor, blocks: _Blocks) -> Tensor:
    """The value of each block's first column in all of its columns."""
    flat = values.flatten(2)
    result = flat * _plane(blocks.place == 0, values).flatten()
    for step in range(1, blocks.largest):
        here = _plane(blocks.place == step, values).flatten()
        result[..., step:].addcmul_(flat[..., :-step], here[step:])
    return result.view_as(values)


def _plane(line: Tensor, values: Tensor) -> Tensor:
    """A row or column of factors as a plane, in the values' dtype."""
    return line.to(values.dtype).expand(values.shape[2:]).contiguous()
