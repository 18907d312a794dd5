"""Chamfer distances: the compiled twin of `noctule.corruptions.imagenet_c.distance`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c.distance import MOST_PX, STEPS, UNITS_PER_PX
from noctule.corruptions.loops.compiling import compiled

_FARTHEST = np.uint16(MOST_PX * UNITS_PER_PX)
_STRAIGHT, _DIAGONAL, _KNIGHT = (np.uint16(length) for length, _, _ in STEPS)
MARGIN = 18
"""Columns of a plane of distances before and after the image; there are two rows of margin."""


@compiled
def chamfer_distance(marks: Any, width: int) -> Any:
    """The distance to the nearest mark, at most `MOST_PX`, in thousandths of a pixel.

    A shortest path can first take its steps that go down or, within a row, to the right, and
    then those that go up or to the left. So one pass downwards and one upwards are enough.

    Args:
        marks: 2 at marks and less elsewhere, uint8 (height + 2, n), in a frame of one pixel; at
            least `width` + 2 columns. More columns make whole vectors: no path gets shorter by
            leaving the image.
        width: Width of the image.

    Returns:
        uint16 (height + 4, …), with a margin.
    """
    height, n = marks.shape[0] - 2, marks.shape[1] - 2
    pitch = n + 2 * MARGIN
    distance = np.full((height + 4, pitch), _FARTHEST, np.uint16)
    first = np.full(pitch, _FARTHEST, np.uint16)
    second = first.copy()
    for y in range(height):
        found, row = marks[1 + y, 1 : 1 + n], first[MARGIN : MARGIN + n]
        for x in range(n):
            row[x] = np.uint16(0) if found[x] == 2 else _FARTHEST
        _pass_on(row, distance[y + 1], distance[y])
        _pass_along(first, second, -1, np.uint16(_STRAIGHT))
        _pass_along(second, first, -3, np.uint16(3 * _STRAIGHT))
        _pass_along(first, distance[y + 2], -9, np.uint16(9 * _STRAIGHT))
    for y in range(height - 1, -1, -1):
        first[:] = distance[y + 2]
        _pass_on(first[MARGIN : MARGIN + n], distance[y + 3], distance[y + 4])
        _pass_along(first, second, 1, np.uint16(_STRAIGHT))
        _pass_along(second, first, 3, np.uint16(3 * _STRAIGHT))
        _pass_along(first, distance[y + 2], 9, np.uint16(9 * _STRAIGHT))
    return distance


@compiled
def _pass_on(row: Any, next_row: Any, second_row: Any) -> None:
    """Lower the distances of a row to those over the next two rows on one side."""
    n, left = len(row), MARGIN - 2
    a, b, c = next_row[left:][:n], next_row[left + 1 :][:n], next_row[left + 2 :][:n]
    d, e = next_row[left + 3 :][:n], next_row[left + 4 :][:n]
    f, g = second_row[left + 1 :][:n], second_row[left + 3 :][:n]
    for x in range(n):
        straight = np.uint16(c[x] + _STRAIGHT)
        diagonal = np.uint16(min(b[x], d[x]) + _DIAGONAL)
        knight = np.uint16(min(min(a[x], e[x]), min(f[x], g[x])) + _KNIGHT)
        row[x] = min(min(row[x], straight), min(diagonal, knight))


@compiled
def _pass_along(row: Any, out: Any, step: int, length: Any) -> None:
    """Lower distances to those one or two steps to one side: between margins."""
    n = len(row) - 2 * MARGIN
    here, result = row[MARGIN:][:n], out[MARGIN:][:n]
    near, far = row[MARGIN + step :][:n], row[MARGIN + 2 * step :][:n]
    for x in range(n):
        over_near, over_far = np.uint16(near[x] + length), np.uint16(far[x] + 2 * length)
        result[x] = min(here[x], min(over_near, over_far))
