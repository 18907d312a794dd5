"""Compiled loop of perlin_noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c_bar.perlin import CELL_PX, NOISE_SCALE, OCTAVES, PERIOD
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import blend_pattern
from noctule.corruptions.loops.random import high24, integer, words
from noctule.corruptions.pixels import REFERENCE_SIDE_PX

_BLOCK_ROWS = 32
"""Rows that are computed together, along which the innermost loop runs."""


@compiled
def _lattice(key: Any) -> Any:
    """A permutation, int64 (256,), and unit vectors, float32 (2, 256)."""
    order, vectors = np.empty(PERIOD, np.int64), np.empty((2, PERIOD), np.float32)
    for i in range(PERIOD):
        order[i] = high24(words(key, i, 0)[0]) * PERIOD + i
        w0, w1 = words(key, i, 1)
        down = integer(w0, -PERIOD, PERIOD - 1) + 0.5
        right = integer(w1, -PERIOD, PERIOD - 1) + 0.5
        length = np.sqrt(down * down + right * right)
        vectors[0, i], vectors[1, i] = down / length, right / length
    order.sort()
    return order % PERIOD, vectors


@compiled
def _along(size: int, cell_px: float) -> Any:
    """Interpolation between lattice lines, at each pixel.

    Returns:
        The line before the pixel, int64 (size,); float32 (4, size): the weights of this line
        and the next, and the offsets from them times their weights.
    """
    lines, parts = np.empty(size, np.int64), np.empty((4, size), np.float32)
    for i in range(size):
        position = i / cell_px
        line = np.floor(position)
        rest = position - line
        ease = rest * rest * (3 - 2 * rest)
        lines[i] = line
        parts[0, i], parts[1, i] = 1 - ease, ease
        parts[2, i], parts[3, i] = (1 - ease) * rest, ease * (rest - 1)
    return lines, parts


@compiled
def _gradients(order: Any, vectors: Any, rows: int, columns: int) -> Any:
    """Gradients at lattice points, at most a period of them: float32 (rows, 2, columns)."""
    result = np.empty((min(rows, PERIOD), 2, min(columns, PERIOD)), np.float32)
    for row in range(result.shape[0]):
        first = order[row]
        for column in range(result.shape[2]):
            index = order[(first + column) & (PERIOD - 1)]
            result[row, 0, column] = vectors[0, index]
            result[row, 1, column] = vectors[1, index]
    return result


@compiled
def _by_row(gradients: Any, lines: Any, parts: Any, first: int, at: Any) -> None:
    """Interpolate gradients along the rows of a block.

    Args:
        first: First row of the block.
        at: float32 (2, columns, rows); receives the contributions along rows and columns.
    """
    _, columns, rows = at.shape
    line = np.empty((2, columns), np.float32)
    for y in range(rows):
        this = gradients[lines[first + y] & (PERIOD - 1)]
        following = gradients[(lines[first + y] + 1) & (PERIOD - 1)]
        for axis in range(2):
            w0, w1 = parts[2 - 2 * axis, first + y], parts[3 - 2 * axis, first + y]
            a, b, part = this[axis, :columns], following[axis, :columns], line[axis]
            for column in range(columns):
                part[column] = a[column] * w0 + b[column] * w1
        for column in range(columns):
            at[0, column, y] = line[0, column]
            at[1, column, y] = line[1, column]


@compiled
def _add_octave(at: Any, lines: Any, parts: Any, share: Any, total: Any) -> None:
    """Interpolate along columns, and add the noise's magnitude to total (columns, rows)."""
    for x in range(len(total)):
        this, following = lines[x] & (PERIOD - 1), (lines[x] + 1) & (PERIOD - 1)
        down0, down1 = at[0, this], at[0, following]
        right0, right1 = at[1, this], at[1, following]
        w0, w1, p0, p1 = parts[0, x], parts[1, x], parts[2, x], parts[3, x]
        sums = total[x]
        for y in range(len(sums)):
            down = down0[y] * w0 + down1[y] * w1
            sums[y] += abs(down + (right0[y] * p0 + right1[y] * p1)) * share


@loop("uint8", "float32")
def perlin_noise(image: Any, out: Any, alpha: float, lattice: Any, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c_bar.perlin.perlin_noise`."""
    channels, height, width = image.shape
    cell_px = CELL_PX * min(height, width) / REFERENCE_SIDE_PX
    along = [(_along(height, cell_px / f), _along(width, cell_px / f)) for f in OCTAVES]
    (last_row, _), (last_column, _) = along[-1]
    order, vectors = _lattice(lattice)
    gradients = _gradients(order, vectors, last_row[-1] + 2, last_column[-1] + 2)
    pattern = np.empty(width, np.float32)
    for first in range(0, height, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, height - first)
        total = np.zeros((width, rows), np.float32)
        for octave in range(len(OCTAVES)):
            (row_lines, row_parts), (column_lines, column_parts) = along[octave]
            columns = min(column_lines[-1] + 2, gradients.shape[2])
            at = np.empty((2, columns, rows), np.float32)
            _by_row(gradients, row_lines, row_parts, first, at)
            share = np.float32(1 / OCTAVES[octave])
            _add_octave(at, column_lines, column_parts, share, total)
        for y in range(rows):
            for x in range(width):
                brightness = total[x, y] * np.float32(0.5 * NOISE_SCALE) + np.float32(0.5)
                pattern[x] = min(brightness, np.float32(1))
            for c in range(channels):
                blend_pattern(image, c, first + y, pattern, alpha, released, out)
