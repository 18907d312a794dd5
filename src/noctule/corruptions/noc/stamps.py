"""Small shapes stamped at drawn places: what occlusion, rain and artifacts share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions.pixels import REFERENCE_SIDE_PX, shade
from noctule.errors import InputError
from noctule.sampling import Stream, integers, unit_interval

MARGIN_PX = 7  # at 224 px: stamp centres keep this distance from the edges


class Places(NamedTuple):
    """Centres of stamps, and what else is drawn for each; (batch, stamps).

    There are as many stamps as the image with most of them has; an image with fewer repeats
    its last one, which changes nothing.

    Attributes:
        row, column: int64.
        gray: float32 in [0, 1).
        coin: int64, uniform in {0, …, 6}.
    """

    row: Tensor
    column: Tensor
    gray: Tensor
    coin: Tensor


def draw_places(
    count: Tensor, stream: Stream, *, rows: tuple[int, int], columns: tuple[int, int]
) -> Places:
    """Draw stamp centres in the given ranges, ends included; `count` is (batch,).

    Raises:
        InputError: if an image is to have no stamp.
    """
    if int(count.min()) < 1:
        raise InputError(f"count is {int(count.min())}", remedy="Use 1 or more.")
    most = int(count.max())
    row_words, column_words = stream.words(most)
    gray_words, coin_words = stream.words(most, lane=1)
    each = torch.arange(most, device=count.device).minimum(count[:, None] - 1)
    return Places(
        integers(row_words, *rows).gather(1, each),
        integers(column_words, *columns).gather(1, each),
        unit_interval(gray_words).gather(1, each),
        integers(coin_words, 0, 6).gather(1, each),
    )


def draw_centers(images: Tensor, count: Tensor, stream: Stream) -> Places:
    """Draw the centres of rhombi or discs: I(7, side − 7) at 224 px, scaled."""
    (height, width), margin = images.shape[2:], stamp_margin_px(images)
    return draw_places(
        count, stream, rows=(margin, height - margin), columns=(margin, width - margin)
    )


def stamp_margin_px(images: Tensor) -> int:
    """The published margin of 7 px, scaled with the shorter side, at least 1."""
    return max(1, round(MARGIN_PX * min(images.shape[2:]) / REFERENCE_SIDE_PX))


def rhombus_offsets(margin_px: int) -> Tensor:
    """Rows and columns of the published rhombus relative to its centre: int64 (2, pixels).

    Lopsided by one column, as published: 98 pixels at margin 7.

    >>> rhombus_offsets(7).shape[1], rhombus_offsets(1).tolist()
    (98, [[0, 0], [-1, 0]])
    """
    span = torch.arange(-margin_px, margin_px)
    row, column = torch.meshgrid(span, span, indexing="ij")
    inside = (column >= row.abs() - margin_px) & (column < margin_px - row.abs())
    return torch.stack([row[inside], column[inside]])


def disc_offsets(margin_px: int) -> Tensor:
    """Rows and columns of the published disc relative to its centre: int64 (2, pixels).

    The published half-widths 1 3 4 5 5 6 6 6 5 5 4 3 1 are those of a disc of radius 6.2 px;
    at other sizes the radius keeps its distance of 0.8 px to the margin.

    >>> disc_offsets(7).shape[1], disc_offsets(1).tolist()
    (121, [[0], [0]])
    """
    span = torch.arange(-margin_px, margin_px + 1)
    row, column = torch.meshgrid(span, span, indexing="ij")
    inside = row**2 + column**2 <= (margin_px - 0.8) ** 2
    return torch.stack([row[inside], column[inside]])


def pixel_index(images: Tensor, places: Places, offsets: Tensor) -> Tensor:
    """Pixels covered, stamp by stamp: int64 (batch, stamps · pixels), row · width + column."""
    width = images.shape[3]
    center = places.row * width + places.column
    offset = (offsets[0] * width + offsets[1]).to(images.device)
    return (center[:, :, None] + offset).flatten(1)


def paint(images: Tensor, index: Tensor, color: Tensor) -> Tensor:
    """A copy of the images with pixels replaced, in all channels.

    Args:
        index: int64 (batch, pixels); pixels named twice must have equal colours.
        color: in [0, 1]; broadcastable to (batch, channels, pixels).
    """
    result = images.clone()
    shape = (*images.shape[:2], index.shape[1])
    planes = result.view(*images.shape[:2], -1)
    planes.scatter_(2, index[:, None].expand(shape), shade(color, images).expand(shape))
    return result


def paint_in_order(images: Tensor, places: Places, offsets: Tensor) -> Tensor:
    """Stamp gray shapes, later ones over earlier ones."""
    index = pixel_index(images, places, offsets)
    batch, stamps = places.row.shape
    number = torch.arange(stamps, dtype=torch.int32, device=images.device)
    number = number[:, None].expand(stamps, offsets.shape[1]).flatten().expand(batch, -1)
    # The latest stamp of each pixel by a maximum, which no order of execution can change.
    latest = torch.zeros(batch, images[0, 0].numel(), dtype=torch.int32, device=images.device)
    latest.scatter_reduce_(1, index, number, "amax")
    gray = places.gray.gather(1, latest.gather(1, index).to(torch.int64))
    return paint(images, index, gray[:, None])
