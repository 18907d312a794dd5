"""Progress where nobody watches: a line now and then, on stderr."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from noctule.report import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that is set by hand."""
    now = 0.0

    def set_to(seconds: float) -> None:
        nonlocal now
        now = seconds

    monkeypatch.setattr(progress.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    return set_to


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The lines on stderr since it was called last."""
    return lambda: capsys.readouterr().err.splitlines()


def test_a_line_for_each_tenth_that_took_half_a_minute(clock, written) -> None:
    # A hundred images, one a second: a tenth is 10 s, so a line comes every 30 s.
    with progress.progress_bar("m on data") as advance:
        for done in range(1, 101):
            clock(done)
            advance(done, 100)
    assert written() == [
        "noctule: m on data: 31 of 100 (31 %), about 69 s left",
        "noctule: m on data: 61 of 100 (61 %), about 39 s left",
        "noctule: m on data: 91 of 100 (91 %), about 9 s left",
    ]


def test_slow_work_is_not_silent_for_long(clock, written) -> None:
    # Two images a minute: a tenth would take 50 minutes; a line comes every ten.
    with progress.progress_bar("m") as advance:
        for done in range(1, 61):
            clock(30.0 * done)
            advance(done, 1000)
    assert [line.split(" of ")[0] for line in written()] == ["noctule: m: 21", "noctule: m: 41"]


def test_a_short_run_is_silent_and_kinds_of_work_have_their_own_lines(clock, written) -> None:
    with progress.progress_bar("m") as advance:
        for done in range(1, 11):
            clock(2.0 * done)
            advance(done, 10)
    assert written() == []
    with progress.study_progress({"training\x1b[31m": (50, 100), "measuring": (0, 4)}) as step:
        clock(60)
        step(("training\x1b[31m", 25))
        step(("measuring", 1))
    training, measuring = written()
    assert training.endswith("75 of 100 (75 %), about 40 s left")
    assert "\x1b" not in training
    assert measuring == "noctule: measuring: 1 of 4 (25 %), about 2 min left"


def test_the_state_of_a_search_is_a_line_every_half_minute(clock, written) -> None:
    with progress.status_line("searching") as report:
        for seconds in range(0, 70, 10):
            clock(seconds)
            report(f"{seconds} s")
    assert written() == ["noctule: searching: 30 s", "noctule: searching: 60 s"]


@pytest.mark.parametrize("width", [24, 40, 80])
def test_nothing_is_cut_at_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    with progress.progress_bar("a-long-name on photo-patches/test") as advance:
        advance(5_000, 50_000)
    with progress.study_progress({"networks": (3, 24)}) as advance_kind:
        advance_kind(("networks", 9))
    with progress.status_line("searching") as report:
        report("coverage 0.629 found, at most 1.000 possible")
    words = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|━|╸|╺", " ", shown.getvalue()).split())
    assert "…" not in words
    letters = "".join(words.split())  # a word longer than the line is broken, not cut
    assert "a-long-nameonphoto-patches/test:5,000of50,000(10%)" in letters
    assert "networks: 12 of 24 (50 %)" in words
    assert "searching: coverage 0.629 found, at most 1.000 possible" in words
