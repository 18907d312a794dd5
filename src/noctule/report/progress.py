"""A progress bar for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
def progress_bar(description: str, folder: Path) -> Iterator[Callable[[int, int], None]]:
    """Show images done, rate and time left on stderr.

    Yields what is to be called with (images done, images in all). An interruption is passed on,
    after saying that the run in `folder` can be continued.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"noctule: finished slices are kept in {folder}; "
                "give the same command again to go on.",
                markup=False,
                soft_wrap=True,
            )
            raise
