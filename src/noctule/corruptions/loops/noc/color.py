"""Compiled loops of colour, from backlight to hue."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.noc.hsv import turn_hue
from noctule.corruptions.loops.pixels import (
    add_clamped,
    add_clamped_float32,
    copy,
    mean,
    mean_float32,
    rounded,
    side_scale,
)


@compiled
def _split(image: Any, split_px: int) -> int:
    """The distance of the line from the middle, in pixels."""
    return int(np.rint(np.float32(split_px) * np.float32(side_scale(image))))


@compiled
def _clamped(value: int, highest: int) -> int:
    return min(max(value, 0), highest)


@loop("uint8")
def backlight(image: Any, out: Any, change: float, split_px: int, axis: int) -> None:
    """See `noctule.corruptions.noc.color.backlight`."""
    channels, height, width = image.shape
    offset = _split(image, split_px)
    if axis == 0:
        row = _clamped(height // 2 + offset, height)
        for c in range(channels):
            add_clamped(image[c, :row].ravel(), change, out[c, :row].ravel())
            add_clamped(image[c, row:].ravel(), -change, out[c, row:].ravel())
    else:
        column = _clamped(width // 2 + offset, width)
        for c in range(channels):
            for y in range(height):
                add_clamped(image[c, y, :column], change, out[c, y, :column])
                add_clamped(image[c, y, column:], -change, out[c, y, column:])


@loop("float32", name="backlight")
def backlight_float32(image: Any, out: Any, change: float, split_px: int, axis: int) -> None:
    """See `noctule.corruptions.noc.color.backlight`."""
    channels, height, width = image.shape
    offset = _split(image, split_px)
    row = _clamped(height // 2 + offset, height) if axis == 0 else height
    column = _clamped(width // 2 + offset, width) if axis == 1 else width
    for c in range(channels):
        for y in range(height):
            before = column if y < row else 0
            a, o = image[c, y], out[c, y]
            add_clamped_float32(a[:before], change, o[:before])
            add_clamped_float32(a[before:], -change, o[before:])


@loop("uint8")
def brightness(image: Any, out: Any, change: float) -> None:
    """See `noctule.corruptions.noc.color.brightness`."""
    add_clamped(image.ravel(), change, out.ravel())


@loop("float32", name="brightness")
def brightness_float32(image: Any, out: Any, change: float) -> None:
    """See `noctule.corruptions.noc.color.brightness`."""
    add_clamped_float32(image.ravel(), change, out.ravel())


@loop("uint8")
def contrast(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.contrast`."""
    flat, result = image.ravel(), out.ravel()
    share = np.float32(weight)
    kept, added = np.float32(1) - share, share * mean(flat)
    for i in range(len(flat)):
        result[i] = rounded(np.float32(np.int32(flat[i])) * kept + added)


@loop("float32", name="contrast")
def contrast_float32(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.contrast`."""
    flat, result = image.ravel(), out.ravel()
    share = np.float32(weight)
    kept, added = np.float32(1) - share, share * mean_float32(flat)
    for i in range(len(flat)):
        result[i] = min(max(flat[i] * kept + added, np.float32(0)), np.float32(1))


@loop("uint8")
def color_distortion(image: Any, out: Any, change: float, channel: int) -> None:
    """See `noctule.corruptions.noc.color.color_distortion`."""
    copy(image, out)
    add_clamped(image[channel].ravel(), change, out[channel].ravel())


@loop("float32", name="color_distortion")
def color_distortion_float32(image: Any, out: Any, change: float, channel: int) -> None:
    """See `noctule.corruptions.noc.color.color_distortion`."""
    copy(image, out)
    add_clamped_float32(image[channel].ravel(), change, out[channel].ravel())


@loop("uint8")
def gray_scale(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.gray_scale`."""
    share = np.float32(weight)
    kept, white = np.float32(1) - share, np.float32(255)
    pixels, result = image.reshape(3, -1), out.reshape(3, -1)
    red, green, blue = pixels[0], pixels[1], pixels[2]
    new_red, new_green, new_blue = result[0], result[1], result[2]
    for i in range(len(red)):
        r, g, b = np.int32(red[i]), np.int32(green[i]), np.int32(blue[i])
        luma = r * np.int32(19595) + g * np.int32(38470) + b * np.int32(7471)
        added = np.float32(np.int32((luma + np.int32(1 << 15)) >> np.int32(16))) * share
        new_red[i] = rounded(min(np.float32(r) * kept + added, white))
        new_green[i] = rounded(min(np.float32(g) * kept + added, white))
        new_blue[i] = rounded(min(np.float32(b) * kept + added, white))


@loop("float32", name="gray_scale")
def gray_scale_float32(image: Any, out: Any, weight: float) -> None:
    """See `noctule.corruptions.noc.color.gray_scale`."""
    share = np.float32(weight)
    kept, white = np.float32(1) - share, np.float32(1)
    pixels, result = image.reshape(3, -1), out.reshape(3, -1)
    red, green, blue = pixels[0], pixels[1], pixels[2]
    new_red, new_green, new_blue = result[0], result[1], result[2]
    for i in range(len(red)):
        luma = red[i] * np.float32(19595) + green[i] * np.float32(38470)
        added = (luma + blue[i] * np.float32(7471)) * np.float32(2.0**-16) * share
        new_red[i] = min(red[i] * kept + added, white)
        new_green[i] = min(green[i] * kept + added, white)
        new_blue[i] = min(blue[i] * kept + added, white)


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
