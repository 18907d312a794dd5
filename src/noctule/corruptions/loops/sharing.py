"""Sharing the images of a batch among threads, of which some begin later than others.

A thread that was asleep begins about 50 µs late, and Python's interpreter lock passes from one
to another as slowly. So each thread makes one compiled call, in which it takes one image after
the other, until none is left.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import cached, compiled
from noctule.corruptions.threads import begin_elsewhere, thread_count

Counters = NDArray[np.int64]
ALONE: Counters = np.empty(0, np.int64)
"""Of a thread that has all images to itself."""
_TAKEN, _DONE = range(2)
_SPINS = 10_000  # some 200 µs


def _add_at_once(_context: Any, counters: Any, index: Any, number: Any) -> Any:
    """Add to a counter, and return what it was: at once for all threads."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        value = builder.trunc(arguments[2], ir.IntType(64))
        return builder.atomic_rmw("add", pointer, value, "seq_cst")

    return types.int64(counters, types.int64, types.int64), generate


_add: Any = intrinsic(_add_at_once)


@compiled
def take(counters: Any, number: int) -> Any:
    """The index of the next image, which may be beyond the last; alone, it is the number."""
    return _add(counters, _TAKEN, 1) if len(counters) else number


@compiled
def finish(counters: Any) -> None:
    """Say that an image is done."""
    if len(counters):
        _add(counters, _DONE, 1)


def _await(counters: Any, count: int) -> Any:
    """Wait a moment for other threads; return whether all images are done."""
    spins = 0
    while _add(counters, _DONE, 0) < count and spins < _SPINS:
        spins += 1
    return spins < _SPINS


_await_done: Callable[[Counters, int], bool] = cached(_await, "await_done")


def share(work: Callable[[Counters], None], count: int) -> None:
    """Call `work(counters)` in as many threads as torch has.

    Args:
        work: Takes the index of an image with `take`, calls `finish` when it is done, and so
            on, until the index is `count` or more. Its exceptions are raised here.
        count: Number of images.
    """
    counters = np.zeros(2, np.int64)
    tasks = begin_elsewhere(work, [counters] * (thread_count(count) - 1))
    try:
        work(counters)
    finally:
        begun = [task for task in tasks if not task.cancel()]
        if begun and not _await_done(counters, count):
            wait(begun)
    if counters[_DONE] < count:
        for task in begun:
            task.result()
