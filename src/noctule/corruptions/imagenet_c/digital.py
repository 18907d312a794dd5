"""ImageNet-C: pixelate_c, jpeg_compression."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.draws import SEVERITIES, PerSeverity
from noctule.corruptions.grouping import group_by_params, in_chunks
from noctule.corruptions.imagenet_c.jpeg import through_jpeg
from noctule.corruptions.pixels import from_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.corruptions.threads import in_threads

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Number of values in a chunk for pixelation, so that sums stay in a CPU's cache.
PIXELATED_AT_ONCE = 5 << 18
BOX = Image.Resampling.BOX
CPU = torch.device("cpu")


@corruption(
    family="digital",
    source=f"{SOURCE}: JPEG compression",
    draws={"quality": PerSeverity(25, 18, 15, 10, 7, lowest=1, highest=100)},
    bytes_per_value=1,
)
def jpeg_compression(images: Images, *, quality: PerImage) -> Images:
    """Encode as JPEG and decode again, as Pillow does; chroma has half the resolution.

    float32 images are first rounded to 8 bits. The codec runs on the CPU.

    Args:
        quality: Quality in libjpeg's units, 1 to 100.
    """
    if images.dtype == torch.uint8:
        return through_jpeg(images, quality.tolist())
    eight_bit = from_float(images * 255, torch.uint8, in_range=True)
    return through_jpeg(eight_bit, quality.tolist()).to(torch.float32).div_(255)


@corruption(
    family="digital",
    source=f"{SOURCE}: pixelate",
    draws={"share": PerSeverity(0.6, 0.5, 0.4, 0.3, 0.25, highest=1.0)},
    published_name="pixelate",
    bytes_per_value=1,
)
def pixelate_c(images: Images, *, released: bool = False, share: PerImage) -> Images:
    """Shrink to a share of each side with a box filter, and enlarge again.

    This replaces blocks of whole pixels, of up to two heights and two widths, by their mean.

    Args:
        released: Resize uint8 images with Pillow on the CPU, as the released code does. Pillow
            rounds half up after the columns and again after the rows, which brightens by up to
            half a grey level on average. Where the centre of a pixel is on the border of two
            blocks (which does not occur at 224, 64 and 32 px), rounding errors decide whether
            the pixel counts for one, both or neither. Otherwise the mean is rounded once, half
            to even, and such a pixel belongs to the second block.
        share: Share of the side, rounded down to whole pixels, at least 1 px.
    """
    if released and images.dtype == torch.uint8:
        return group_by_params(images, [share], _with_pillow)
    return group_by_params(images, [share], _pixelated)


def _pixelated(images: Tensor, share: float) -> Tensor:
    down, across = (_cut(side, share, images.device) for side in images.shape[2:])
    means = _means(down, across, images.dtype)
    spread = _spread_across(across, down.blocks, images.dtype)
    result = torch.empty_like(images)
    for part, out in in_chunks(images, result, at_once=PIXELATED_AT_ONCE):
        torch.index_select(spread(means(part)), 2, down.of_pixel, out=out)
    return result


def _with_pillow(images: Tensor, share: float) -> Tensor:
    """Resize with Pillow, columns first, as Pillow did when the code was released.

    Planes are resampled as one tall image, whose blocks end where planes end. Where rounding
    errors decide on blocks, planes are resampled one by one, because these errors depend on the
    position in the tall image.
    """
    height, width = images.shape[2:]
    down, across = (_cut(side, share, CPU) for side in (height, width))
    planes = images.flatten(0, 1).cpu().numpy()
    result, row = np.empty_like(planes), down.of_pixel.numpy()

    def work(part: slice) -> None:
        count = 1 if down.tied else part.stop - part.start
        for start in range(part.start, part.stop, count):
            tall = Image.fromarray(planes[start : start + count].reshape(-1, width))
            narrow = tall.resize((across.blocks, count * height), BOX)
            small = narrow.resize((across.blocks, count * down.blocks), BOX)
            back = BOX if across.tied else Image.Resampling.NEAREST  # much faster
            wide = small.resize((width, count * down.blocks), back)
            if down.tied:
                result[start] = np.asarray(wide.resize((width, height), BOX))
            else:
                rows = np.asarray(wide).reshape(count, down.blocks, width)
                rows.take(row, axis=1, out=result[start : start + count], mode="wrap")

    in_threads(work, len(planes))
    return torch.from_numpy(result).view(images.shape).to(images.device)


class _Blocks(NamedTuple):
    """The division of a side into blocks of whole pixels.

    Attributes:
        blocks: Number of blocks.
        of_pixel: Index of each pixel's block, int64 (side,).
        offset: Index of each pixel within its block, int64 (side,).
        pixel_size: Size of each pixel's block in pixels, int64 (side,).
        first: First pixel of each block, int64 (blocks,).
        size: Size of each block in pixels, int64 (blocks,).
        smallest, largest: Smallest and largest size of a block.
        tied: Whether the centre of a pixel is on the border of two blocks.
    """

    blocks: int
    of_pixel: Tensor
    offset: Tensor
    pixel_size: Tensor
    first: Tensor
    size: Tensor
    smallest: int
    largest: int
    tied: bool


@functools.lru_cache(maxsize=4 * len(SEVERITIES))
def _cut(side: int, share: float, device: torch.device) -> _Blocks:
    """Divide a side: a pixel belongs to the block of equal length that contains its centre.

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


# The functions below prepare a step that is then applied to chunks of images. Steps along rows
# run over whole planes, because a loop over one row would be short.
_Step = Callable[[Tensor], Tensor]


def _means(down: _Blocks, across: _Blocks, dtype: torch.dtype) -> _Step:
    """The mean at the first column of each block: (batch, channels, blocks, width)."""
    exact = _exact(dtype, down.largest * across.largest)
    sums_down = _sums_down(down, len(across.offset), exact)
    sums_across = _sums_across(across, down.blocks, exact)
    area = (down.size[:, None] * across.pixel_size).to(torch.float32)

    def means(images: Tensor) -> Tensor:
        sums = sums_across(sums_down(images))
        return from_float(sums.to(torch.float32).div_(area), dtype)

    return means


def _exact(dtype: torch.dtype, area: int) -> torch.dtype:
    """A dtype that holds the sum of an area's values: int16 for up to 128 bytes."""
    if dtype == torch.uint8:
        return torch.int16 if area <= 128 else torch.int32
    return dtype


def _sums_down(blocks: _Blocks, width: int, exact: torch.dtype) -> _Step:
    """The sum of each block of rows: (batch, channels, blocks, width)."""
    steps = range(1, blocks.largest)
    rows = {step: blocks.first + step * (blocks.size > step) for step in steps}
    inside = {
        step: _plane((blocks.size > step)[:, None].to(exact), blocks.blocks, width)
        for step in steps[blocks.smallest - 1 :]  # shorter steps stay inside
    }

    def sums(values: Tensor) -> Tensor:
        total = values.index_select(2, blocks.first).to(exact)
        for step in steps:
            _add(total, values.index_select(2, rows[step]).to(exact), inside.get(step))
        return total

    return sums


def _sums_across(blocks: _Blocks, height: int, exact: torch.dtype) -> _Step:
    """The sum of each block of columns, at its first column; other columns are undefined."""
    steps = range(1, blocks.largest)
    inside = {
        step: _plane((blocks.pixel_size > step).to(exact), height).flatten()[:-step]
        for step in steps[blocks.smallest - 1 :]
    }

    def sums(values: Tensor) -> Tensor:
        flat = values.flatten(2)
        total = flat.clone()
        for step in steps:
            _add(total[..., :-step], flat[..., step:], inside.get(step))
        return total.view_as(values)

    return sums


def _add(total: Tensor, values: Tensor, inside: Tensor | None) -> None:
    if inside is None:
        total.add_(values)
    else:
        total.addcmul_(values, inside)


def _spread_across(blocks: _Blocks, height: int, dtype: torch.dtype) -> _Step:
    """Copy the value of each block's first column to all of its columns."""
    here = [
        _plane((blocks.offset == step).to(dtype), height).flatten()[step:]
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
    """Repeat a row or a column."""
    return line.expand(height, width).contiguous()
