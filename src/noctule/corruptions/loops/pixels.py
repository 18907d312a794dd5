"""Arithmetic that loops share: the compiled twin of `noctule.corruptions.pixels`.

Rows are contiguous arrays of one axis, of uint8 or float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled

# Comparisons of a dtype with these are made by the compiler; those of `itemsize` would be made
# in the innermost loops.
BYTE, FLOAT = np.dtype(np.uint8), np.dtype(np.float32)


@compiled
def copy(image: Any, out: Any) -> None:
    """Copy a contiguous image; Numba's `out[...] = image` takes fifteen times as long."""
    flat, result = image.ravel(), out.ravel()
    for i in range(len(flat)):
        result[i] = flat[i]


@compiled
def shade(value: Any, image: Any) -> Any:
    """A value in [0, 1] as a number that can be stored in the image."""
    return np.rint(value * np.float32(255)) if image.dtype == BYTE else value


@compiled
def side_scale(image: Any) -> Any:
    """The shorter side divided by 224 px."""
    return min(image.shape[1], image.shape[2]) / 224


@compiled
def add_clamped(row: Any, change: float, out: Any) -> None:
    """Add a change in [−1, 1] to a row, and clamp."""
    if row.dtype == BYTE:
        step = np.int16(np.rint(change * 255))
        for i in range(len(row)):
            out[i] = min(max(np.int16(row[i] + step), np.int16(0)), np.int16(255))
    else:
        for i in range(len(row)):
            out[i] = clamped(row[i] + np.float32(change))


@compiled
def to_level(value: Any) -> Any:
    """The grey level of a float32 value that is rounded already, or is truncated: clamped."""
    return np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))


@compiled
def clamped(value: Any) -> Any:
    """A float32 value, clamped to [0, 1]."""
    return min(max(value, np.float32(0)), np.float32(1))


@compiled
def full_scale(image: Any) -> Any:
    """The value of white: 255 for uint8, 1 for float32."""
    return 255.0 if image.dtype == BYTE else 1.0


@compiled
def store(values: Any, out: Any, truncate: bool) -> None:
    """Clamp float32 values, and round or truncate them if `out` is uint8: `from_float`."""
    if out.dtype == FLOAT:
        for i in range(len(out)):
            out[i] = clamped(values[i])
    elif truncate:
        for i in range(len(out)):
            out[i] = to_level(values[i])
    else:
        for i in range(len(out)):
            out[i] = to_level(np.rint(values[i]))


@compiled
def scale_px(length_px: int, image: Any) -> int:
    """A positive length for 224 px, scaled with the shorter side; at least 1."""
    return max(int(np.rint(np.float32(length_px) * np.float32(side_scale(image)))), 1)


@compiled
def fraction_to_index(fraction: float, count: int) -> int:
    """Map a fraction in [0, 1] to one of the `count` integers from 0."""
    return min(int(fraction * count), count - 1)


@compiled
def mean(values: Any) -> Any:
    """The mean of values (values,), float32: `exact_mean`."""
    total: Any = 0
    if values.dtype == FLOAT:
        for i in range(len(values)):
            total += np.int32(np.rint(values[i] * np.float32(2**24)))
        return np.float32(total / (len(values) * 2.0**24))
    for start in range(0, len(values), 1 << 16):  # whose sum fits 32 bits, which is faster
        part, block = np.uint32(0), values[start : start + (1 << 16)]
        for i in range(len(block)):
            part = np.uint32(part + np.uint32(block[i]))
        total += part
    return np.float32(total / len(values))


@compiled
def put(out: Any, i: Any, value: Any) -> None:
    """Store a float32 that is below 0 or above white by roundings only: `from_float`."""
    if out.dtype == BYTE:
        out[i] = rounded(value)
    else:
        out[i] = clamped(value)


@compiled
def rounded(value: Any) -> Any:
    """The grey level, uint8, of a float32 value in [0, 255]: rounded half to even."""
    return np.uint8(np.int32(np.rint(value)))
