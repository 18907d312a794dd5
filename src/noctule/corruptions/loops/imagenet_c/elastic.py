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
    cell_weights,
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


def _down(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.float64]:
    """The weights of cells in each row: (height, cells)."""
    return _cells(height, sigma_px * _scale(height, width, released))


def _across(height: int, width: int, sigma_px: float, released: bool) -> NDArray[np.float64]:
    """The weights of cells in each column: (width, cells)."""
    return _cells(width, sigma_px * _scale(height, width, released))


@functools.lru_cache(maxsize=16)
def _cells(length: int, sigma: float) -> NDArray[np.float64]:
    return cell_weights(length, sigma).numpy() if sigma >= COARSE_SIGMA_PX else np.empty((1, 1))


TABLES: dict[str, Table] = {"fine": _fine, "down": _down, "across": _across}
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
    down: Any,
    across: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.elastic.elastic_transform`."""
    height, width = image.shape[1:]
    scale = _compiled_scale(height, width, released)
    alpha = alpha_px * scale
    matrix = _affine(height, width, affine_px * scale, corners, released)
    pixels, read = _interleaved(image), np.empty(4 * width, np.float32)
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    positions = _empty_positions(width)
    if alpha == 0:
        for row in range(height):
            _affine_row(matrix, row, x, y)
            _locate(x, y, height, 0, positions)
            _read(pixels, positions, read)
            _write_row(read, row, out, released)
        return
    warped = np.empty(4 * height * width, np.float32)
    for row in range(height):
        _affine_row(matrix, row, x, y)
        _locate(x, y, height, 0, positions)
        _read(pixels, positions, warped[4 * row * width :][: 4 * width])
    to_x, to_y = _displacement(height, width, displacement, alpha, fine, down, across)
    for row in range(height):
        shift_x, shift_y = to_x[row], to_y[row]
        for k in range(width):
            x[k] = shift_x[k] + np.float32(k)
            y[k] = shift_y[k] + np.float32(row)
        _locate(x, y, height, 1, positions)
        _read(warped, positions, read)
        _write_row(read, row, out, released)


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
def _interleaved(image: Any) -> Any:
    """The values of each pixel together, in fours: (4 · height · width,)."""
    channels, height, width = image.shape
    pixels = np.zeros(4 * height * width, image.dtype)
    for channel in range(channels):
        plane = image[channel].ravel()
        for i in range(len(plane)):
            pixels[4 * i + channel] = plane[i]
    return pixels


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
        index[k] = np.int32(4) * np.int32(top * pitch + left)
        right[k] = np.int32(4) if left < last_x else np.int32(0)
        down[k] = np.int32(4) * pitch if top < last_y else np.int32(0)


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
def _read(pixels: Any, positions: Any, out: Any) -> None:
    """Interpolate pixels bilinearly: float32 (4 · width,)."""
    index, right, down, across_weight, down_weight = positions
    for k in range(len(index)):
        u, v = across_weight[k], down_weight[k]
        at, step, pitch = np.uint64(index[k]), np.uint64(right[k]), np.uint64(down[k])
        start = np.uint64(4) * np.uint64(k)
        for c in range(np.uint64(4)):
            a, b = np.float32(pixels[at + c]), np.float32(pixels[at + step + c])
            d, e = np.float32(pixels[at + pitch + c]), np.float32(pixels[at + pitch + step + c])
            upper, lower = a + (b - a) * u, d + (e - d) * u
            out[start + c] = upper + (lower - upper) * v


@compiled
def _write_row(read: Any, row: int, out: Any, released: bool) -> None:
    width = out.shape[2]
    values = np.empty(width, np.float32)
    for channel in range(len(out)):
        for k in range(width):
            values[k] = read[4 * k + channel]
        store(values, out[channel, row], released)


@compiled
def _displacement(
    height: int, width: int, stream: Any, alpha: float, fine: Any, down: Any, across: Any
) -> Any:
    """The displacement of each pixel to the right, and down: float32 (height, width) each."""
    if len(fine) > 0:
        noise, factor = _noise(stream, height, width), np.float32(alpha)
        to_x = filter_plane(noise[0], fine, fine, REFLECT, filter_space(height, width, fine))
        to_y = filter_plane(noise[1], fine, fine, REFLECT, filter_space(height, width, fine))
        to_x *= factor
        to_y *= factor
        return to_x, to_y
    cell_px = height / down.shape[1] * width / across.shape[1]
    gain = alpha / 256 / FIXED_POINT**2 / math.sqrt(cell_px)
    noise = _noise(stream, down.shape[1], across.shape[1])
    to_x = _filter_cells(noise[0], down, across, gain)
    to_y = _filter_cells(noise[1], down, across, gain)
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
def _filter_cells(noise: Any, down: Any, across: Any, gain: float) -> Any:
    """Filter cells of noise along columns and rows, in exact sums: float32 (height, width)."""
    height, width = len(down), len(across)
    columns, weights = np.zeros((len(noise), width)), across.T.copy()
    for line in range(len(noise)):
        total = columns[line]
        for cell in range(noise.shape[1]):
            value, row = np.float64(noise[line, cell]) * 256, weights[cell]
            for x in range(width):
                total[x] += value * row[x]
    result, total = np.empty((height, width), np.float32), np.empty(width)
    for y in range(height):
        total[:] = 0
        for line in range(len(noise)):
            weight, row = down[y, line], columns[line]
            if weight != 0:
                for x in range(width):
                    total[x] += weight * row[x]
        target = result[y]
        for x in range(width):
            target[x] = total[x] * gain
    return result
