"""Progress: bars in a terminal and in a notebook, elsewhere an occasional line on stderr."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from noctule.display import in_notebook, progress_hidden
from noctule.errors import shown

# Outside of a terminal: lines are at least the first of these apart, and come after a tenth of
# the work, or after the second of these if the tenth takes longer.
_LEAST_S, _MOST_S = 30.0, 600.0
_STEP = 0.1
_NOTEBOOK_S = 0.2  # least time between two updates of a cell's output


@contextmanager
def progress_bar(
    description: str, is_shown: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of one kind of work, with the time left.

    Args:
        description: The work.
        is_shown: Whether to show anything.

    Yields a function to call with (number done, total number).
    """
    description, console = shown(description), Console(stderr=True)
    if progress_hidden.get() or not is_shown:
        yield lambda done, total: None
        return
    if in_notebook():
        with _notebook_bars() as update:
            yield lambda done, total: update(description, done, total)
        return
    if not console.is_terminal:
        lines = _Lines(console.file)
        yield lambda done, total: lines.update(description, done, total)
        return
    with _bars(console) as bars:
        task = bars.add_task(description, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def study_progress(
    work: Mapping[str, tuple[int, int]],
) -> Iterator[Callable[[tuple[str, int]], None]]:
    """Show the progress of several kinds of work, with the time left.

    Args:
        work: (number done, total number) of each kind.

    Yields a function to call with (kind, number newly done).
    """
    console = Console(stderr=True)
    if progress_hidden.get():
        yield lambda step: None
        return
    if in_notebook():
        with _notebook_bars() as update:
            yield _added_up(work, update)
        return
    if not console.is_terminal:
        yield _added_up(work, _Lines(console.file).update)
        return
    with _bars(console) as bars:
        tasks = {
            kind: bars.add_task(kind, completed=done, total=total)
            for kind, (done, total) in work.items()
        }
        yield lambda advance: bars.advance(tasks[advance[0]], advance[1])


@contextmanager
def status_line(description: str) -> Iterator[Callable[[str], None]]:
    """Show the state of work of unknown length.

    Yields a function to call with a description of the state.
    """
    description, console = shown(description), Console(stderr=True)
    if progress_hidden.get():
        yield lambda text: None
        return
    if not console.is_terminal:
        last = time.monotonic()

        def report(text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _LEAST_S:
                last = time.monotonic()
                _write(console.file, f"{description}: {text}")

        yield report
        return
    words = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    with Progress(words, console=console, transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda text: progress.update(task, description=f"{description}: {text}")


def _added_up(
    work: Mapping[str, tuple[int, int]], update: Callable[[str, int, int], None]
) -> Callable[[tuple[str, int]], None]:
    """A function of (kind, number newly done) that calls one of (kind, number done, total)."""
    done = {kind: first for kind, (first, _) in work.items()}
    for kind, (first, total) in work.items():
        update(kind, first, total)

    def advance(step: tuple[str, int]) -> None:
        kind, more = step
        done[kind] += more
        update(kind, done[kind], work[kind][1])

    return advance


@contextmanager
def _notebook_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of work in the output of a cell, which is empty at the end.

    It needs IPython only; rich's own display in notebooks needs ipywidgets as well.
    """
    import IPython.display

    display: Any = IPython.display
    output = display.display(display.HTML(""), display_id=True)
    start = last = time.monotonic()
    state: dict[str, tuple[int, int, int]] = {}

    def update(kind: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        first = state.get(kind, (done, done, total))[0]
        state[kind] = first, done, total
        if now - last < _NOTEBOOK_S:
            return
        last = now
        bars = []
        for name, (begun, count, most) in state.items():
            left_s = (most - count) * (now - start) / (count - begun) if count > begun else None
            words = html.escape(_state(shown(name), count, most, left_s))
            bars.append(f'<progress value="{count}" max="{max(most, 1)}"></progress> {words}')
        output.update(display.HTML("<br>".join(bars)))

    yield update
    output.update(display.HTML(""))


class _Lines:
    """Occasional lines about each kind of work."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._last: dict[str, tuple[float, int]] = {}

    def update(self, kind: str, done: int, total: int) -> None:
        """Write a line if enough work was done since the last one, or since the start."""
        now = time.monotonic()
        then, before = self._last.setdefault(kind, (now, done))
        long, much = now - then, (done - before) / max(total, 1)
        if done == before or long < _LEAST_S or (much < _STEP and long < _MOST_S):
            return
        self._last[kind] = (now, done)
        left_s = (total - done) * long / (done - before)
        _write(self._file, _state(kind, done, total, left_s))


def _state(kind: str, done: int, total: int, left_s: float | None) -> str:
    """The progress in words."""
    left = f", about {duration(left_s)} left" if left_s is not None and done < total else ""
    return f"{kind}: {done:,} of {total:,} ({100 * done / max(total, 1):.0f} %){left}"


class _Words(ProgressColumn):
    """The progress in words, which wrap in a narrow terminal and are never cut off."""

    def render(self, task: Task) -> Text:
        """The progress of one kind of work."""
        if task.total is None:
            return Text(task.description, overflow="fold")
        done, total = int(task.completed), int(task.total)
        words = _state(task.description, done, total, task.time_remaining)
        return Text(words, overflow="fold")


def _write(file: IO[str], text: str) -> None:
    file.write(f"noctule: {shown(text)}\n")
    file.flush()


def duration(seconds: float) -> str:
    """A duration in a suitable unit.

    >>> duration(40), duration(600), duration(20_000)
    ('40 s', '10 min', '5.6 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _bars(console: Console) -> Progress:
    return Progress(BarColumn(bar_width=10), _Words(), console=console, transient=True)
