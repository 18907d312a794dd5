"""Images of a batch that several threads take one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from corruption_cases import sample_images
from noctule.corruptions import corrupt
from noctule.corruptions.loops import driver
from noctule.corruptions.loops.compiling import cached
from noctule.corruptions.loops.sharing import finish, share, take


def _mark(counters: Any, marks: Any, last: int) -> Any:
    """Take images up to a number of them, and count how often each is taken."""
    done = 0
    while done < last:
        k = take(counters, done)
        if k >= len(marks):
            break
        for _ in range(100):  # takes some time
            marks[k] = marks[k] * 5 + 1
        done += 1
        finish(counters)
    return done


def _take_only(counters: Any) -> Any:
    return take(counters, 0)


mark: Any = cached(_mark, "mark")
take_only: Any = cached(_take_only, "take_only")
ONCE = sum(5**k for k in range(100)) % 2**64 - 2**64 * (sum(5**k for k in range(100)) >> 63 & 1)


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("items", [1, 2, 3, 7, 500])
def test_each_image_is_taken_once(items: int) -> None:
    for _ in range(100):
        marks = np.zeros(items, np.int64)
        share(lambda counters, marks=marks: mark(counters, marks, items), items)  # type: ignore[misc]
        assert set(marks.tolist()) == {ONCE}


def test_callers_in_several_threads_do_not_meet() -> None:
    def one(_: int) -> set[int]:
        marks = np.zeros(50, np.int64)
        share(lambda counters: mark(counters, marks, 50), 50)
        return set(marks.tolist())

    with ThreadPoolExecutor(8) as pool:
        assert all(found == {ONCE} for found in pool.map(one, range(200)))


def test_a_thread_that_comes_late_is_not_waited_for() -> None:
    marks, here = np.zeros(5, np.int64), threading.get_ident()

    def work(counters: Any) -> None:
        if threading.get_ident() != here:
            time.sleep(1)
        mark(counters, marks, 5)

    start = time.perf_counter()
    share(work, 5)
    assert time.perf_counter() - start < 0.9
    assert set(marks.tolist()) == {ONCE}


def test_a_thread_that_took_an_image_is_waited_for() -> None:
    marks, here = np.zeros(5, np.int64), threading.get_ident()
    begun = threading.Event()

    def work(counters: Any) -> None:
        if threading.get_ident() == here:
            begun.wait(5)
        else:
            begun.set()
            time.sleep(0.05)
        mark(counters, marks, 1 if threading.get_ident() == here else 5)

    share(work, 5)
    assert set(marks.tolist()) == {ONCE}


@pytest.mark.parametrize("fails_here", [True, False])
def test_an_error_is_raised_in_the_caller(fails_here: bool) -> None:
    here, begun = threading.get_ident(), threading.Event()

    def work(counters: Any) -> None:
        if (threading.get_ident() == here) == fails_here:
            take_only(counters)
            begun.set()
            raise MemoryError("no room")
        begun.wait(5)
        mark(counters, np.zeros(20, np.int64), 20)

    with pytest.raises(MemoryError, match="no room"):
        share(work, 20)


def test_the_number_of_threads_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "WORTH_A_THREAD_S", 0.0)
    shared = []
    monkeypatch.setattr(driver, "share", lambda *a: shared.append(len(a)) or share(*a))  # type: ignore[func-returns-value]
    images = sample_images(9, 33, 40)
    pixels = images.contiguous(memory_format=torch.channels_last)
    for name in ("rain", "gaussian_blur", "glass_blur"):
        found = corrupt(images, name, ids=range(9), severity=3)
        torch.set_num_threads(1)
        monkeypatch.setattr(driver, "WORTH_A_THREAD_S", 1e9)
        alone = corrupt(images, name, ids=range(9), severity=3)
        monkeypatch.setattr(driver, "WORTH_A_THREAD_S", 0.0)
        torch.set_num_threads(4)
        assert found.equal(alone)
        assert corrupt(pixels, name, ids=range(9), severity=3).equal(alone)
    assert len(shared) >= 6
