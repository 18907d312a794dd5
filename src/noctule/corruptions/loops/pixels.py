"""Arithmetic that loops share: the compiled twin of `noctule.corruptions.pixels`.

Rows are contiguous arrays of one axis, of uint8 or float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled


@compiled
def level_of(value: float) -> Any:
    """The grey level, 0 to 255, of a value in [0, 1]: `shade`."""
    return int(np.rint(value * 255))


@compiled
def side_scale(image: Any) -> Any:
    """The shorter side divided by 224 px."""
    return min(image.shape[1], image.shape[2]) / 224


@compiled
def add_clamped(row: Any, change: float, out: Any) -> None:
    """Add a change in [−1, 1] to a uint8 row, and clamp."""
    step = np.int16(np.rint(change * 255))
    for i in range(len(row)):
        out[i] = min(max(np.int16(row[i] + step), np.int16(0)), np.int16(255))


@compiled
def add_clamped_float32(row: Any, change: float, out: Any) -> None:
    """Add a change in [−1, 1] to a float32 row, and clamp."""
    step = np.float32(change)
    for i in range(len(row)):
        out[i] = min(max(row[i] + step, np.float32(0)), np.float32(1))


@compiled
def to_level(value: Any) -> Any:
    """The grey level of a float32 value that is rounded already: clamped."""
    return np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))


@compiled
def store_levels(values: Any, out: Any, truncate: bool) -> None:
    """Clamp float32 values to a uint8 row, and round or truncate: `from_float`."""
    if truncate:
        for i in range(len(values)):
            out[i] = to_level(values[i])
    else:
        for i in range(len(values)):
            out[i] = to_level(np.rint(values[i]))


@compiled
def clamped(value: Any) -> Any:
    """A float32 value, clamped to [0, 1]."""
    return min(max(value, np.float32(0)), np.float32(1))
