"""Compiled loops of noise: gaussian_noise, speckle_noise, impulse_noise, shot_noise."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.draws import SEVERITIES
from noctule.corruptions.fields import TABLE_SIZE, normal_table
from noctule.corruptions.imagenet_c.noise import NUDGE, RATE_BITS, poisson_ends
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import BYTE, FLOAT, full_scale, store
from noctule.corruptions.loops.random import fill_bits16

CHUNK = 1024  # elements, whose random numbers stay in the cache
# The lowest of the 16 bits, which are within a bin of the guide to a Poisson distribution.
BIN_BITS = 8
CPU = torch.device("cpu")


@functools.cache
def _normal() -> NDArray[np.float32]:
    return normal_table(CPU).numpy()


@compiled
def _fill_normal(noise: Any, first: Any, words: Any, normal: Any, out: Any) -> None:
    """N(0, 1) for successive elements: `noctule.corruptions.fields.normal_field`."""
    fill_bits16(noise, first, words)
    for i in range(len(out)):  # look-ups alone, so that the arithmetic vectorises
        out[i] = normal[words[i]]


@loop("uint8", "float32", tables={"normal": _normal})
def gaussian_noise(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.gaussian_noise`."""
    amplitude = np.float32(full_scale(image) * sigma)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.float32)
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start : start + CHUNK]
        values = field[: len(part)]
        _fill_normal(noise, start, words[: len(part)], normal, values)
        if image.dtype == FLOAT:
            for i in range(len(part)):
                values[i] = values[i] * amplitude + np.float32(part[i])
        elif released:
            for i in range(len(part)):
                values[i] = np.floor(values[i] * amplitude) + np.float32(part[i])
        else:
            for i in range(len(part)):
                values[i] = np.rint(values[i] * amplitude) + np.float32(part[i])
        store(values, result[start : start + CHUNK], released)


@loop("uint8", "float32", tables={"normal": _normal})
def speckle_noise(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.speckle_noise`."""
    amplitude = np.float32(sigma)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.float32)
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start : start + CHUNK]
        values = field[: len(part)]
        _fill_normal(noise, start, words[: len(part)], normal, values)
        for i in range(len(part)):
            values[i] = (values[i] * amplitude + np.float32(1)) * np.float32(part[i])
        store(values, result[start : start + CHUNK], released)


@loop("uint8", "float32")
def impulse_noise(image: Any, out: Any, amount: float, noise: Any) -> None:
    """See `noctule.corruptions.imagenet_c.noise.impulse_noise`."""
    specks = min(int(np.rint(amount * 32768)), 32767)
    black, white = np.int16(specks - 32768), np.int16(32767 - specks)
    pixels, result = image.ravel(), out.ravel()
    shades = np.zeros(2, out.dtype)  # of the type of the image
    shades[1] = full_scale(image)
    dark, bright = shades
    words = np.empty(CHUNK, np.uint16)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        fill_bits16(noise, start, words[: len(part)])
        numbers = words[: len(part)].view(np.int16)
        for i in range(len(part)):
            value = bright if numbers[i] > white else part[i]
            changed[i] = dark if numbers[i] < black else value


@functools.lru_cache(maxsize=2 * len(SEVERITIES))
def _ends(photons: int) -> NDArray[np.int32]:
    """The number of intervals whose count is at most 0, 1, 2, … photons: (256, photons + 1)."""
    ends = poisson_ends(int(photons), CPU).view(256, -1)
    return (ends - TABLE_SIZE * torch.arange(256)[:, None]).to(torch.int32).numpy()


@functools.lru_cache(maxsize=2 * len(SEVERITIES))
def _guide(photons: int) -> NDArray[np.int32]:
    """The inverse distribution at the midpoints of 65,536 intervals u, for each of 256 levels.

    For each level and each bin of 256 intervals, this is a number g such that
    (g + u mod 256) // 256 is the count. If the bin contains more than two counts, it is
    −1 − c, where c is the lowest.
    """
    ends, size = poisson_ends(int(photons), CPU), 1 << BIN_BITS
    level = torch.arange(256)[:, None]
    start = torch.arange(0, TABLE_SIZE, size) + level * TABLE_SIZE
    lowest = torch.searchsorted(ends, start, right=True)
    highest = torch.searchsorted(ends, start + (size - 1), right=True)
    # The first count has the intervals of the bin before `ends`, all if that is beyond the bin.
    first = (ends[lowest] - start).clamp(max=size)
    lowest -= level * (int(photons) + 1)
    highest -= level * (int(photons) + 1)
    guide = torch.where(highest > lowest + 1, -1 - lowest, size * lowest + (size - first))
    return guide.to(torch.int32).numpy()


@compiled
def _count(level: Any, word: Any, guide: Any, ends: Any) -> Any:
    """The Poisson number of a level at a 16-bit number."""
    found = guide[level, word >> BIN_BITS]
    if found >= 0:
        return np.int32((found + np.int32(word & ((1 << BIN_BITS) - 1))) >> BIN_BITS)
    count = np.int32(-1 - found)
    while word >= ends[level, count]:
        count += np.int32(1)
    return count


@compiled
def _levels(part: Any, start: Any, size: Any, noise: Any, words: Any, levels: Any) -> None:
    """Each element as one of 256 grey levels; `words` has room for those of part and 3 more."""
    if part.dtype == BYTE:
        for i in range(len(part)):
            levels[i] = part[i]
        return
    skipped = size % 4  # dither has the numbers after those of the counts
    fill_bits16(noise, size - skipped + start, words[: len(part) + skipped])
    scale, mask = np.float32(255 << RATE_BITS), np.int32((1 << RATE_BITS) - 1)
    dither = words[skipped:]
    for i in range(len(part)):
        step = np.int32(np.rint(part[i] * scale)) + np.int32(np.int32(dither[i]) & mask)
        levels[i] = np.int32(step) >> np.int32(RATE_BITS)


@loop("uint8", "float32", tables={"guide": _guide, "ends": _ends})
def shot_noise(
    image: Any, out: Any, photons: int, noise: Any, released: bool, guide: Any, ends: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.shot_noise`."""
    unit, nudge = np.float32(255 / photons), np.float32(NUDGE if released else 0)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK + 3, np.uint16), np.empty(CHUNK, np.float32)
    levels = np.empty(CHUNK, np.uint8)
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start : start + CHUNK]
        _levels(part, start, len(pixels), noise, words, levels)
        values = field[: len(part)]
        fill_bits16(noise, start, words[: len(part)])
        for i in range(len(part)):
            values[i] = np.float32(_count(levels[i], words[i], guide, ends))
        if image.dtype == FLOAT:
            for i in range(len(part)):
                values[i] = values[i] / np.float32(photons)
        else:
            for i in range(len(part)):
                values[i] = values[i] * unit + nudge
        store(values, result[start : start + CHUNK], released)
