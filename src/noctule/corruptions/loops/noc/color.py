"""Compiled loops of colour, from backlight to hue."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.noc.hsv import turn_hue
from noctule.corruptions.loops.pixels import (
    BYTE,
    add_clamped,
    copy,
    mean,
    put,
    rounded,
    side_scale,
)


@loop("uint8", "float32")
def backlight(image: Any, out: Any, change: float, split_px: int, axis: int) -> None:
    """See `noctule.corruptions.noc.color.backlight`."""
    channels, height, width = image.shape
    offset = int(np.rint(np.float32(split_px) * np.float32(side_scale(image))))
    for c in range(channels):
        if axis == 0:
            _add_both(image[c].ravel(), change, (height // 2 + offset) * width, out[c].ravel())
        else:
            for y in range(height):
                _add_both(image[c, y], change, width // 2 + offset, out[c, y])


@compiled
def _add_both(row: Any, change: float, split: int, out: Any) -> None:
    """Brighten a row before the split, which may be outside of it, and darken it after that."""
    split = min(max(split, 0), len(row))
    add_clamped(row[:split], change, out[:split])
    add_clamped(row[split:], -change, out[split:])


@loop("uint8", "float32")
def brightness(image: Any, out: Any, change: float) -> None:
    """See `noctule.corruptions.noc.color.brightness`."""
    add_clamped(image.ravel(), change, out.ravel())


@loop("uint8", "float32")
def contrast(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.contrast`."""
    flat, result = image.ravel(), out.ravel()
    share = np.float32(weight)
    kept, added = np.float32(1) - share, share * mean(flat)
    for i in range(len(flat)):
        put(result, i, np.float32(flat[i]) * kept + added)


@loop("uint8", "float32")
def color_distortion(image: Any, out: Any, change: float, channel: int) -> None:
    """See `noctule.corruptions.noc.color.color_distortion`."""
    copy(image, out)
    add_clamped(image[channel].ravel(), change, out[channel].ravel())


@loop("uint8", "float32")
def gray_scale(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.gray_scale`."""
    share = np.float32(weight)
    kept = np.float32(1) - share
    pixels, result = image.reshape(3, -1), out.reshape(3, -1)
    red, green, blue = pixels[0], pixels[1], pixels[2]
    new_red, new_green, new_blue = result[0], result[1], result[2]
    if share == 1:  # a common choice, and twice as fast
        for i in range(len(red)):
            luma = _luma(red, green, blue, i)
            put(new_red, i, luma)
            put(new_green, i, luma)
            put(new_blue, i, luma)
        return
    for i in range(len(red)):
        added = _luma(red, green, blue, i) * share
        r, g, b = np.float32(red[i]), np.float32(green[i]), np.float32(blue[i])
        put(new_red, i, r * kept + added)
        put(new_green, i, g * kept + added)
        put(new_blue, i, b * kept + added)


@compiled
def _luma(red: Any, green: Any, blue: Any, i: Any) -> Any:
    """The luma of a pixel, float32, in the units of the image."""
    if red.dtype == BYTE:
        r, g, b = np.int32(red[i]), np.int32(green[i]), np.int32(blue[i])
        whole = r * np.int32(19595) + g * np.int32(38470) + b * np.int32(7471)
        return np.float32(np.int32((whole + np.int32(1 << 15)) >> np.int32(16)))
    luma = np.float32(red[i]) * np.float32(19595) + np.float32(green[i]) * np.float32(38470)
    return (luma + np.float32(blue[i]) * np.float32(7471)) * np.float32(2.0**-16)


@loop("uint8")
def hue(image: Any, out: Any, turn: float) -> None:
    """See `noctule.corruptions.noc.color.hue`."""
    turn_hue(image.reshape(3, -1), np.int64(turn * 255), out.reshape(3, -1))


@loop("float32", name="hue")
def hue_float32(image: Any, out: Any, turn: float) -> None:
    """See `noctule.corruptions.noc.color.hue`."""
    pixels, result = image.reshape(3, -1), out.reshape(3, -1)
    rows = np.empty((2, 3, 1024), np.uint8)
    for start in range(0, pixels.shape[1], 1024):
        width = min(1024, pixels.shape[1] - start)
        for c in range(3):
            a, o = pixels[c, start : start + width], rows[0, c]
            for i in range(width):
                o[i] = rounded(a[i] * np.float32(255))
        turn_hue(rows[0, :, :width], np.int64(turn * 255), rows[1, :, :width])
        for c in range(3):
            a, o = rows[1, c], result[c, start : start + width]
            for i in range(width):
                o[i] = np.float32(np.int32(a[i])) / np.float32(255)
