"""Compiled loops of colour: brightness_c, contrast_c, saturate."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c.color import NUDGE, TINY
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import BYTE, full_scale, mean, store

ZERO, ONE, NEGLIGIBLE = np.float32(0), np.float32(1), np.float32(TINY)
CHUNK = 2048  # pixels, whose temporaries stay in the cache
# 1 / 255 = HIGH + LOW. For a byte x, x · HIGH is not rounded, and x · HIGH + x · LOW is the
# float64 x / 255 without a division.
HIGH, LOW = 2**-8 + 2**-16 + 2**-24, 2**-24 / 255


@loop("uint8", "float32")
def brightness_c(image: Any, out: Any, change: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.color.brightness_c`."""
    pixels, result = image.reshape(len(image), -1), out.reshape(len(image), -1)
    if released and image.dtype == BYTE:
        if len(image) == 1:
            for i in range(len(pixels[0])):
                result[0, i] = np.int32(min(_unit(pixels[0, i]) + change, 1.0) * 255)
        else:
            _through_hsv(pixels, result, change, 1.0, 0.0)
        return
    white = full_scale(image)
    step, most = np.float32(white * change), np.float32(white)
    room = np.empty((3, CHUNK), np.float32)
    for start in range(0, pixels.shape[1], CHUNK):
        size = min(CHUNK, pixels.shape[1] - start)
        ratio, black, values = room[0][:size], room[1][:size], room[2][:size]
        _fill_largest(pixels, start, ratio)
        for i in range(size):
            # Black is replaced by 1, so that the ratio is the new value.
            black[i] = ONE if ratio[i] < NEGLIGIBLE else ZERO
            ratio[i] = min(ratio[i] + step, most) / (ratio[i] + black[i])
        for c in range(len(pixels)):
            row = pixels[c][start : start + size]
            for i in range(size):
                values[i] = (np.float32(row[i]) + black[i]) * ratio[i]
            store(values, result[c][start : start + size], False)


@loop("uint8", "float32")
def contrast_c(image: Any, out: Any, factor: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.color.contrast_c`."""
    share, rest = np.float32(factor), np.float32(1 - factor)
    nudge = np.float32(NUDGE if released and image.dtype == BYTE else 0)
    room = np.empty(CHUNK, np.float32)
    for c in range(len(image)):
        pixels, result = image[c].ravel(), out[c].ravel()
        offset = mean(pixels) * rest + nudge
        for start in range(0, len(pixels), CHUNK):
            part = pixels[start : start + CHUNK]
            values = room[: len(part)]
            for i in range(len(part)):
                values[i] = np.float32(part[i]) * share + offset
            store(values, result[start : start + CHUNK], released)


@loop("uint8", "float32")
def saturate(image: Any, out: Any, factor: float, added: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.color.saturate`."""
    pixels, result = image.reshape(3, -1), out.reshape(3, -1)
    if released and image.dtype == BYTE:
        _through_hsv(pixels, result, 0.0, factor, added)
        return
    room = np.empty((4, CHUNK), np.float32)
    for start in range(0, pixels.shape[1], CHUNK):
        size = min(CHUNK, pixels.shape[1] - start)
        value, ratio = room[0][:size], room[1][:size]
        gray, values = room[2][:size], room[3][:size]
        _fill_largest(pixels, start, value)
        _fill_stretch(pixels, start, value, np.float32(factor), np.float32(added), ratio, gray)
        for c in range(3):
            row = pixels[c][start : start + size]
            # Where it is grey and saturation is added, green and blue become 0.
            unlike = ONE if c > 0 else ZERO
            for i in range(size):
                below = value[i] - np.float32(row[i]) + gray[i] * unlike
                values[i] = value[i] - below * ratio[i]
            store(values, result[c][start : start + size], False)


@compiled
def _fill_largest(pixels: Any, start: Any, out: Any) -> None:
    """The largest channel of successive pixels."""
    row = pixels[0][start : start + len(out)]
    for i in range(len(out)):
        out[i] = np.float32(row[i])
    for c in range(1, len(pixels)):
        row = pixels[c][start : start + len(out)]
        for i in range(len(out)):
            out[i] = max(out[i], np.float32(row[i]))


@compiled
def _fill_stretch(
    pixels: Any, start: Any, value: Any, factor: Any, added: Any, ratio: Any, gray: Any
) -> None:
    """The factor of the distances below the value, as `_stretch` of the kernel.

    `gray` receives 1 for greys to which saturation is added, 0 for other pixels.
    """
    red = pixels[0][start : start + len(value)]
    green = pixels[1][start : start + len(value)]
    blue = pixels[2][start : start + len(value)]
    more = ZERO if added == 0 else ONE
    for i in range(len(value)):
        lowest = np.float32(min(min(red[i], green[i]), blue[i]))
        spread = value[i] - lowest
        grey = ONE if spread < NEGLIGIBLE else ZERO
        most = value[i] / (spread + grey)
        ratio[i] = min((ONE - grey * more) * factor + most * added, most)
        gray[i] = grey * more


@compiled
def _unit(level: Any) -> Any:
    """Level / 255 in float64."""
    value = np.float64(np.int32(level))
    return value * HIGH + value * LOW


@compiled
def _through_hsv(pixels: Any, out: Any, added: float, factor: float, stretch: float) -> None:
    """`noctule.corruptions.imagenet_c.color._through_hsv`: adds to the value, and multiplies
    the saturation and adds to it.

    Without branches, and with one division for all sectors of the hue, so that it vectorises.
    """
    in_red, in_green, in_blue = pixels
    out_red, out_green, out_blue = out
    for i in range(len(in_red)):
        red, green, blue = _unit(in_red[i]), _unit(in_green[i]), _unit(in_blue[i])
        value = max(max(red, green), blue)
        spread = value - min(min(red, green), blue)
        # The last of equal channels determines the hue.
        distance = blue - red if green == value else green - blue
        distance = red - green if blue == value else distance
        first = 2.0 if green == value else 0.0
        first = 4.0 if blue == value else first
        hue = (distance / (1.0 if spread == 0 else spread) + first) / 6
        hue += 1.0 if hue < 0 else 0.0
        angle = (0.0 if spread == 0 else hue) * 6
        sector = np.int32(angle)
        rest = angle - np.float64(sector)
        sector = np.int32(0) if sector == 6 else sector
        saturation = spread / (1.0 if spread == 0 else value)
        saturation = min(max(saturation * factor + stretch, 0.0), 1.0)
        high = min(value + added, 1.0)
        share = 1 - rest if sector & np.int32(1) == 0 else rest  # rising or falling
        top, middle = np.int32(high * 255), np.int32(high * (1 - share * saturation) * 255)
        low = np.int32(high * (1 - saturation) * 255)
        other = middle if (sector == 1) | (sector == 4) else low
        out_red[i] = top if (sector == 0) | (sector == 5) else other
        other = middle if (sector == 0) | (sector == 3) else low
        out_green[i] = top if (sector == 1) | (sector == 2) else other
        other = middle if (sector == 2) | (sector == 5) else low
        out_blue[i] = top if (sector == 3) | (sector == 4) else other
