"""Turning the hue in Pillow's 8-bit HSV, in loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled

_AT_ONCE = 1024  # pixels whose intermediate results stay in the fastest cache
_ODD, _SECTOR = np.int32(1), np.float32(6 / 255)
_ONE, _HALF, _WHITE = np.float32(1), np.float32(0.5), np.float32(255)


@compiled
def turn_hue(pixels: Any, step: Any, out: Any) -> None:
    """Convert to HSV, add to the hue, and convert back.

    Args:
        pixels: uint8 (3, pixels).
        step: Change of the hue, modulo 256.
        out: uint8 (3, pixels).
    """
    rows = np.empty((7, _AT_ONCE), np.uint8)
    for start in range(0, pixels.shape[1], _AT_ONCE):
        red, green, blue = pixels[:, start : start + _AT_ONCE]
        high, spread, to_middle, code, sector, middle, low = rows[:, : len(red)]
        _order(red, green, blue, high, spread, to_middle, code)
        _turn(high, spread, to_middle, code, np.int32(step), sector, middle, low)
        _arrange(sector, high, middle, low, out[:, start : start + _AT_ONCE])


@compiled
def _order(
    reds: Any, greens: Any, blues: Any, highs: Any, spreads: Any, to_middle: Any, code: Any
) -> None:
    """The largest channel, its distances from the others, and twice its index: all uint8.

    The code is odd if the channel after the largest, of red, green, blue, red, is the smallest.
    """
    for i in range(len(reds)):
        red, green, blue = reds[i], greens[i], blues[i]
        high, low = max(max(red, green), blue), min(min(red, green), blue)
        following = green if red == high else (blue if green == high else red)
        even = np.uint8(0) if red == high else (np.uint8(2) if green == high else np.uint8(4))
        highs[i], spreads[i] = high, np.uint8(high - low)
        # Modulo 256, like all arithmetic of bytes.
        to_middle[i] = np.uint8(np.uint8(high + high) + low - red - green - blue)
        code[i] = np.uint8(even + np.uint8(following == low))


@compiled
def _turn(
    highs: Any,
    spreads: Any,
    to_middle: Any,
    codes: Any,
    step: Any,
    sectors: Any,
    middles: Any,
    lows: Any,
) -> None:
    """The sector of the turned hue, and the new middle and smallest channels.

    The same float32 operations as in `noctule.corruptions.noc.hsv`.
    """
    for i in range(len(highs)):
        value, spread = np.float32(np.int32(highs[i])), np.float32(np.int32(spreads[i]))
        odd = np.int32(codes[i]) & _ODD
        share = np.float32(np.int32(to_middle[i])) / max(spread, _ONE)
        center = np.float32((np.int32(codes[i]) | _ODD) - odd - odd)
        angle = center + (share if odd else -share)
        hue = angle / np.float32(6) * _WHITE
        hue = hue + _WHITE if hue < np.float32(0) else hue
        saturation = np.float32(np.int32(spread / max(value, _ONE) * _WHITE))
        turned = np.float32((np.int32(hue) + step) & np.int32(255)) * _SECTOR
        sector = np.int32(turned)
        fraction = turned - np.float32(sector)
        strength = saturation / _WHITE
        weight = fraction if sector & _ODD else _ONE - fraction
        middles[i] = np.int32((_ONE - strength * weight) * value + _HALF)
        lows[i] = np.int32((_ONE - strength) * value + _HALF)
        sectors[i] = sector


@compiled
def _arrange(sectors: Any, highs: Any, middles: Any, lows: Any, out: Any) -> None:
    """The channels in the order of the sector, 0 to 6, where 6 is 0."""
    red, green, blue = out
    for i in range(len(sectors)):
        sector, high, middle, low = sectors[i], highs[i], middles[i], lows[i]
        sector = np.uint8(0) if sector == 6 else sector
        red[i] = (
            middle
            if (sector == 1) | (sector == 4)
            else (low if (sector == 2) | (sector == 3) else high)
        )
        green[i] = (
            middle
            if (sector == 0) | (sector == 3)
            else (low if (sector == 4) | (sector == 5) else high)
        )
        blue[i] = (
            middle
            if (sector == 2) | (sector == 5)
            else (low if (sector == 0) | (sector == 1) else high)
        )
