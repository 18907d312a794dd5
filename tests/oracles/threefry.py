"""Threefry-2x32 and the keyed draws, from the publication and the docstrings, without torch."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MASK = 0xFFFFFFFF
ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24]


def threefry(key: tuple[int, int], x0: Any, x1: Any, rounds: int) -> tuple[Any, Any]:
    """Salmon et al. 2011, section 4.1, on Python integers or on uint64 arrays alike.

    >>> [hex(word) for word in threefry((0, 0), 0, 0, 20)]
    ['0x6b200159', '0x99ba4efe']
    """
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    x0, x1 = (x0 + keys[0]) & MASK, (x1 + keys[1]) & MASK
    for number in range(1, rounds + 1):
        turn = ROTATIONS[(number - 1) % 8]
        x0 = (x0 + x1) & MASK
        x1 = ((x1 << turn) & MASK) | (x1 >> (32 - turn))
        x1 = x1 ^ x0
        if number % 4 == 0:
            injection = number // 4
            x0 = (x0 + keys[injection % 3]) & MASK
            x1 = (x1 + keys[(injection + 1) % 3] + injection) & MASK
    return x0, x1


def hashed(data: bytes) -> tuple[int, int]:
    """The two little-endian words of an 8-byte BLAKE2b hash."""
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def image_words(seed: int, corruption: str, draw: str, image_id: str | int) -> tuple[int, int]:
    """What one draw of one image is made from."""
    name = f"int:{len(str(seed))}:{seed}"
    name += f"str:{len(corruption)}:{corruption}str:{len(draw)}:{draw}"
    return threefry(hashed(name.encode()), *hashed(str(image_id).encode()), rounds=20)


class WordStream(NamedTuple):
    """The random words of one field of one image."""

    key: tuple[int, int]

    def word(self, index: int, *, lane: int = 0, which: int = 0, rounds: int = 20) -> int:
        """One of the two 32-bit words of an element."""
        return int(threefry(self.key, index, lane, rounds)[which])

    def whole(self, index: int, low: int, high: int, *, lane: int = 0, which: int = 0) -> int:
        """A whole number in [low, high] from the upper 24 bits of a word."""
        part = self.word(index, lane=lane, which=which) >> 8
        return low + part * (high - low + 1) // 2**24

    def real(self, index: int, *, lane: int = 0, which: int = 0) -> float:
        """A number in [0, 1) from the upper 24 bits of a word."""
        return float((self.word(index, lane=lane, which=which) >> 8) / 2**24)

    def halves(self, count: int) -> NDArray[np.int64]:
        """16-bit numbers: low and high half of the first word, then the second's; 13 rounds."""
        counters = np.arange(-(-count // 4), dtype=np.uint64)
        w0, w1 = threefry(self.key, counters, np.zeros_like(counters), 13)
        quarters = [w0 & 0xFFFF, w0 >> 16, w1 & 0xFFFF, w1 >> 16]
        return np.stack(quarters, axis=1).reshape(-1)[:count].astype(np.int64)
