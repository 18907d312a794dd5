"""ImageNet-C: pixelate_c, jpeg_compression."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.draws import SEVERITIES, PerSeverity
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.jpeg import through_jpeg
from noctule.corruptions.pixels import from_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.corruptions.threads import in_threads

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

BOX = Image.Resampling.BOX
CPU = torch.device("cpu")


@corruption(
    family="digital",
    source=f"{SOURCE}: JPEG compression",
    draws={"quality": PerSeverity(25, 18, 15, 10, 7, lowest=1, highest=100)},
    bytes_per_value=30,
)
def jpeg_compression(images: Images, *, quality: PerImage) -> Images:
    """Encode as JPEG and decode again, as Pillow does; chroma has half the resolution.

    float32 images are first rounded to 8 bits.

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
    values = images if images.dtype == torch.float32 else images.to(torch.int64)
    sums = _sums(_sums(values, down, 2), across, 3).to(torch.float32)
    means = from_float(sums.div_(down.size[:, None] * across.size), images.dtype)
    return means.index_select(3, across.of_pixel).index_select(2, down.of_pixel)


def _sums(values: Tensor, blocks: _Blocks, dim: int) -> Tensor:
    """The sum of each block along an axis, in order."""
    total = values.index_select(dim, blocks.first)
    for step in range(1, blocks.largest):
        inside = (blocks.size > step).to(values.dtype)
        pixel = (blocks.first + step).clamp(max=values.shape[dim] - 1)
        inside = inside[:, None] if dim == 2 else inside
        total.add_(values.index_select(dim, pixel).mul_(inside))
    return total


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
        first: First pixel of each block, int64 (blocks,).
        size: Size of each block in pixels, int64 (blocks,).
        largest: Largest size of a block.
        tied: Whether the centre of a pixel is on the border of two blocks.
    """

    blocks: int
    of_pixel: Tensor
    first: Tensor
    size: Tensor
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
        first.to(device),
        size.to(device),
        largest=int(size.max()),
        tied=bool((centre % (2 * side) == 0).any()),
    )
