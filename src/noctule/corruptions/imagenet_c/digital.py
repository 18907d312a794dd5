"""ImageNet-C: pixelate_c, jpeg_compression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.codec import through_jpeg
from noctule.corruptions.draws import PerLevel
from noctule.corruptions.grouping import alike
from noctule.corruptions.pixels import from_float
from noctule.corruptions.registry import corruption

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"


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
    bytes_per_value=16,
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
    method = _with_pillow if published and images.dtype == torch.uint8 else _in_blocks
    groups = alike(share)
    parts = [method(images.index_select(0, index), part) for index, (part,) in groups]
    order = torch.cat([index for index, _ in groups]).argsort()
    return torch.cat(parts).index_select(0, order)  # a tenth of the cost of index_copy_


def _with_pillow(images: Tensor, share: float) -> Tensor:
    height, width = images.shape[2:]
    small = _cells(width, share), _cells(height, share)
    box = Image.Resampling.BOX
    planes = [
        np.asarray(Image.fromarray(plane).resize(small, box).resize((width, height), box))
        for plane in images.flatten(0, 1).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(planes)).view_as(images).to(images.device)


def _cells(side: int, share: float) -> int:
    return max(1, int(side * share))


class _Blocks(NamedTuple):
    """How a side is cut into blocks of whole pixels.

    Attributes:
        of_pixel: number of the block of each pixel, int64 (side,).
        first: pixel of each block, int64 (blocks,).
        size: of each block in pixels, int64 (blocks,).
    """

    of_pixel: Tensor
    first: Tensor
    size: Tensor


def _cut(side: int, share: float, device: torch.device) -> _Blocks:
    """A pixel belongs to the block of equal length that its centre is in.

    >>> _cut(7, 0.5, torch.device("cpu")).of_pixel.tolist()
    [0, 0, 1, 1, 1, 2, 2]
    """
    count = _cells(side, share)
    of_pixel = (2 * torch.arange(side) + 1) * count // (2 * side)
    size = of_pixel.bincount(minlength=count)
    return _Blocks(*(t.to(device) for t in (of_pixel, size.cumsum(0) - size, size)))


def _in_blocks(images: Tensor, share: float) -> Tensor:
    down, across = (_cut(side, share, images.device) for side in images.shape[2:])
    exact = torch.float32
    if images.dtype == torch.uint8:  # int16 holds the sum of 128 bytes
        exact = torch.int16 if int(down.size.max() * across.size.max()) <= 128 else torch.int32
    sums = _sums_across(_sums_down(images, down, exact), across)
    area = down.size[:, None] * across.size[across.of_pixel]
    means = from_float(sums.to(torch.float32).div_(area), images.dtype, in_range=True)
    return means.index_select(2, down.of_pixel)


def _sums_down(images: Tensor, blocks: _Blocks, dtype: torch.dtype) -> Tensor:
    """The sum of each block of rows: (batch, channels, blocks, width)."""
    total = images.index_select(2, blocks.first).to(dtype)
    for step in range(1, int(blocks.size.max())):
        inside = blocks.size > step
        rows = images.index_select(2, blocks.first + step * inside).to(dtype)
        total.add_(rows.mul_(inside.to(dtype)[:, None]))
    return total


def _sums_across(values: Tensor, blocks: _Blocks) -> Tensor:
    """The sum of each pixel's block of columns: (batch, channels, height, width)."""
    total = values.clone()
    for step in range(1, int(blocks.size.max())):
        same = (blocks.of_pixel[step:] == blocks.of_pixel[:-step]).to(values.dtype)
        total[..., :-step].add_(values[..., step:] * same)
        total[..., step:].add_(values[..., :-step] * same)
    return total
