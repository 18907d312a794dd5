"""Compiled loops of geometry: translation, shear, rotation, elastic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.noc.resampling import mix_rows, resize_row, taps_of
from noctule.corruptions.loops.pixels import scale_px, store

_ONE = 1 << 16  # fixed point with 16 fractional bits


@loop("uint8", "float32")
def translation(image: Any, out: Any, dx_px: int, dy_px: int) -> None:
    """See `noctule.corruptions.noc.geometry.translation`."""
    height = image.shape[1]
    right, down = _scaled(dx_px, image), _scaled(dy_px, image)
    for channel in range(len(image)):
        for y in range(height):
            source = y - down
            if 0 <= source < height:
                _shift(image[channel, source], -right, out[channel, y])
            else:
                _blacken(out[channel, y])


@compiled
def _scaled(length_px: int, image: Any) -> Any:
    length = scale_px(abs(length_px), image)
    return -length if length_px < 0 else length


@loop("uint8", "float32")
def shear(image: Any, out: Any, angle_deg: int) -> None:
    """See `noctule.corruptions.noc.geometry.shear`."""
    height = image.shape[1]
    slope = math.tan(angle_deg * (math.pi / 180))
    start, step = _fixed(0.5 + 0.5 * slope - slope * height / 2), _fixed(slope)
    for channel in range(len(image)):
        for y in range(height):
            _shift(image[channel, y], (start + step * y) >> 16, out[channel, y])


@compiled
def _fixed(value: float) -> Any:
    """Pillow's conversion to fixed point."""
    return np.int64(math.floor(value * _ONE + 0.5))


@compiled
def _shift(row: Any, shift: int, out: Any) -> None:
    """Copy a row from column `shift` on; black outside."""
    width = len(row)
    first = min(max(-shift, 0), width)
    stop = max(min(width - shift, width), first)
    _blacken(out[:first])
    _blacken(out[stop:])
    inside, source = out[first:stop], row[first + shift : stop + shift]
    for x in range(stop - first):
        inside[x] = source[x]


@compiled
def _blacken(row: Any) -> None:
    for x in range(len(row)):
        row[x] = 0


@loop("uint8", "float32")
def rotation(image: Any, out: Any, angle_deg: int) -> None:
    """See `noctule.corruptions.noc.geometry.rotation`."""
    channels, height, width = image.shape
    angle = angle_deg * (math.pi / 180)
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = 0.5 - width / 2, 0.5 - height / 2
    x_start, x_step = _fixed(cos * dx + sin * dy + width / 2), _fixed(sin)
    y_start, y_step = _fixed(-sin * dx + cos * dy + height / 2), _fixed(cos)
    x_along, y_along = np.empty(width, np.int32), np.empty(width, np.int32)
    for x in range(width):
        x_along[x], y_along[x] = _fixed(cos) * x, _fixed(-sin) * x
    index = np.empty(width, np.int32)
    for y in range(height):
        x_row, y_row = np.int32(x_start + x_step * y), np.int32(y_start + y_step * y)
        first, stop = _inside(x_row, x_along, y_row, y_along, height, width)
        chosen, xs, ys = index[first:stop], x_along[first:stop], y_along[first:stop]
        for i in range(len(chosen)):
            column = np.int32(np.int32(x_row + xs[i]) >> np.int32(16))
            row = np.int32(np.int32(y_row + ys[i]) >> np.int32(16))
            chosen[i] = np.int32(row * np.int32(width)) + column
        for channel in range(channels):
            pixels, result = image[channel].ravel(), out[channel, y]
            _blacken(result[:first])
            _blacken(result[stop:])
            inside = result[first:stop]
            for i in range(len(chosen)):
                inside[i] = pixels[np.uint32(chosen[i])]


@compiled
def _inside(
    x_row: Any, x_along: Any, y_row: Any, y_along: Any, height: int, width: int
) -> tuple[int, int]:
    """The columns, from the first to the one before the second, whose source is in the image.

    Sources lie on a line, so that these columns are adjacent.
    """
    first, stop = 0, width
    while first < stop and not _is_inside(x_row, x_along, y_row, y_along, height, width, first):
        first += 1
    while stop > first and not _is_inside(
        x_row, x_along, y_row, y_along, height, width, stop - 1
    ):
        stop -= 1
    return first, stop


@compiled
def _is_inside(
    x_row: Any, x_along: Any, y_row: Any, y_along: Any, height: int, width: int, column: int
) -> Any:
    x = np.int32(x_row + x_along[column]) >> 16
    y = np.int32(y_row + y_along[column]) >> 16
    return 0 <= x < width and 0 <= y < height


@loop("uint8", "float32")
def elastic(image: Any, out: Any, cut_px: int, side: int) -> None:
    """See `noctule.corruptions.noc.geometry.elastic`."""
    _, height, width = image.shape
    cut = min(scale_px(cut_px, image), min(height, width) - 1)
    values, row = np.empty(width, np.float32), np.empty(width, np.float32)
    size = height if side == 0 else width
    index, weight = taps_of(size - cut, size)
    for channel in range(len(image)):
        for y in range(height):
            if side == 0:
                mix_rows(image[channel, cut:], index, weight, y, values)
            else:
                part = image[channel, y, cut:]
                for x in range(len(part)):
                    row[x] = part[x]
                resize_row(row, index, weight, values)
            store(values, out[channel, y], False)
