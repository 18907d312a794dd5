"""Compiled loop of caustic_refraction."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c_bar.caustics import (
    BENDS,
    BRIGHTEST,
    OFFSET,
    REFRACTIVE_INDEX,
    STEEP_COSINE,
    TURN,
    WHOLE_OFFSET,
    soft_weights,
)
from noctule.corruptions.loops import elementary
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import full_scale, store
from noctule.corruptions.loops.imagenet_c_bar.positions import cosine, cosine32
from noctule.corruptions.loops.pixels import side_scale

_power_1_4 = compiled(elementary.power_1_4)
_PER_TURN = np.float32(1 / TURN)
_QUARTER = np.float32(0.25)


@compiled
def _axis(size: int, wave_px: float) -> Any:
    """Coordinates of the waves: float32 (2, size), in radians, and in turns without offset."""
    result = np.empty((2, size), np.float32)
    for i in range(size):
        turns = i / wave_px
        turns = turns - np.floor(turns) - OFFSET
        result[0, i], result[1, i] = turns * TURN, turns + WHOLE_OFFSET
    return result


@compiled
def _phases(time: float) -> Any:
    """Sine and cosine of the phase of each bend: float32 (bends, 2)."""
    result = np.empty((BENDS, 2), np.float32)
    for step in range(BENDS):
        phase = time * ((1 - 3.5 / (step + 1)) / TURN)
        result[step, 0], result[step, 1] = cosine(phase - 0.25), cosine(phase)
    return result


@compiled
def _water(y: Any, low_y: Any, columns: Any, phases: Any, height: Any) -> None:
    """The water's height in a row; see `_water` of the torch kernel.

    Args:
        y, low_y: The row's coordinates, float32.
        columns: See `_axis`.
        phases: See `_phases`.
        height: float32 (width,); receives the result.
    """
    all_x, all_low_x = columns[0], columns[1]
    waves = np.empty((4, len(height)), np.float32)
    sines_y, cosines_y, sines_x, cosines_x = waves[0], waves[1], waves[2], waves[3]
    for i in range(len(height)):
        sines_y[i], cosines_y[i] = cosine32(low_y - _QUARTER), cosine32(low_y)
        low_x = all_low_x[i]
        sines_x[i], cosines_x[i] = cosine32(low_x - _QUARTER), cosine32(low_x)
        height[i] = np.float32(0)
    for step in range(BENDS):
        sin, cos = phases[step, 0], phases[step, 1]
        for i in range(len(height)):
            x, low_x = all_x[i], all_low_x[i]
            sin_y, cos_y, sin_x, cos_x = sines_y[i], cosines_y[i], sines_x[i], cosines_x[i]
            sum_y = (cos_y * cos + sin_y * sin) + (sin_x * cos + cos_x * sin)
            sum_x = (cos_x * sin - sin_x * cos) + (cos_y * cos - sin_y * sin)
            bent_y, bent_x = sum_y * _PER_TURN + low_y, sum_x * _PER_TURN + low_x
            sin_y, cos_y = cosine32(bent_y - _QUARTER), cosine32(bent_y)
            sin_x, cos_x = cosine32(bent_x - _QUARTER), cosine32(bent_x)
            sines_y[i], cosines_y[i], sines_x[i], cosines_x[i] = sin_y, cos_y, sin_x, cos_x
            steep_y, steep_x = sin_y * cos + cos_y * sin, cos_x * cos - sin_x * sin
            down, right = steep_x * y, steep_y * x
            across = np.sqrt(down * down + right * right) + np.float32(1e-9)
            height[i] += abs(steep_y * steep_x) / across
    for i in range(len(height)):
        brightness = height[i] * np.float32(1 / (5 * 0.005)) + np.float32(1 / 5)
        brightness = min(brightness, np.float32(BRIGHTEST))
        power = np.float32(1.17) - _power_1_4(np.sqrt(np.sqrt(brightness)))
        power = power * power
        power = power * power
        height[i] = min(power * power, np.float32(1))


@compiled
def _reflected(position: int, size: int) -> int:
    turn = position % (2 * size)
    return min(turn, 2 * size - 1 - turn)


@compiled
def _soft_along(row: Any, weights: Any, out: Any) -> None:
    """Smooth a float32 row along itself."""
    radius = len(weights) // 2
    padded = np.empty(len(row) + 2 * radius, np.float32)
    padded[radius : radius + len(row)] = row
    for i in range(radius):
        padded[i] = row[_reflected(i - radius, len(row))]
        padded[radius + len(row) + i] = row[_reflected(len(row) + i, len(row))]
    out[:] = np.float32(0)
    for k in range(len(weights)):
        part, weight = padded[k : k + len(row)], weights[k]
        for i in range(len(row)):
            out[i] += part[i] * weight


@compiled
def _soft_across(plane: Any, y: int, weights: Any, out: Any) -> None:
    """Smooth a plane across its rows, at row y."""
    out[:] = np.float32(0)
    for k in range(len(weights)):
        row, weight = plane[_reflected(y + k - len(weights) // 2, len(plane))], weights[k]
        for i in range(len(out)):
            out[i] += row[i] * weight


@compiled
def _surface_around(plane: Any, y: int, weights: Any, released: bool, rows: Any) -> None:
    """Move on to row y: rows y − 1, y and y + 1 of the smooth water, with a frame.

    Args:
        rows: float32 (3, width + 2), which held the rows of y − 1, unless y is 0.
    """
    _, framed = rows.shape
    inner = framed - 2
    for k in range(2):
        rows[k] = rows[k + 1]
    if y == 0:
        rows[0] = np.float32(0)
        _soft_across(plane, 0, weights, rows[1, 1 : 1 + inner])
    if y + 1 < len(plane):
        _soft_across(plane, y + 1, weights, rows[2, 1 : 1 + inner])
    else:
        rows[2] = rows[1] * np.float32(not released)
    for k in range(3):
        rows[k, 0] = np.float32(0) if released else rows[k, 1]
        rows[k, inner + 1] = np.float32(0) if released else rows[k, inner]
    if y == 0 and not released:
        rows[0] = rows[1]


@compiled
def _refraction(by_row: Any, by_column: Any, dead_zone: bool) -> Any:
    """See `_refraction` of the torch kernel."""
    square = by_row * by_row + by_column * by_column
    cosine = np.float32(1) / np.sqrt(square + np.float32(1))
    sine_square = square * cosine * cosine
    outer_cosine = np.sqrt(sine_square * np.float32(-1 / REFRACTIVE_INDEX**2) + np.float32(1))
    factor = (outer_cosine - cosine * np.float32(1 / REFRACTIVE_INDEX)) * cosine
    return np.float32(0) if dead_zone and cosine >= np.float32(STEEP_COSINE) else factor


@compiled
def _framed(image: Any) -> Any:
    """The image with a black frame, wider behind: (channels, (height + 3) · (width + 3))."""
    channels, height, width = image.shape
    result = np.zeros((channels, height + 3, width + 3), image.dtype)
    for c in range(channels):
        for y in range(height):
            result[c, y + 1, 1 : 1 + width] = image[c, y]
    return result.reshape(channels, -1)


@loop("uint8", "float32", tables={"weights": soft_weights})
def caustic_refraction(
    image: Any,
    out: Any,
    lens_px: float,
    lighting: float,
    time: float,
    wave_px: float,
    released: bool,
    weights: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.caustics.caustic_refraction`."""
    channels, height, width = image.shape
    scale = side_scale(image)
    slope_scale = np.float32(1) if released else np.float32(scale)
    rows, columns = _axis(height, wave_px * scale), _axis(width, wave_px * scale)
    plane, values = np.empty((height, width), np.float32), np.empty(width, np.float32)
    phases = _phases(time)
    for y in range(height):
        _water(rows[0, y], rows[1, y], columns, phases, values)
        _soft_along(values, weights, plane[y])
    framed, pitch = _framed(image), width + 3
    around = np.empty((3, width + 2), np.float32)
    light, index = np.empty(width, np.float32), np.empty(width, np.uint32)
    part_y, part_x = np.empty(width, np.float32), np.empty(width, np.float32)
    reach_px, shine = np.float32(lens_px * scale), np.float32(lighting)
    top = full_scale(image)
    for y in range(height):
        _surface_around(plane, y, weights, released, around)
        above, below = around[0, 1 : 1 + width], around[2, 1 : 1 + width]
        before, after = around[1, :width], around[1, 2 : 2 + width]
        for x in range(width):
            by_row = (below[x] - above[x]) * slope_scale
            by_column = (after[x] - before[x]) * slope_scale
            light[x] = ((by_row - by_column) * shine) * top
            reach = _refraction(by_row, by_column, released) * reach_px
            down, right = by_row * reach + np.float32(y), by_column * reach + np.float32(x)
            down = min(max(down, np.float32(-1)), np.float32(height)) + np.float32(1)
            right = min(max(right, np.float32(-1)), np.float32(width)) + np.float32(1)
            whole_y, whole_x = np.floor(down), np.floor(right)
            part_y[x], part_x[x] = down - whole_y, right - whole_x
            index[x] = np.int32(whole_y) * np.int32(pitch) + np.int32(whole_x)
        for c in range(channels):
            _sample(framed[c], pitch, index, part_y, part_x, values)
            for x in range(width):
                values[x] += light[x]
            store(values, top, released, out[c, y])


@compiled
def _sample(plane: Any, pitch: int, index: Any, part_y: Any, part_x: Any, out: Any) -> None:
    """Read a row of pixels of a framed plane bilinearly.

    Args:
        index: Index of the upper left pixel, uint32 (width,).
        part_y, part_x: Positions between the pixels, float32 (width,).
    """
    second, third = plane[1:], plane[pitch:]
    fourth = plane[pitch + 1 :]
    corners = np.empty((4, len(out)), plane.dtype)
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for x in range(len(out)):  # on its own, so that the arithmetic is vectorised
        k = index[x]
        a[x], b[x], c[x], d[x] = plane[k], second[k], third[k], fourth[k]
    for x in range(len(out)):
        upper, lower = np.float32(a[x]), np.float32(c[x])
        upper += (np.float32(b[x]) - upper) * part_x[x]
        lower += (np.float32(d[x]) - lower) * part_x[x]
        out[x] = upper + (lower - upper) * part_y[x]
