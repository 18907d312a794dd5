"""Compiled loops of noise: gaussian, salt_pepper, uniform."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.fields import TABLE_SIZE, half_normal_table
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import BYTE, clamped, copy
from noctule.corruptions.loops.random import fill_bits16, high24, threefry13
from noctule.corruptions.noc.noise import MIN_DENSITY, MOST_GAPS

CHUNK = 1024  # elements, whose temporaries stay in the cache
GUIDE_BITS = 10


@functools.cache
def _half_normal() -> NDArray[np.float32]:
    return half_normal_table(torch.device("cpu")).numpy()


@loop("uint8", tables={"half_normal": _half_normal})
def gaussian(image: Any, out: Any, sigma: float, noise: Any, half_normal: Any) -> None:
    """See `noctule.corruptions.noc.noise.gaussian`."""
    amplitude = np.float32(255) * np.float32(sigma)
    table = np.empty(TABLE_SIZE, np.uint8)
    for i in range(TABLE_SIZE):
        table[i] = np.int32(min(np.rint(half_normal[i] * amplitude), np.float32(255)))
    flat, result = image.ravel(), out.ravel()
    bits, room = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.uint8)
    for start in range(0, len(flat), CHUNK):
        part, changed = flat[start : start + CHUNK], result[start : start + CHUNK]
        words, steps = bits[: len(part)], room[: len(part)]
        fill_bits16(noise, start, words)
        for i in range(len(part)):
            steps[i] = table[words[i]]
        for i in range(len(part)):
            changed[i] = min(np.int16(part[i] + steps[i]), np.int16(255))


@loop("float32", name="gaussian", tables={"half_normal": _half_normal})
def gaussian_float32(image: Any, out: Any, sigma: float, noise: Any, half_normal: Any) -> None:
    """See `noctule.corruptions.noc.noise.gaussian`."""
    amplitude = np.float32(sigma)
    flat, result = image.ravel(), out.ravel()
    bits = np.empty(CHUNK, np.uint16)
    for start in range(0, len(flat), CHUNK):
        part, changed = flat[start : start + CHUNK], result[start : start + CHUNK]
        words = bits[: len(part)]
        fill_bits16(noise, start, words)
        for i in range(len(part)):
            changed[i] = min(part[i] + half_normal[words[i]] * amplitude, np.float32(1))


@loop("uint8", "float32")
def uniform(image: Any, out: Any, amplitude: float, noise: Any) -> None:
    """See `noctule.corruptions.noc.noise.uniform`."""
    most = np.float32(amplitude)
    flat, result = image.ravel(), out.ravel()
    bits = np.empty(CHUNK, np.uint16)
    for start in range(0, len(flat), CHUNK):
        part, changed = flat[start : start + CHUNK], result[start : start + CHUNK]
        words = bits[: len(part)]
        fill_bits16(noise, start, words)
        for i in range(len(part)):
            odd = np.int32(2) * np.int32(words[i]) + np.int32(1 - TABLE_SIZE)
            added = np.float32(np.int32(odd)) * np.float32(1 / TABLE_SIZE) * most
            if image.dtype == BYTE:
                step = np.int16(np.int32(np.rint(added * np.float32(255))))
                level = min(max(np.int16(part[i] + step), np.int16(0)), np.int16(255))
                changed[i] = level
            else:
                changed[i] = clamped(part[i] + added)


@loop("uint8", "float32")
def salt_pepper(image: Any, out: Any, amount: float, noise: Any) -> None:
    """See `noctule.corruptions.noc.noise.salt_pepper`."""
    copy(image, out)
    density = max(amount, MIN_DENSITY)
    words, guide = _gaps(density)
    result = out.ravel()
    threshold = amount * (1 << 24)
    gap_words, keep_words = np.empty(256, np.uint32), np.empty(256, np.uint32)
    position, start = -1, 0
    while position < len(result):
        for i in range(len(gap_words)):
            gap_words[i], keep_words[i] = threefry13(
                noise[0], noise[1], np.uint32(start + i), np.uint32(0)
            )
        start += len(gap_words)
        for i in range(len(gap_words)):
            word = high24(gap_words[i])
            gap = guide[word >> (24 - GUIDE_BITS)]
            while word <= words[gap]:
                gap += 1
            position += gap
            if position >= len(result):
                break
            if high24(keep_words[i]) * density < threshold:
                speck = np.float32(keep_words[i] & np.uint32(1))
                result[position] = speck * np.float32(255 if image.dtype == BYTE else 1)


@compiled
def _gaps(density: float) -> Any:
    """The largest 24-bit number with a gap longer than 0, 1, …, as `gap_words` of the kernel,
    and, by the upper bits of a number, the smallest gap.
    """
    words = np.empty(MOST_GAPS + 1, np.int64)
    longer = 1.0
    for gap in range(MOST_GAPS):
        words[gap] = np.int64(np.floor(longer * (1 << 24) - 0.5))
        longer *= 1 - density
    words[MOST_GAPS] = -1
    guide = np.empty(1 << GUIDE_BITS, np.int64)
    gap = 1
    for upper in range((1 << GUIDE_BITS) - 1, -1, -1):
        while ((upper + 1) << (24 - GUIDE_BITS)) - 1 <= words[gap]:
            gap += 1
        guide[upper] = gap
    return words, guide
