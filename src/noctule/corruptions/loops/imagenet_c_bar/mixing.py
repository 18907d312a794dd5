"""Combining a row of an image and a row of a pattern: uint8 or float32 and float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled


@compiled
def full_scale(image: Any) -> Any:
    """The value of white: float32."""
    return np.float32(255) if image.itemsize == 1 else np.float32(1)


@compiled
def store(values: Any, top: Any, truncate: bool, out: Any) -> None:
    """Clamp a float32 row to [0, top]; round it if `out` is uint8, or truncate it."""
    if out.itemsize == 1 and not truncate:
        for x in range(len(out)):
            out[x] = np.rint(min(max(values[x], np.float32(0)), top))
    else:
        for x in range(len(out)):
            out[x] = min(max(values[x], np.float32(0)), top)


@compiled
def add_pattern(
    image: Any, y: int, pattern: Any, amplitude: Any, truncate: bool, out: Any
) -> None:
    """Add amplitude · pattern to row y of each channel; the amplitude is in pixel values."""
    top = full_scale(image)
    values = np.empty(len(pattern), np.float32)
    for c in range(len(image)):
        row = image[c, y]
        for x in range(len(pattern)):
            values[x] = np.float32(row[x]) + pattern[x] * amplitude
        store(values, top, truncate, out[c, y])


@compiled
def blend_pattern(
    image: Any, c: int, y: int, pattern: Any, alpha: float, truncate: bool, out: Any
) -> None:
    """(1 − alpha) · image + alpha · pattern, in row y of a channel."""
    top = full_scale(image)
    stays, weight = np.float32(1 - alpha), np.float32(alpha * np.float64(top))
    row, values = image[c, y], np.empty(len(pattern), np.float32)
    for x in range(len(pattern)):
        values[x] = np.float32(row[x]) * stays + pattern[x] * weight
    store(values, top, truncate, out[c, y])


@compiled
def move_to_white(image: Any, y: int, share: Any, truncate: bool, out: Any) -> None:
    """Interpolate between row y of each channel and white."""
    top = full_scale(image)
    values = np.empty(len(share), np.float32)
    for c in range(len(image)):
        row = image[c, y]
        for x in range(len(share)):
            value = np.float32(row[x])
            values[x] = value + (top - value) * share[x]
        store(values, top, truncate, out[c, y])
