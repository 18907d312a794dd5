"""Smoothed normal noise: the compiled twin of `noctule.corruptions.imagenet_c.smooth_noise`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.smooth_noise import (
    DEVIATION,
    HALF,
    ROUNDED_BITS,
    SUM_ACROSS,
    SUM_DOWN,
    WIDEST_SIGMA_PX,
    normal_bytes,
    whole_weights,
)
from noctule.corruptions.loops.compiling import compiled
from noctule.corruptions.loops.filters import NEAREST, filter_plane, filter_space, kernel_of
from noctule.corruptions.loops.random import fill_bits16

_HALF = np.int16(HALF)


@functools.cache
def noise_of_bytes() -> NDArray[np.int8]:
    """The normal number of each byte: (256,)."""
    return normal_bytes().numpy()


@functools.lru_cache(maxsize=32)
def noise_weights(sigma_px: float) -> NDArray[np.float64]:
    """Weights along rows and along columns, from the centre outwards: (2, taps).

    Integers, and 0 beyond the last one; for a wide filter, those of `gaussian_filter`, twice.
    """
    if sigma_px > WIDEST_SIGMA_PX:
        return np.stack([kernel_of(sigma_px)] * 2)
    lines = [whole_weights(sigma_px, total) for total in (SUM_ACROSS, SUM_DOWN)]
    weights = np.zeros((2, max(map(len, lines))))
    for row, line in zip(weights, lines, strict=True):
        row[: len(line)] = line
    return weights


@compiled
def smooth_noise(stream: Any, height: int, width: int, of_bytes: Any, weights: Any) -> Any:
    """Draw noise, and filter it: float32 (height, width).

    Args:
        stream: Key of the noise: two uint32.
        height, width: Size of the image.
        of_bytes: `noise_of_bytes`.
        weights: `noise_weights`.
    """
    bits = np.empty((height * width + 1) // 2, np.uint16)
    fill_bits16(stream, 0, bits)
    noise = bits.view(np.uint8)[: height * width].reshape(height, width)
    if weights[0, 0] < 1:
        return _wide(noise, of_bytes, weights[0])
    across, down = _taps(weights[0]), _taps(weights[1])
    rows = np.empty((height, width), np.int16)
    radius = len(across) - 1
    wide = np.empty(width + 2 * radius, np.int16)
    for y in range(height):
        line = noise[y]
        for x in range(width):
            wide[radius + x] = of_bytes[line[x]]
        wide[:radius], wide[radius + width :] = wide[radius], wide[radius + width - 1]
        _sum_across(wide, across, rows[y])
    gain = (2 * across.sum() - across[0]) * (2 * down.sum() - down[0])
    scale = np.float32((1 << ROUNDED_BITS) / (DEVIATION * gain))
    result, total = np.empty((height, width), np.float32), np.empty(width, np.int32)
    for y in range(height):
        _sum_down(rows, y, down, total)
        line = result[y]
        for x in range(width):
            line[x] = np.float32(total[x]) * scale
    return result


@compiled
def _taps(weights: Any) -> Any:
    """The weights without the zeros at their end: int32."""
    count = len(weights)
    while weights[count - 1] == 0:
        count -= 1
    return weights[:count].astype(np.int32)


@compiled
def _wide(noise: Any, of_bytes: Any, kernel: Any) -> Any:
    height, width = noise.shape
    plane = np.empty((height, width), np.float32)
    flat, values = noise.ravel(), plane.ravel()
    for i in range(len(flat)):
        values[i] = of_bytes[flat[i]]
    result = filter_plane(plane, kernel, kernel, NEAREST, filter_space(height, width, kernel))
    deviation = np.float32(DEVIATION)
    for i in range(len(flat)):
        values[i] = result.ravel()[i] / deviation
    return plane


@compiled
def _sum_across(row: Any, weights: Any, out: Any) -> None:
    """Filter a row between margins, and round off some bits: int16."""
    radius, width = len(weights) - 1, len(out)
    centre, weight = row[radius : radius + width], np.int16(weights[0])
    for x in range(width):
        out[x] = np.int16(np.int16(centre[x] * weight) + _HALF)
    for k in range(1, radius + 1):
        left, right = row[radius - k : radius - k + width], row[radius + k : radius + k + width]
        weight = np.int16(weights[k])
        for x in range(width):
            out[x] += np.int16(np.int16(left[x] + right[x]) * weight)
    for x in range(width):
        out[x] = out[x] >> ROUNDED_BITS


@compiled
def _sum_down(rows: Any, y: int, weights: Any, out: Any) -> None:
    """Filter columns around a row; the first and the last row are repeated."""
    last = len(rows) - 1
    centre, weight = rows[y], np.int32(weights[0])
    for x in range(len(out)):
        out[x] = np.int32(centre[x]) * weight
    for k in range(1, len(weights)):
        above, below = rows[max(y - k, 0)], rows[min(y + k, last)]
        weight = np.int32(weights[k])
        for x in range(len(out)):
            out[x] += np.int32(np.int16(above[x] + below[x])) * weight
