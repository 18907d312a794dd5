"""Drawing the parameters of a batch of images: one compiled call for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.draws import CONSTANT, INTEGER, TABLE, UNIFORM
from noctule.corruptions.loops.compiling import cached
from noctule.corruptions.loops.random import high24, threefry20
from noctule.sampling import key_of


@functools.lru_cache(maxsize=256)
def keys_of(seed: int, corruption: str, names: tuple[str, ...]) -> NDArray[np.uint32]:
    """The keys of a corruption's draws: uint32 (draws, 2)."""
    keys = [key_of(seed, corruption, name) for name in names]
    return np.array(keys, np.uint32).reshape(-1, 2)


def _draw(rows: Any, keys: Any, ids: Any, values: Any, words: Any) -> None:
    """Draw for a batch of images.

    Args:
        rows: The draws as numbers, float64 (draws, 7), see `noctule.corruptions.draws`.
        keys: Key of each draw, uint32 (draws, 2).
        ids: Hash of each image's id, uint32 (batch, 2).
        values: float64 (batch, draws); receives the values, 0 for streams.
        words: uint32 (batch, draws, 2); receives the two random words of each draw, which are
            the keys of streams.
    """
    for i in range(len(ids)):
        for j in range(len(rows)):
            kind, low, span, before, whole = rows[j, :5]
            w0, w1 = threefry20(keys[j, 0], keys[j, 1], ids[i, 0], ids[i, 1])
            words[i, j, 0], words[i, j, 1] = w0, w1
            part = np.int64(before) + high24(w0)
            value = 0.0
            if kind == CONSTANT:
                value = low
            elif kind == UNIFORM:
                value = low + span * (part / whole)
            elif kind == INTEGER:
                if rows[j, 6] > 0:
                    part = np.int64(whole) - 1 - part
                value = low + np.float64(part * np.int64(span) // np.int64(whole))
            elif kind == TABLE:
                value = rows[j, 1 + (high24(w0) * 5 >> 24)]
            if kind in (UNIFORM, INTEGER) and rows[j, 5] > 0:
                value *= 1 - 2 * np.int64(w1 & np.uint32(1))
            values[i, j] = value


draw: Callable[..., None] = cached(_draw, "draw")
