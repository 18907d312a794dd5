"""Shapes drawn on one image, stamp by stamp and pixel by pixel; forms as in `kernels`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from oracles.kernels import Levels, Pixels, scaled
from oracles.threefry import WordStream

Offsets = list[tuple[int, int]]
HALF_WIDTHS = (1, 3, 4, 5, 5, 6, 6, 6, 5, 5, 4, 3, 1)


def margin_of(image: Pixels) -> int:
    return scaled(7, image)


def rhombus_offsets(margin: int) -> Offsets:
    rows = range(-(margin - 1), margin)
    return [(i, j) for i in rows for j in range(-(margin - abs(i)), margin - abs(i))]


def disc_offsets(margin: int) -> Offsets:
    if margin == 7:
        rows = zip(range(-6, 7), HALF_WIDTHS, strict=True)
        return [(i, j) for i, half in rows for j in range(-half, half + 1)]
    span = range(-margin, margin + 1)  # a disc whose radius is .8 px less than the margin
    return [(i, j) for i in span for j in span if math.hypot(i, j) <= margin - 0.8]


def stamp_centers(image: Pixels, count: int, stamps: WordStream) -> Iterable[tuple[int, int]]:
    """I(7, H − 7) and I(7, W − 7) for each stamp."""
    _, height, width = image.shape
    margin = margin_of(image)
    for number in range(count):
        yield (
            stamps.whole(number, margin, height - margin, which=0),
            stamps.whole(number, margin, width - margin, which=1),
        )


def stamp(image: Pixels, count: int, stamps: WordStream, offsets: Offsets) -> Levels:
    """Each stamp of its own gray, over the earlier ones."""
    result = image.astype(float)
    for number, (row, column) in enumerate(stamp_centers(image, count, stamps)):
        for i, j in offsets:
            result[:, row + i, column + j] = 255 * stamps.real(number, lane=1)
    return result


def rhombus(image: Pixels, *, count: int, stamps: WordStream) -> Levels:
    return stamp(image, count, stamps, rhombus_offsets(margin_of(image)))


def circle(image: Pixels, *, count: int, stamps: WordStream) -> Levels:
    return stamp(image, count, stamps, disc_offsets(margin_of(image)))


def arlequin(image: Pixels, *, count: int, color: WordStream, stamps: WordStream) -> Levels:
    result = image.astype(float)
    shade = [255 * color.real(channel) for channel in range(3)]
    for row, column in stamp_centers(image, count, stamps):
        for i, j in rhombus_offsets(margin_of(image)):
            result[:, row + i, column + j] = shade
    return result


def rain(image: Pixels, *, count: int, stamps: WordStream) -> Levels:
    result = image / 255
    for row, column in stamp_centers(image, count, stamps):
        for i, j in disc_offsets(margin_of(image)):
            result[:, row + i, column + j] = 0.5 + 0.5 * result[:, row + i, column + j]
    return 255 * result


def obstruction(
    image: Pixels, *, side_px: int, top_fraction: float, left_fraction: float, gray: float
) -> Levels:
    _, height, width = image.shape
    side = scaled(side_px, image)
    top, left = int(top_fraction * (height - side + 1)), int(left_fraction * (width - side + 1))
    result = image.astype(float)
    result[:, top : top + side, left : left + side] = 255 * gray
    return result


def border(image: Pixels, *, thickness_px: int, gray: float) -> Levels:
    t = scaled(thickness_px, image)
    result = np.full(image.shape, 255 * gray)
    result[:, t:-t, t:-t] = image[:, t:-t, t:-t]
    return result


def draw_dashes(image: Pixels, count: int, gray: float, stream: WordStream) -> Levels:
    """Horizontal dashes; at 224 px in the words of the definition, else drawn to scale."""
    _, height, width = image.shape
    scale = min(height, width) / 224

    def drawn(offsets: tuple[int, ...]) -> list[int]:
        """Pixels whose nearest pixel at 224 px belongs to the shape."""
        return [p for p in range(-99, 100) if math.floor(p / scale + 0.5) in offsets]

    thick, solid = drawn((-1, 0, 1)), drawn((-2, -1, 0, 1, 2))
    after, before = drawn((6, 8, 10, 12, 14)), drawn((-10, -8, -6, -4, -2))
    result = image.astype(float)
    for number in range(count):
        row = stream.whole(number, max(thick), height - 1 - max(thick), which=0)
        column = stream.whole(number, max(solid), width - 1 - max(solid), which=1)
        offsets = list(solid)
        if stream.whole(number, 0, 6, lane=1, which=1) > 0:
            if after and column + max(after) < width:
                offsets += after
            if before and column + min(before) >= 0:
                offsets += before
        for i in thick:
            for j in offsets:
                result[:, row + i, column + j] = 255 * gray
    return result


def artifacts(image: Pixels, *, count: int, gray: float, dashes: WordStream) -> Levels:
    return draw_dashes(image, count, gray, dashes)


def vertical_artifacts(image: Pixels, *, count: int, gray: float, dashes: WordStream) -> Levels:
    turned = artifacts(image.transpose(0, 2, 1), count=count, gray=gray, dashes=dashes)
    return turned.transpose(0, 2, 1)
