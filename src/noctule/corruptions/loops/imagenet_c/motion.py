"""Compiled loops of ImageNet-C: motion_blur."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.blur import scaled_to
from noctule.corruptions.imagenet_c.motion import line_weights
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import store

AT_ONCE = 4


@functools.lru_cache(maxsize=64)
def line_taps(
    height: int, width: int, radius_px: float, sigma_px: float
) -> NDArray[np.float32]:
    """The weights of the pixels of a line; weights of 0 fill the last group."""
    side = min(height, width)
    weights = line_weights(scaled_to(radius_px, side), scaled_to(sigma_px, side))
    return np.array([*weights, *[0.0] * (-len(weights) % AT_ONCE)], np.float32)


@loop("uint8", "float32", tables={"taps": line_taps})
def motion_blur(
    image: Any, out: Any, radius_px: float, sigma_px: float, angle_deg: float, taps: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.motion.motion_blur`."""
    channels, height, width = image.shape
    offsets = line_offsets(len(taps), angle_deg)
    values = np.empty(width, np.float32)
    for channel in range(channels):
        wide = extended(image[channel], offsets)
        for y in range(height):
            sum_along(wide, y, offsets, taps, values)
            store(values, out[channel, y], False)


@compiled
def line_offsets(pixels: int, angle_deg: float) -> Any:
    """Offsets down and to the right of the pixels of a line: int64 (2, pixels)."""
    angle = math.radians(angle_deg)
    steps = math.sin(angle), math.cos(angle)
    offsets = np.empty((2, pixels), np.int64)
    for axis in range(2):
        for tap in range(pixels):
            point = steps[axis] * tap - 0.5
            offsets[axis, tap] = int(np.ceil(np.rint(point * 1e9) / 1e9))
    return offsets


@compiled
def extended(plane: Any, offsets: Any) -> Any:
    """A plane as float32, and its edge pixels as far as the offsets reach."""
    height, width = plane.shape
    top, bottom = -min(0, offsets[0].min()), max(0, offsets[0].max())
    left, right = -min(0, offsets[1].min()), max(0, offsets[1].max())
    wide = np.empty((top + height + bottom, left + width + right), np.float32)
    for y in range(len(wide)):
        row, source = wide[y], plane[min(max(y - top, 0), height - 1)]
        inner = row[left : left + width]
        for x in range(width):
            inner[x] = source[x]
        for x in range(left):
            row[x] = source[0]
        for x in range(left + width, len(row)):
            row[x] = source[width - 1]
    return wide


@compiled
def sum_along(wide: Any, y: int, offsets: Any, taps: Any, out: Any) -> None:
    """Σ weight · pixel along the lines from the pixels of row y: float32 (width,).

    Args:
        wide: See `extended`.
        y: Row of the image.
        offsets: See `line_offsets`.
        taps: See `line_taps`.
        out: Receives the sums.
    """
    flat, pitch, n = wide.ravel(), wide.shape[1], len(out)
    first = (y - min(0, offsets[0].min())) * pitch - min(0, offsets[1].min())
    for tap in range(0, len(taps), AT_ONCE):
        start = first + offsets[0, tap] * pitch + offsets[1, tap]
        a = flat[start : start + n]
        start = first + offsets[0, tap + 1] * pitch + offsets[1, tap + 1]
        b = flat[start : start + n]
        start = first + offsets[0, tap + 2] * pitch + offsets[1, tap + 2]
        c = flat[start : start + n]
        start = first + offsets[0, tap + 3] * pitch + offsets[1, tap + 3]
        d = flat[start : start + n]
        p, q, r, s = taps[tap], taps[tap + 1], taps[tap + 2], taps[tap + 3]
        if tap == 0:
            for x in range(n):
                out[x] = a[x] * p + b[x] * q + c[x] * r + d[x] * s
        else:
            for x in range(n):
                out[x] = out[x] + a[x] * p + b[x] * q + c[x] * r + d[x] * s
