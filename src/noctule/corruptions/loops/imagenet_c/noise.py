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
from noctule.corruptions.loops.pixels import clamped, store_levels, to_level
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


@loop("uint8", tables={"normal": _normal})
def gaussian_noise(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.gaussian_noise`."""
    amplitude = np.float32(255 * sigma)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.float32)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        added = field[: len(part)]
        _fill_normal(noise, start, words[: len(part)], normal, added)
        if released:
            for i in range(len(part)):
                changed[i] = to_level(np.floor(added[i] * amplitude) + np.float32(part[i]))
        else:
            for i in range(len(part)):
                changed[i] = to_level(np.rint(added[i] * amplitude) + np.float32(part[i]))


@loop("float32", name="gaussian_noise", tables={"normal": _normal})
def gaussian_noise_float32(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.gaussian_noise`."""
    amplitude = np.float32(sigma)
    pixels, result = image.ravel(), out.ravel()
    words = np.empty(CHUNK, np.uint16)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        _fill_normal(noise, start, words[: len(part)], normal, changed)
        for i in range(len(part)):
            changed[i] = clamped(changed[i] * amplitude + part[i])


@loop("uint8", tables={"normal": _normal})
def speckle_noise(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.speckle_noise`."""
    amplitude = np.float32(sigma)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.float32)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        values = field[: len(part)]
        _fill_normal(noise, start, words[: len(part)], normal, values)
        for i in range(len(part)):
            values[i] = (values[i] * amplitude + np.float32(1)) * np.float32(part[i])
        store_levels(values, changed, released)


@loop("float32", name="speckle_noise", tables={"normal": _normal})
def speckle_noise_float32(
    image: Any, out: Any, sigma: float, noise: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.speckle_noise`."""
    amplitude = np.float32(sigma)
    pixels, result = image.ravel(), out.ravel()
    words = np.empty(CHUNK, np.uint16)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        _fill_normal(noise, start, words[: len(part)], normal, changed)
        for i in range(len(part)):
            changed[i] = clamped((changed[i] * amplitude + np.float32(1)) * part[i])


@loop("uint8", "float32")
def impulse_noise(image: Any, out: Any, amount: float, noise: Any) -> None:
    """See `noctule.corruptions.imagenet_c.noise.impulse_noise`."""
    specks = min(int(np.rint(amount * 32768)), 32767)
    black, white = np.int16(specks - 32768), np.int16(32767 - specks)
    pixels, result = image.ravel(), out.ravel()
    bright = np.ones(1, out.dtype)
    if out.itemsize == 1:
        bright[0] = 255
    shade, dark = bright[0], np.zeros(1, out.dtype)[0]
    words = np.empty(CHUNK, np.uint16)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        fill_bits16(noise, start, words[: len(part)])
        numbers = words[: len(part)].view(np.int16)
        for i in range(len(part)):
            value = shade if numbers[i] > white else part[i]
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


@loop("uint8", tables={"guide": _guide, "ends": _ends})
def shot_noise(
    image: Any, out: Any, photons: int, noise: Any, released: bool, guide: Any, ends: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.shot_noise`."""
    unit, nudge = np.float32(255 / photons), np.float32(NUDGE if released else 0)
    pixels, result = image.ravel(), out.ravel()
    words, field = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.float32)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        values = field[: len(part)]
        fill_bits16(noise, start, words[: len(part)])
        for i in range(len(part)):
            values[i] = np.float32(_count(part[i], words[i], guide, ends))
        for i in range(len(part)):
            values[i] = values[i] * unit + nudge
        store_levels(values, changed, released)


@loop("float32", name="shot_noise", tables={"guide": _guide, "ends": _ends})
def shot_noise_float32(
    image: Any, out: Any, photons: int, noise: Any, released: bool, guide: Any, ends: Any
) -> None:
    """See `noctule.corruptions.imagenet_c.noise.shot_noise`."""
    pixels, result = image.ravel(), out.ravel()
    scale, mask = np.float32(255 << RATE_BITS), np.int32((1 << RATE_BITS) - 1)
    skipped = len(pixels) % 4  # dither has the numbers after those of the counts
    words, dither = np.empty(CHUNK, np.uint16), np.empty(CHUNK + 4, np.uint16)
    levels = np.empty(CHUNK, np.int32)
    for start in range(0, len(pixels), CHUNK):
        part, changed = pixels[start : start + CHUNK], result[start : start + CHUNK]
        fill_bits16(noise, start, words[: len(part)])
        fill_bits16(noise, len(pixels) - skipped + start, dither[: len(part) + skipped])
        more = dither[skipped:]
        for i in range(len(part)):
            step = np.int32(np.rint(part[i] * scale)) + np.int32(np.int32(more[i]) & mask)
            levels[i] = np.int32(step) >> np.int32(RATE_BITS)
        for i in range(len(part)):
            changed[i] = np.float32(_count(levels[i], words[i], guide, ends))
        for i in range(len(part)):
            changed[i] = changed[i] / np.float32(photons)
