"""Hashing and checking the content of images: the twin of `noctule.corruptions.content`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import cached, compiled


@compiled
def _block_hash(words: Any, factors: Any) -> Any:
    first, second = np.uint64(0), np.uint64(0)
    one, other = factors[0, : len(words)], factors[1, : len(words)]
    for i in range(len(words)):
        word = np.uint64(words[i])
        first += word * one[i]
        second += word * other[i]
    return np.uint32(first >> np.uint64(32)), np.uint32(second >> np.uint64(32))


def _hash_images(words: Any, factors: Any, out: Any) -> None:
    """Hash images.

    Args:
        words: The images' values as 32-bit words, uint32 (batch, words).
        factors: uint64 (2, words of a block).
        out: uint32 (batch, 2); receives the hashes.
    """
    block = factors.shape[1]
    for i in range(len(words)):
        rest = words[i]
        while len(rest) > block:  # hashes of blocks are hashed in turn
            hashes = np.empty(2 * (1 + (len(rest) - 1) // block), np.uint32)
            for k in range(len(hashes) // 2):
                part = rest[k * block : (k + 1) * block]
                hashes[2 * k], hashes[2 * k + 1] = _block_hash(part, factors)
            rest = hashes
        out[i, 0], out[i, 1] = _block_hash(rest, factors)


def _to_bytes(values: Any, out: Any) -> None:
    """Round float32 values in [0, 1] to 8 bits; both arrays have one axis."""
    for i in range(len(values)):
        out[i] = np.uint8(np.rint(values[i] * np.float32(255)))


def _in_unit_interval(values: Any) -> Any:
    """Whether float32 values are in [0, 1], and none is −0; the array has one axis.

    Their bits, read as an integer, are then at most those of 1. The bits of NaN and of what has
    a sign are more.
    """
    bits, most = values.view(np.uint32), np.uint32(0)
    for i in range(len(bits)):
        most = max(most, bits[i])
    return most <= np.uint32(0x3F800000)


hash_images: Callable[..., None] = cached(_hash_images, "hash_images")
to_bytes: Callable[..., None] = cached(_to_bytes, "to_bytes")
in_unit_interval: Callable[..., bool] = cached(_in_unit_interval, "in_unit_interval")
