"""Progress bars for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show images done, rate and time left on stderr.

    Yields what is to be called with (images done, images in all).
    """
    with _bars() as bars:
        task = bars.add_task(description, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def study_progress(
    work: Mapping[str, tuple[int, int]],
) -> Iterator[Callable[[tuple[str, int]], None]]:
    """Show a bar on stderr for each kind of work, with rate and time left.

    Args:
        work: (done, all) of each kind.

    Yields what is to be called with (kind, how many more are done).
    """
    with _bars() as bars:
        tasks = {
            kind: bars.add_task(kind, completed=done, total=total)
            for kind, (done, total) in work.items()
        }
        yield lambda advance: bars.advance(tasks[advance[0]], advance[1])


def _bars() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
