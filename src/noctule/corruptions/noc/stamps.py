"""Small shapes stamped at random positions, for occlusions, rain and artifacts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions.pixels import REFERENCE_SIDE_PX, shade
from noctule.sampling import Stream, integers, unit_interval

MARGIN_PX = 7  # at 224 px: stamp centres keep this distance from the edges


class StampPositions(NamedTuple):
    """Random numbers of each stamp; every tensor has the shape (batch, stamps).

    `stamps` is the largest number in the batch. Images with fewer stamps repeat their last
    one, which has no effect.

    Attributes:
        row, column: Centre of the stamp, int64.
        gray: Grey of the stamp, float32 in [0, 1).
        coin: Additional random number, int64, uniform in {0, …, 6}.
    """

    row: Tensor
    column: Tensor
    gray: Tensor
    coin: Tensor


def draw_positions(
    count: Tensor, stream: Stream, *, rows: tuple[int, int], columns: tuple[int, int]
) -> StampPositions:
    """Draw the centres of stamps.

    Args:
        count: Number of stamps of each image, int64 (batch,).
        stream: Random words of each image.
        rows, columns: Ranges of the centres, ends included.
    """
    most = int(count.max())
    row_words, column_words = stream.words(most)
    gray_words, coin_words = stream.words(most, lane=1)
    stamp = torch.arange(most, device=count.device).minimum(count[:, None] - 1)
    return StampPositions(
        integers(row_words, *rows).gather(1, stamp),
        integers(column_words, *columns).gather(1, stamp),
        unit_interval(gray_words).gather(1, stamp),
        integers(coin_words, 0, 6).gather(1, stamp),
    )


def draw_centers(images: Tensor, count: Tensor, stream: Stream) -> StampPositions:
    """Draw the centres of rhombi or discs, uniform in {7, …, side − 7} at 224 px, scaled."""
    (height, width), margin = images.shape[2:], stamp_margin_px(images)
    return draw_positions(
        count, stream, rows=(margin, height - margin), columns=(margin, width - margin)
    )


def stamp_margin_px(images: Tensor) -> int:
    """The released code's margin of 7 px, scaled with the shorter side; at least 1 px."""
    return max(1, round(MARGIN_PX * min(images.shape[2:]) / REFERENCE_SIDE_PX))


def rhombus_offsets(margin_px: int) -> Tensor:
    """Rows and columns of the rhombus relative to its centre: int64 (2, pixels).

    As in the released code, it is asymmetric by one column: 98 pixels at a margin of 7.

    >>> rhombus_offsets(7).shape[1], rhombus_offsets(1).tolist()
    (98, [[0, 0], [-1, 0]])
    """
    span = torch.arange(-margin_px, margin_px)
    row, column = torch.meshgrid(span, span, indexing="ij")
    inside = (column >= row.abs() - margin_px) & (column < margin_px - row.abs())
    return torch.stack([row[inside], column[inside]])


def disc_offsets(margin_px: int) -> Tensor:
    """Rows and columns of the disc relative to its centre: int64 (2, pixels).

    The released code's half-widths 1 3 4 5 5 6 6 6 5 5 4 3 1 are those of a disc with a radius
    of 6.2 px. At other sizes the radius is 0.8 px less than the margin.

    >>> disc_offsets(7).shape[1], disc_offsets(1).tolist()
    (121, [[0], [0]])
    """
    span = torch.arange(-margin_px, margin_px + 1)
    row, column = torch.meshgrid(span, span, indexing="ij")
    inside = row**2 + column**2 <= (margin_px - 0.8) ** 2
    return torch.stack([row[inside], column[inside]])


def pixel_index(images: Tensor, positions: StampPositions, offsets: Tensor) -> Tensor:
    """The pixels that the stamps cover, as row · width + column: int64 (batch, stamps · n)."""
    width = images.shape[3]
    center = positions.row * width + positions.column
    offset = (offsets[0] * width + offsets[1]).to(images.device)
    return (center[:, :, None] + offset).flatten(1)


def paint(images: Tensor, index: Tensor, color: Tensor) -> Tensor:
    """Replace pixels in all channels of a copy of the images.

    Args:
        images: (batch, channels, height, width).
        index: Pixels to replace, int64 (batch, pixels); duplicates must have equal colours.
        color: Colours in [0, 1], broadcastable to (batch, channels, pixels).
    """
    result = images.clone()
    shape = (*images.shape[:2], index.shape[1])
    planes = result.view(*images.shape[:2], -1)
    planes.scatter_(2, index[:, None].expand(shape), shade(color, images).expand(shape))
    return result


def paint_in_order(images: Tensor, positions: StampPositions, offsets: Tensor) -> Tensor:
    """Draw grey stamps; later ones cover earlier ones."""
    index = pixel_index(images, positions, offsets)
    batch, stamps = positions.row.shape
    number = torch.arange(stamps, dtype=torch.int32, device=images.device)
    number = number[:, None].expand(stamps, offsets.shape[1]).flatten().expand(batch, -1)
    # The latest stamp of each pixel, by a maximum, which is independent of execution order.
    latest = torch.zeros(batch, images[0, 0].numel(), dtype=torch.int32, device=images.device)
    latest.scatter_reduce_(1, index, number, "amax")
    gray = positions.gray.gather(1, latest.gather(1, index).to(torch.int64))
    return paint(images, index, gray[:, None])
