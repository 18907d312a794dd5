"""ImageNet-C: pixelate_c, jpeg_compression."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.codec import through_jpeg
from noctule.corruptions.draws import LEVELS, PerLevel
from noctule.corruptions.filters import in_chunks
from noctule.corruptions.grouping import by_setting
from noctule.corruptions.pixels import from_float
from noctule.corruptions.registry import corruption

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# So many values are pixelated at once: as many as keep their sums in a CPU's caches.
PIXELATED_AT_ONCE = 5 << 18
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
    eight_bit = from_float(images * 255, torch.uint8, in_range=True)
    return through_jpeg(eight_bit, quality.tolist()).to(torch.float32).div_(255)


@corruption(
    family="digital",
    source=f"{SOURCE}: pixelate",
    draws={"share": PerLevel(0.6, 0.5, 0.4, 0.3, 0.25, highest=1.0)},
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
    return by_setting(images, [share], functools.partial(_pixelated, like_pillow=like_pillow))


def _pixelated(images: Tensor, share: float, *, like_pillow: bool) -> Tensor:
    down, across = (_cut(side, share, images.device) for side in images.shape[2:])
    if like_pillow and (down.tied or across.tied):
        return _with_pillow(images, across.blocks, down.blocks)
    means = (_rounded_twice if like_pillow else _rounded_once)(down, across, images.dtype)
    spread = _spread_across(across, down.blocks, images.dtype)
    result = torch.empty_like(images)
    for part, out in in_chunks(images, result, at_once=PIXELATED_AT_ONCE):
        torch.index_select(spread(means(part)), 2, down.of_pixel, out=out)
    return result


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
        smallest, largest: sizes of a block.
        tied: whether a pixel's centre is on the border of two blocks.
    """

    blocks: int
    of_pixel: Tensor
    place: Tensor
    pixel_size: Tensor
    first: Tensor
    size: Tensor
    smallest: int
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
        smallest=int(size.min()),
        largest=int(size.max()),
        tied=bool((centre % (2 * side) == 0).any()),
    )


# The functions below prepare a step, which then runs on a few images at a time. Along rows, it
# runs along whole planes, because loops over rows are short.
_Step = Callable[[Tensor], Tensor]


def _rounded_once(down: _Blocks, across: _Blocks, dtype: torch.dtype) -> _Step:
    """The mean at the first column of each block: (batch, channels, blocks, width)."""
    exact = _exact(dtype, down.largest * across.largest)
    zero = torch.zeros(1, dtype=exact, device=down.first.device)
    sums_down = _sums_down(down, len(across.place), zero)
    sums_across = _sums_across(across, down.blocks, zero)
    area = (down.size[:, None] * across.pixel_size).to(torch.float32)

    def means(images: Tensor) -> Tensor:
        sums = sums_across(sums_down(images))
        return from_float(sums.to(torch.float32).div_(area), dtype)

    return means


def _rounded_twice(down: _Blocks, across: _Blocks, dtype: torch.dtype) -> _Step:
    """The same as Pillow, which rounds half up after either direction.

    Half up is ⌊(2 · sum + size) / (2 · size)⌋, but that Pillow's share of a pixel is rounded to
    `SHARE_BITS`, and so decides whether a half is one. Where it is not exact it is wrong by
    5e-7 or more, and float32 by 6e-8 at most.
    """
    height, width = len(down.place), len(across.place)
    exact_across = _exact(dtype, 2 * across.largest + 1)
    exact_down = _exact(dtype, 2 * down.largest + 1)
    size_across = _plane(across.pixel_size.to(exact_across), height, width)
    size_down = _plane(down.size[:, None].to(exact_down), down.blocks, width)
    sums_across = _sums_across(across, height, size_across, times=2)
    sums_down = _sums_down(down, width, size_down, times=2)
    share_across, share_down = _half_share(size_across), _half_share(size_down)

    def means(images: Tensor) -> Tensor:
        sums = sums_across(images)
        half_way = sums.to(torch.float32).mul_(share_across).to(torch.int16)
        sums = sums_down(half_way)
        return sums.to(torch.float32).mul_(share_down).to(torch.int16).to(torch.uint8)

    return means


def _half_share(size: Tensor) -> Tensor:
    share = ((1 << SHARE_BITS) / size.to(torch.float64) + 0.5).floor_()
    return share.mul_(0.5 / (1 << SHARE_BITS)).to(torch.float32)


def _exact(dtype: torch.dtype, area: int) -> torch.dtype:
    """What holds the sum of so many values: int16 that of 128 bytes."""
    if dtype == torch.uint8:
        return torch.int16 if area <= 128 else torch.int32
    return dtype


def _sums_down(blocks: _Blocks, width: int, start: Tensor, times: int = 1) -> _Step:
    """Each block of rows, `start` + `times` · its sum: (batch, channels, blocks, width)."""
    steps = range(1, blocks.largest)
    rows = {step: blocks.first + step * (blocks.size > step) for step in steps}
    inside = {
        step: _plane((blocks.size > step)[:, None].to(start.dtype), blocks.blocks, width)
        for step in steps[blocks.smallest - 1 :]  # shorter steps stay inside
    }

    def sums(values: Tensor) -> Tensor:
        first = values.index_select(2, blocks.first).to(start.dtype)
        total = torch.add(start, first, alpha=times)
        for step in steps:
            part = values.index_select(2, rows[step]).to(start.dtype)
            _add(total, part, inside.get(step), times)
        return total

    return sums


def _sums_across(blocks: _Blocks, height: int, start: Tensor, times: int = 1) -> _Step:
    """The same of each block of columns, at its first one; the others hold anything."""
    steps = range(1, blocks.largest)
    inside = {
        step: _plane((blocks.pixel_size > step).to(start.dtype), height).flatten()[:-step]
        for step in steps[blocks.smallest - 1 :]
    }

    def sums(values: Tensor) -> Tensor:
        flat = values.flatten(2).to(start.dtype)
        total = torch.add(start.flatten(), flat, alpha=times)
        for step in steps:
            _add(total[..., :-step], flat[..., step:], inside.get(step), times)
        return total.view_as(values)

    return sums


def _add(total: Tensor, values: Tensor, inside: Tensor | None, times: int) -> None:
    if inside is None:
        total.add_(values, alpha=times)
    else:
        total.addcmul_(values, inside, value=times)


def _spread_across(blocks: _Blocks, height: int, dtype: torch.dtype) -> _Step:
    """The value of each block's first column in all of its columns."""
    here = [
        _plane((blocks.place == step).to(dtype), height).flatten()[step:]
        for step in range(blocks.largest)
    ]

    def spread(values: Tensor) -> Tensor:
        flat = values.flatten(2)
        result = flat * here[0]
        for step in range(1, blocks.largest):
            result[..., step:].addcmul_(flat[..., :-step], here[step])
        return result.view_as(values)

    return spread


def _plane(line: Tensor, height: int, width: int = -1) -> Tensor:
    """A row or a column repeated."""
    return line.expand(height, width).contiguous()
