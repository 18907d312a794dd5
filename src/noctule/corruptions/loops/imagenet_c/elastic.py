"""Compiled loops of ImageNet-C: elastic_transform."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.elastic import (
    COARSE_SIGMA_PX,
    FIXED_POINT,
    MISTAKEN_SIDE_PX,
    RIGHT_SIDES_PX,
    TRUNCATE,
    cell_bands,
)
from noctule.corruptions.loops.compiling import Table, compiled, loop
from noctule.corruptions.loops.filters import REFLECT, filter_plane, filter_space, kernel_of
from noctule.corruptions.loops.pixels import store
from noctule.corruptions.loops.random import threefry13, unit_interval, words
from noctule.corruptions.pixels import REFERENCE_SIDE_PX


def _scale(height: int, width: int, released: bool) -> float:
    """The factor of lengths for 224 px."""
    side = min(height, width)
    scale = side / REFERENCE_SIDE_PX
    if released and side not in RIGHT_SIDES_PX:
        scale *= MISTAKEN_SIDE_PX / REFERENCE_SIDE_PX
    return scale


def _fine(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.float64]:
    """The weights of a filter of noise in pixels; empty for noise in cells."""
    sigma = sigma_px * _scale(height, width, released)
    return kernel_of(sigma, TRUNCATE) if sigma < COARSE_SIGMA_PX else np.empty(0)


def _down_first(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.int64]:
    """See `cell_bands`, along the columns."""
    return _cells(height, sigma_px * _scale(height, width, released))[0]


def _down(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.float64]:
    """See `cell_bands`, along the columns."""
    return _cells(height, sigma_px * _scale(height, width, released))[1]


def _across_first(
    height: int, width: int, sigma_px: float, released: bool
) -> NDArray[np.int64]:
    """See `cell_bands`, along the rows."""
    return _cells(width, sigma_px * _scale(height, width, released))[0]


def _across(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.float64]:
    """See `cell_bands`, along the rows."""
    return _cells(width, sigma_px * _scale(height, width, released))[1]


@functools.lru_cache(maxsize=16)
def _cells(length: int, sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if sigma < COARSE_SIGMA_PX:
        return np.empty(1, np.int64), np.empty((1, 1))
    first, weights = cell_bands(length, sigma)
    return first.numpy(), weights.numpy()


TABLES: dict[str, Table] = {
    "fine": _fine,
    "down_first": _down_first,
    "down": _down,
    "across_first": _across_first,
    "across": _across,
}
_compiled_scale: Any = compiled(_scale)


@loop("uint8", "float32", tables=TABLES)
def elastic_transform(
    image: Any,
    out: Any,
    alpha_px: float,
    sigma_px: float,
    affine_px: float,
    corners: Any,
    displacement: Any,
    released: bool,
    fine: Any,
    down_first: Any,
    down: Any,
    across_first: Any,
    across: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.elastic.elastic_transform`."""
    height, width = image.shape[1:]
    scale = _compiled_scale(height, width, released)
    alpha = alpha_px * scale
    matrix = _affine(height, width, affine_px * scale, corners, released)
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    positions, near = _empty_positions(width), np.empty((4, width), image.dtype)
    warped = np.empty(image.shape, np.float32)
    for row in range(height):
        _affine_row(matrix, row, x, y)
        _locate(x, y, height, 0, positions)
        for channel in range(len(image)):
            _read(image[channel].ravel(), positions, near, warped[channel, row])
    if alpha == 0:
        store(warped.reshape(-1), out.reshape(-1), released)
        return
    if len(fine) > 0:
        to_x, to_y = _fine_displacement(height, width, displacement, alpha, fine)
    else:
        noise = _noise(displacement, len(down), len(across))
        cell_px = height / len(down) * width / len(across)
        gain = alpha / 256 / FIXED_POINT**2 / math.sqrt(cell_px)
        columns, rows = (down_first, down), (across_first, across)
        to_x = _filter_cells(noise[0], columns, height, rows, width, gain)
        to_y = _filter_cells(noise[1], columns, height, rows, width, gain)
    values, near_warped = np.empty(width, np.float32), np.empty((4, width), np.float32)
    for row in range(height):
        shift_x, shift_y = to_x[row], to_y[row]
        for k in range(width):
            x[k] = shift_x[k] + np.float32(k)
            y[k] = shift_y[k] + np.float32(row)
        _locate(x, y, height, 1, positions)
        for channel in range(len(image)):
            _read(warped[channel].ravel(), positions, near_warped, values)
            store(values, out[channel, row], released)


@compiled
def _affine(height: int, width: int, reach: float, corners: Any, released: bool) -> Any:
    """The affine map, float32 (2, 3): see `elastic._warped` and `elastic._affine`."""
    x, y = (height // 2, width // 2) if released else (width // 2, height // 2)
    half = min(height, width) // 3
    target = np.empty((3, 2))
    target[0, 0], target[0, 1] = x + half, y + half
    target[1, 0], target[1, 1] = x + half, y - half
    target[2, 0], target[2, 1] = x - half, y - half
    source = np.empty((3, 2))
    for point in range(3):
        w0, w1 = words(corners, point, 0)
        source[point, 0] = target[point, 0] + (np.float64(unit_interval(w0)) * 2 - 1) * reach
        source[point, 1] = target[point, 1] + (np.float64(unit_interval(w1)) * 2 - 1) * reach
    p, q = source[1] - source[0], source[2] - source[0]
    u, v = target[1] - target[0], target[2] - target[0]
    area = p[0] * q[1] - p[1] * q[0]
    area = (-1 if area < 0 else 1) * max(abs(area), 1.0)
    a, b, c, d = q[1] / area, -q[0] / area, -p[1] / area, p[0] / area
    matrix = np.empty((2, 3), np.float32)
    for axis in range(2):
        first, second = u[axis] * a + v[axis] * c, u[axis] * b + v[axis] * d
        matrix[axis, 0], matrix[axis, 1] = first, second
        matrix[axis, 2] = target[0, axis] - (first * source[0, 0] + second * source[0, 1])
    return matrix


@compiled
def _affine_row(matrix: Any, row: int, x: Any, y: Any) -> None:
    """The position to read for each pixel of a row."""
    xx, xy, to_x = matrix[0]
    yx, yy, to_y = matrix[1]
    from_x, from_y = np.float32(row) * xy, np.float32(row) * yy
    for k in range(len(x)):
        column = np.float32(k)
        x[k] = column * xx + from_x + to_x
        y[k] = column * yx + from_y + to_y


@compiled
def _empty_positions(width: int) -> Any:
    """Index, steps to the right and down, and weights of the second column and row."""
    return (
        np.empty(width, np.int32),
        np.empty(width, np.int32),
        np.empty(width, np.int32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )


@compiled
def _locate(x: Any, y: Any, height: int, edge: int, positions: Any) -> None:
    """Find the pixels and the weights of positions; `edge` is 0 or 1, see `_mirror`."""
    index, right, down, across_weight, down_weight = positions
    width = len(x)
    _mirror(x, width, edge)
    _mirror(y, height, edge)
    last_x, last_y, pitch = np.int32(width - 1), np.int32(height - 1), np.int32(width)
    for k in range(width):
        left, top = np.int32(x[k]), np.int32(y[k])
        across_weight[k], down_weight[k] = x[k] - np.float32(left), y[k] - np.float32(top)
        index[k] = np.int32(top * pitch + left)
        right[k] = np.int32(1) if left < last_x else np.int32(0)
        down[k] = pitch if top < last_y else np.int32(0)


@compiled
def _mirror(position: Any, size: int, edge: int) -> None:
    """Mirror positions about the edge pixels (0) or the edges (1): see `elastic._mirrored`."""
    period = np.float32(2 * (size - 1 + edge))
    share = np.float32(1 / (2 * (size - 1 + edge)))
    before, after = np.float32(-edge), np.float32(2 * (size - 1 + edge) - edge)
    last = np.float32(size - 1)
    for k in range(len(position)):
        value = max(position[k], before - position[k])
        value = value - np.floor(value * share) * period
        position[k] = min(max(min(value, after - value), np.float32(0)), last)


@compiled
def _read(plane: Any, positions: Any, corners: Any, out: Any) -> None:
    """Interpolate a plane bilinearly.

    Args:
        plane: (height · width,).
        positions: See `_locate`.
        corners: Working memory (4, width): what is read before it is used in vectors.
        out: float32 (width,).
    """
    index, right, down, across_weight, down_weight = positions
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for k in range(len(index)):
        at, step, pitch = np.uint64(index[k]), np.uint64(right[k]), np.uint64(down[k])
        a[k], b[k] = plane[at], plane[at + step]
        c[k], d[k] = plane[at + pitch], plane[at + pitch + step]
    for k in range(len(index)):
        u, v = across_weight[k], down_weight[k]
        left, lower_left = np.float32(a[k]), np.float32(c[k])
        upper = left + (np.float32(b[k]) - left) * u
        lower = lower_left + (np.float32(d[k]) - lower_left) * u
        out[k] = upper + (lower - upper) * v


@compiled
def _fine_displacement(height: int, width: int, stream: Any, alpha: float, fine: Any) -> Any:
    """Filtered noise in pixels, for x and for y: float32 (height, width) each."""
    noise, factor = _noise(stream, height, width), np.float32(alpha)
    to_x = filter_plane(noise[0], fine, fine, REFLECT, filter_space(height, width, fine))
    to_y = filter_plane(noise[1], fine, fine, REFLECT, filter_space(height, width, fine))
    to_x *= factor
    to_y *= factor
    return to_x, to_y


@compiled
def _noise(stream: Any, height: int, width: int) -> Any:
    """The odd integers in (−256, 256) of `elastic._noise`, divided by 256: float32."""
    count = 2 * height * width
    elements = (count + 7) // 8
    pairs = np.empty(2 * elements, np.uint32)
    first, second = pairs[:elements], pairs[elements:]
    for i in range(elements):
        first[i], second[i] = threefry13(stream[0], stream[1], np.uint32(i), np.uint32(0))
    numbers, noise = pairs.view(np.int8), np.empty(count, np.float32)
    for i in range(count):
        noise[i] = np.float32(2 * np.int32(numbers[i]) + 1) * np.float32(1 / 256)
    return noise.reshape(2, height, width)


@compiled
def _filter_cells(
    noise: Any, down: Any, height: int, across: Any, width: int, gain: float
) -> Any:
    """Filter cells of noise along columns and rows, in exact sums.

    Args:
        noise: float32 (lines, cells).
        down, across: The results of `cell_bands`.
        height, width: Size of the result.
        gain: Factor of the sums.

    Returns:
        float32 (height, width).
    """
    first, bands = across
    columns = np.zeros((len(noise), width))
    for line in range(len(noise)):
        for cell in range(len(bands)):
            value, weights = np.float64(noise[line, cell]) * 256, bands[cell]
            part = columns[line, first[cell] :]
            for x in range(len(weights)):
                part[x] += value * weights[x]
    first, bands = down
    result, total, start = np.empty((height, width), np.float32), np.empty(width), 0
    for y in range(height):
        total[:] = 0
        while first[start] + bands.shape[1] <= y:
            start += 1
        line = start
        while line < len(noise) and first[line] <= y:
            weight, row = bands[line, y - first[line]], columns[line]
            for x in range(width):
                total[x] += weight * row[x]
            line += 1
        target = result[y]
        for x in range(width):
            target[x] = total[x] * gain
    return result
