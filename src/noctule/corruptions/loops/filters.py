"""Separable filters for loops: the compiled twin of `noctule.corruptions.filters`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.filters import gaussian_kernel
from noctule.corruptions.loops.compiling import compiled
from noctule.corruptions.loops.pixels import copy

NEAREST, REFLECT, MIRROR, ODD = range(4)
"""Borders; see `noctule.corruptions.filters.gaussian_filter` and `filter_planes` there."""
# Values that are filtered together: their sums stay in the first cache.
BLOCK = 1024
_FIXED, _UNFIXED = 2.0**18, 2.0**-18


@functools.lru_cache(maxsize=256)
def kernel_of(sigma: float, truncate: float = 4.0) -> NDArray[np.float64]:
    """`gaussian_kernel` as an array."""
    return np.array(gaussian_kernel(sigma, truncate))


@compiled
def symmetric_sum(values: Any, start: int, step: int, ratios: Any, out: Any) -> None:
    """Filter a row with a symmetric kernel: `noctule.corruptions.filters.symmetric_sum`.

    Args:
        values: float32 (n,).
        start: Index of the first tap of the first result.
        step: Distance between taps.
        ratios: See `ratios_of`; at least two.
        out: float32 (m,).
    """
    middle = start + (len(ratios) - 1) * step
    n = (len(ratios) - 2) % 4 + 1  # pairs of the first pass
    _add_first_pairs(values, middle, step, ratios, n, out)
    rest = len(ratios) - 1 - n
    for inner in range(rest, 4, -4):
        _add_four_pairs(values, middle, inner * step, step, ratios, inner, out)
    if rest > 0:
        _add_last_pairs(values, middle, step, ratios, out)
        return
    ratio, scale, a = ratios[1], ratios[0], values[middle : middle + len(out)]
    for x in range(len(out)):
        out[x] = (out[x] * ratio + a[x]) * scale


@compiled
def _pair(values: Any, middle: int, distance: int, count: int) -> Any:
    """The two taps at a distance from the centre."""
    left, right = middle - distance, middle + distance
    return values[left : left + count], values[right : right + count]


@compiled
def _add_first_pairs(
    values: Any, middle: int, step: int, ratios: Any, pairs: int, out: Any
) -> None:
    """Add the outermost one to four pairs of taps."""
    radius, count = len(ratios) - 1, len(out)
    a, b = _pair(values, middle, radius * step, count)
    if pairs == 1:
        for x in range(count):
            out[x] = a[x] + b[x]
        return
    c, d = _pair(values, middle, (radius - 1) * step, count)
    r = ratios[radius]
    if pairs == 2:
        for x in range(count):
            out[x] = (a[x] + b[x]) * r + c[x] + d[x]
        return
    e, f = _pair(values, middle, (radius - 2) * step, count)
    s = ratios[radius - 1]
    if pairs == 3:
        for x in range(count):
            out[x] = ((a[x] + b[x]) * r + c[x] + d[x]) * s + e[x] + f[x]
        return
    g, h = _pair(values, middle, (radius - 3) * step, count)
    t = ratios[radius - 2]
    for x in range(count):
        total = ((a[x] + b[x]) * r + c[x] + d[x]) * s + e[x] + f[x]
        out[x] = total * t + g[x] + h[x]


@compiled
def _add_four_pairs(
    values: Any, middle: int, distance: int, step: int, ratios: Any, n: int, out: Any
) -> None:
    """Add the pairs of taps n to n − 3: loads and stores of the sums take most of the time."""
    count = len(out)
    r, s, t, u = ratios[n + 1], ratios[n], ratios[n - 1], ratios[n - 2]
    a, b = _pair(values, middle, distance, count)
    c, d = _pair(values, middle, distance - step, count)
    e, f = _pair(values, middle, distance - 2 * step, count)
    g, h = _pair(values, middle, distance - 3 * step, count)
    for x in range(count):
        total = (out[x] * r + a[x] + b[x]) * s + c[x] + d[x]
        out[x] = (total * t + e[x] + f[x]) * u + g[x] + h[x]


@compiled
def _add_last_pairs(values: Any, middle: int, step: int, ratios: Any, out: Any) -> None:
    """Add the four innermost pairs of taps and the centre."""
    count = len(out)
    r, s, t, u, v, w = ratios[5], ratios[4], ratios[3], ratios[2], ratios[1], ratios[0]
    a, b = _pair(values, middle, 4 * step, count)
    c, d = _pair(values, middle, 3 * step, count)
    e, f = _pair(values, middle, 2 * step, count)
    g, h = _pair(values, middle, step, count)
    i = values[middle : middle + count]
    for x in range(count):
        total = (out[x] * r + a[x] + b[x]) * s + c[x] + d[x]
        total = (total * t + e[x] + f[x]) * u + g[x] + h[x]
        out[x] = (total * v + i[x]) * w


@compiled
def ratios_of(kernel: Any) -> Any:
    """The weight of the centre, and each weight divided by the one before it: float32."""
    ratios = np.empty(len(kernel), np.float32)
    ratios[0] = kernel[0]
    for n in range(1, len(kernel)):
        ratios[n] = kernel[n] / kernel[n - 1]
    return ratios


@compiled
def source_of(position: int, size: int, border: int) -> Any:
    """The position between 0 and `size` that a position beyond the border repeats."""
    if border == NEAREST:
        return min(max(position, 0), size - 1)
    if border == ODD:
        if position < 0:
            return -2 - position
        return position if position < size else 2 * size - position
    last = 2 * size - 1 if border == REFLECT else 2 * size - 2
    turn = position % (last + 1 if border == REFLECT else max(last, 1))
    return min(turn, last - turn)


@compiled
def _margin_value(row: Any, before: int, position: int, size: int, border: int) -> Any:
    if border == ODD:
        if position in (-1, size):
            return np.float32(0)
        return -row[before + source_of(position, size, border)]
    return row[before + source_of(position, size, border)]


@compiled
def fill_margins(row: Any, before: int, size: int, border: int) -> None:
    """Continue the values row[before : before + size] to both ends of the row."""
    for x in range(before):
        row[x] = _margin_value(row, before, x - before, size, border)
    for x in range(before + size, len(row)):
        row[x] = _margin_value(row, before, x - before, size, border)


@compiled
def filter_space(height: int, width: int, down: Any) -> Any:
    """Working memory for `filter_plane`."""
    space = np.empty((height + 2 * (len(down) - 1)) * width + 16, np.float32)
    # Vectors that lie in one cache line take half the time.
    return space[(-(space.ctypes.data // 4)) % 16 :]


@compiled
def filter_plane(plane: Any, down: Any, across: Any, border: int, space: Any) -> Any:
    """Filter a plane along rows and columns: `noctule.corruptions.filters.filter_planes`.

    Args:
        plane: uint8 or float32 (height, width), contiguous.
        down, across: Weights from the centre outwards, float64.
        border: One of the borders above.
        space: Working memory; see `filter_space`.

    Returns:
        float32 (height, width), the first part of the working memory.
    """
    height, width = plane.shape
    radius = len(down) - 1
    if radius > 0 and 6 * radius > height:
        result = space[: height * width].reshape(height, width)
        _along_rows(plane, across, border, result)
        _columns_by_matrix(result, down, border)
        return result
    rows = space[: (height + 2 * radius) * width].reshape(height + 2 * radius, width)
    _along_rows(plane, across, border, rows[radius : radius + height])
    if radius > 0:
        _along_columns(rows, down, border)
    return rows[:height]


@compiled
def _along_rows(plane: Any, kernel: Any, border: int, out: Any) -> None:
    """Filter along the rows, (height, width)."""
    height, width = plane.shape
    radius = len(kernel) - 1
    if radius == 0:
        for y in range(height):
            row, target = plane[y], out[y]
            for x in range(width):
                target[x] = row[x]
        return
    if 6 * radius > width:
        matrix = _matrix(width, kernel, border)
        for y in range(height):
            _times_matrix(plane[y], matrix, out[y])
        return
    ratios, pitch = ratios_of(kernel), width + 2 * radius
    count = max(1, BLOCK // pitch)
    wide, sums = np.empty(count * pitch, np.float32), np.empty(count * pitch, np.float32)
    for first in range(0, height, count):
        rows = min(count, height - first)
        for k in range(rows):
            source, row = plane[first + k], wide[k * pitch : (k + 1) * pitch]
            inner = row[radius : radius + width]
            for x in range(width):
                inner[x] = source[x]
            fill_margins(row, radius, width, border)
        # Rows are stored end to end; sums across their ends fall into the margins.
        symmetric_sum(wide, 0, 1, ratios, sums[: rows * pitch - 2 * radius])
        for k in range(rows):
            copy(sums[k * pitch : k * pitch + width], out[first + k])


@compiled
def _along_columns(rows: Any, kernel: Any, border: int) -> None:
    """Filter rows between margins of the kernel's radius, and move the result to the top."""
    radius = len(kernel) - 1
    height, width = len(rows) - 2 * radius, rows.shape[1]
    for k in range(radius):
        for at, position in ((radius - 1 - k, -1 - k), (radius + height + k, height + k)):
            target = rows[at]
            source = rows[radius + source_of(position, height, border)]
            if border != ODD:
                copy(source, target)
            elif k == 0:
                target[:] = 0
            else:
                for x in range(width):
                    target[x] = -source[x]
    sum_columns(rows, ratios_of(kernel))


@compiled
def sum_columns(rows: Any, ratios: Any) -> None:
    """`symmetric_sum` along the columns of float32 (height, width), into the first rows."""
    height, width = len(rows) - 2 * (len(ratios) - 1), rows.shape[1]
    flat, sums = rows.reshape(-1), np.empty(BLOCK, np.float32)
    count, strip = max(1, BLOCK // width), min(width, BLOCK)
    for left in range(0, width, strip):
        length = min(strip, width - left)
        for first in range(0, height, count):
            # Several whole rows, or a part of one.
            size = min(count, height - first) * length
            start = first * width + left
            symmetric_sum(flat, start, width, ratios, sums[:size])
            copy(sums[:size], flat[start : start + size])  # no longer needed as a tap


@compiled
def _columns_by_matrix(plane: Any, kernel: Any, border: int) -> None:
    """Filter float32 (height, width) along the columns, in place."""
    height, width = plane.shape
    matrix, column = _matrix(height, kernel, border), np.empty(height, np.float32)
    for x in range(width):
        for y in range(height):
            column[y] = plane[y, x]
        _times_matrix(column, matrix, plane[:, x])


@compiled
def _matrix(size: int, kernel: Any, border: int) -> Any:
    """The transposed matrix of a filter: multiples of 2^-24, float64 (size, size)."""
    radius = len(kernel) - 1
    weights = np.rint(kernel * 2.0**24) * 2.0**-24
    weights[0] += 1 - (2 * weights.sum() - weights[0])
    matrix = np.zeros((size, size))
    for target in range(size):
        for n in range(-radius, radius + 1):
            matrix[source_of(target + n, size, border), target] += weights[abs(n)]
    return matrix


@compiled
def _times_matrix(values: Any, matrix: Any, out: Any) -> None:
    """Multiply multiples of 2^-18 with a matrix: exact, thus in any order."""
    total = np.zeros(len(values))
    for k in range(len(values)):
        value, row = np.rint(values[k] * _FIXED) * _UNFIXED, matrix[k]
        for x in range(len(total)):
            total[x] += value * row[x]
    for x in range(len(total)):
        out[x] = total[x]
