"""Small shapes stamped at random positions, in loops.

A shape is int64 (rows, 2): for each of its rows, from one margin above the centre on, the first
column and the one after the last, relative to the centre.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled
from noctule.corruptions.loops.random import integer, words
from noctule.corruptions.noc.stamps import MARGIN_PX


@compiled
def stamp_margin_px(image: Any) -> Any:
    """The margin of 7 px, scaled with the shorter side; at least 1 px."""
    return max(1, int(np.rint(MARGIN_PX * min(image.shape[1], image.shape[2]) / 224)))


@compiled
def rhombus_rows(margin_px: int) -> Any:
    """The rhombus of `rhombus_offsets`."""
    rows = np.empty((2 * margin_px, 2), np.int64)
    for i in range(len(rows)):
        half = margin_px - abs(i - margin_px)
        rows[i, 0], rows[i, 1] = -half, half
    return rows


@compiled
def disc_rows(margin_px: int) -> Any:
    """The disc of `disc_offsets`."""
    rows = np.empty((2 * margin_px + 1, 2), np.int64)
    most = (margin_px - 0.8) ** 2
    for i in range(len(rows)):
        half = 0
        while (i - margin_px) ** 2 + half**2 <= most:
            half += 1
        rows[i, 0], rows[i, 1] = min(1 - half, 0), half
    return rows


@compiled
def center(image: Any, margin_px: int, key: Any, stamp: int) -> Any:
    """The row and column of a stamp's centre: `draw_centers`."""
    row, column = words(key, stamp, 0)
    return (
        integer(row, margin_px, image.shape[1] - margin_px),
        integer(column, margin_px, image.shape[2] - margin_px),
    )


@compiled
def paint(plane: Any, row: int, column: int, shape: Any, margin_px: int, value: Any) -> None:
    """Paint a shape in one channel."""
    for i in range(len(shape)):
        line = plane[row - margin_px + i]
        for x in range(column + shape[i, 0], column + shape[i, 1]):
            line[x] = value
