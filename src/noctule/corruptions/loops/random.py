"""Random words for loops: the compiled twin of `noctule.sampling`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled

_PARITY = np.uint32(0x1BD11BDA)


@compiled
def _mixed(x0: Any, x1: Any, left: Any, right: Any) -> Any:
    x0 = np.uint32(x0 + x1)
    x1 = np.uint32((x1 << left) | (x1 >> right))
    return x0, np.uint32(x1 ^ x0)


@compiled
def _four_rounds(x0: Any, x1: Any, first: bool) -> Any:
    """Rounds 4n to 4n + 3, where n is even (`first`) or odd."""
    if first:
        x0, x1 = _mixed(x0, x1, np.uint32(13), np.uint32(19))
        x0, x1 = _mixed(x0, x1, np.uint32(15), np.uint32(17))
        x0, x1 = _mixed(x0, x1, np.uint32(26), np.uint32(6))
        return _mixed(x0, x1, np.uint32(6), np.uint32(26))
    x0, x1 = _mixed(x0, x1, np.uint32(17), np.uint32(15))
    x0, x1 = _mixed(x0, x1, np.uint32(29), np.uint32(3))
    x0, x1 = _mixed(x0, x1, np.uint32(16), np.uint32(16))
    return _mixed(x0, x1, np.uint32(24), np.uint32(8))


@compiled
def threefry20(k0: Any, k1: Any, x0: Any, x1: Any) -> Any:
    """Two random words, uint32, for key k and counter x, uint32, in 20 rounds."""
    k2 = np.uint32(k0 ^ k1 ^ _PARITY)
    x0, x1 = _four_rounds(np.uint32(x0 + k0), np.uint32(x1 + k1), True)
    x0, x1 = _four_rounds(np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(1)), False)
    x0, x1 = _four_rounds(np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(2)), True)
    x0, x1 = _four_rounds(np.uint32(x0 + k0), np.uint32(x1 + k1 + np.uint32(3)), False)
    x0, x1 = _four_rounds(np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(4)), True)
    return np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(5))


@compiled
def threefry13(k0: Any, k1: Any, x0: Any, x1: Any) -> Any:
    """Two random words, uint32, for key k and counter x, uint32, in 13 rounds."""
    k2 = np.uint32(k0 ^ k1 ^ _PARITY)
    x0, x1 = _four_rounds(np.uint32(x0 + k0), np.uint32(x1 + k1), True)
    x0, x1 = _four_rounds(np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(1)), False)
    x0, x1 = _four_rounds(np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(2)), True)
    return _mixed(
        np.uint32(x0 + k0), np.uint32(x1 + k1 + np.uint32(3)), np.uint32(17), np.uint32(15)
    )


@compiled
def words(key: Any, element: Any, lane: Any) -> Any:
    """The two words of one element: `Stream.words` with 20 rounds."""
    return threefry20(key[0], key[1], np.uint32(element), np.uint32(lane))


@compiled
def fill_bits16(key: Any, first: Any, out: Any) -> None:
    """Fill with the 16-bit numbers of successive elements: `Stream.bits16`.

    Args:
        key: Key of the image: two uint32.
        first: Index of the first element, a multiple of 4.
        out: uint16 (elements,), contiguous.
    """
    k0, k1 = key
    whole = len(out) // 4
    start = np.uint32(first // 4)
    pairs = out[: 4 * whole].view(np.uint64)
    for i in range(whole):
        x0, x1 = threefry13(k0, k1, np.uint32(start + np.uint32(i)), np.uint32(0))
        pairs[i] = np.uint64(x0) | np.uint64(np.uint64(x1) << np.uint64(32))
    if 4 * whole < len(out):
        x0, x1 = threefry13(k0, k1, np.uint32(start + np.uint32(whole)), np.uint32(0))
        word = np.uint64(x0) | np.uint64(np.uint64(x1) << np.uint64(32))
        for i in range(4 * whole, len(out)):
            out[i] = np.uint16(word >> np.uint64(16 * (i - 4 * whole)))


@compiled
def high24(word: Any) -> Any:
    """The upper 24 bits of a word: int64."""
    return np.int64(word >> np.uint32(8))


@compiled
def unit_interval(word: Any) -> Any:
    """Uniform float32 in [0, 1): `noctule.sampling.unit_interval`."""
    return np.float32(high24(word)) * np.float32(2.0**-24)


@compiled
def integer(word: Any, low: int, high: int) -> Any:
    """Uniform int64 in {low, …, high}: `noctule.sampling.integers`."""
    return low + ((high24(word) * (high - low + 1)) >> 24)
