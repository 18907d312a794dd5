"""Compiled loops of geometry: translation, shear, rotation, elastic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import scale_px, store
from noctule.corruptions.loops.resampling import resize_row, sum_rows, taps_of


@compiled
def _shift(row: Any, shift: int, out: Any) -> None:
    """Read a row from a column on; black outside."""
    width = len(out)
    start, stop = min(max(-shift, 0), width), max(min(width - shift, width), 0)
    _blacken(out[:start])
    source, inner = row[start + shift :], out[start:stop]
    for x in range(len(inner)):
        inner[x] = source[x]
    _blacken(out[max(start, stop) :])


@compiled
def _blacken(row: Any) -> None:
    for x in range(len(row)):
        row[x] = 0


@loop("uint8", "float32")
def translation(image: Any, out: Any, dx_px: int, dy_px: int) -> None:
    """See `noctule.corruptions.noc.geometry.translation`."""
    dx = scale_px(abs(dx_px), image) * (1 if dx_px >= 0 else -1)
    dy = scale_px(abs(dy_px), image) * (1 if dy_px >= 0 else -1)
    channels, height, _ = image.shape
    for channel in range(channels):
        plane, result = image[channel], out[channel]
        for y in range(height):
            if 0 <= y - dy < height:
                _shift(plane[y - dy], -dx, result[y])
            else:
                _blacken(result[y])


@compiled
def _fixed(value: float) -> Any:
    """Fixed point with 16 fractional bits, as Pillow has it."""
    return int(np.floor(value * 65536 + 0.5))


@loop("uint8", "float32")
def shear(image: Any, out: Any, angle_deg: int) -> None:
    """See `noctule.corruptions.noc.geometry.shear`."""
    slope = math.tan(math.radians(angle_deg))
    channels, height, _ = image.shape
    start = _fixed(0.5 + 0.5 * slope - slope * height / 2)
    for channel in range(channels):
        plane, result = image[channel], out[channel]
        for y in range(height):
            _shift(plane[y], (start + _fixed(slope) * y) >> 16, result[y])


@compiled
def _inside(origin: Any, step: Any, limit: int) -> Any:
    """The first and the last n for which 0 <= origin + step · n < limit."""
    if step == 0:
        return (0, 1 << 30) if 0 <= origin < limit else (0, -1)
    if step > 0:
        return -(origin // step), (limit - 1 - origin) // step
    return -((limit - 1 - origin) // -step), origin // -step


@loop("uint8", "float32")
def rotation(image: Any, out: Any, angle_deg: int) -> None:
    """See `noctule.corruptions.noc.geometry.rotation`."""
    channels, height, width = image.shape
    angle = math.radians(angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = 0.5 - width / 2, 0.5 - height / 2
    x0 = _fixed(cos * dx + sin * dy + width / 2)
    y0 = _fixed(-sin * dx + cos * dy + height / 2)
    x_step, y_step = np.int32(_fixed(cos)), np.int32(_fixed(-sin))
    index = np.empty(width, np.int32)
    for row in range(height):
        x = x0 + _fixed(sin) * row
        y = y0 + _fixed(cos) * row
        a, b = _inside(x, x_step, width << 16)
        c, d = _inside(y, y_step, height << 16)
        first = min(max(a, c, 0), width)
        count = max(min(b + 1, d + 1, width) - first, 0)
        x, y = np.int32(x + x_step * first), np.int32(y + y_step * first)
        for n in range(count):
            column = np.int32(np.int32(x + np.int32(x_step * np.int32(n))) >> np.int32(16))
            line = np.int32(np.int32(y + np.int32(y_step * np.int32(n))) >> np.int32(16))
            index[n] = line * np.int32(width) + column
        for channel in range(channels):
            flat, result = image[channel].ravel(), out[channel][row]
            _blacken(result[:first])
            inner = result[first : first + count]
            for n in range(count):
                inner[n] = flat[np.uint32(index[n])]
            _blacken(result[first + count :])


@loop("uint8", "float32")
def elastic(image: Any, out: Any, cut_px: int, side: int) -> None:
    """See `noctule.corruptions.noc.geometry.elastic`."""
    channels, height, width = image.shape
    cut = min(scale_px(cut_px, image), min(height, width) - 1)
    size = height if side == 0 else width
    first, weights = taps_of(size - cut, size)
    values = np.empty(width, np.float32)
    for channel in range(channels):
        plane, result = image[channel], out[channel]
        for y in range(height):
            if side == 0:
                sum_rows(plane[cut:], first[y], weights[y], values)
            else:
                resize_row(plane[y][cut:], first, weights, values)
            store(values, result[y], False)
