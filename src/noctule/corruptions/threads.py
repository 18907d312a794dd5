"""Threads for other libraries' work on images that releases Python's interpreter lock."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from noctule.corruptions.grouping import even_parts

T = TypeVar("T")


def in_threads(work: Callable[[slice], None], count: int) -> None:
    """Call `work(part)` in parallel, with one part of `count` items for each of torch's
    threads.

    An exception of a part is raised here once all parts have ended. `work` must not call this
    function: its parts would wait for the threads that run them.

    >>> done = []
    >>> in_threads(lambda part: done.extend(range(10)[part]), 10)
    >>> sorted(done)
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    first, *others = even_parts(count, thread_count(count))
    tasks = begin_elsewhere(work, others)
    try:
        work(first)
    finally:
        wait(tasks)
    for task in tasks:
        task.result()


def thread_count(items: int) -> int:
    """The number of threads for these items, at least 1."""
    return max(1, min(torch.get_num_threads(), items))


def begin_elsewhere(work: Callable[[T], None], arguments: Sequence[T]) -> list[Future[None]]:
    """Begin `work(argument)` in another thread for each of the arguments."""
    return [_pool(len(arguments)).submit(work, argument) for argument in arguments]


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads are kept, because starting one takes as long as corrupting a small image."""
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
