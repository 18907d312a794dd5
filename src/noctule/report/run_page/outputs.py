"""Where a report goes: looked at before the long work, written after it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from noctule.errors import InputError
from noctule.report.web import Figure, save_figure
from noctule.report.web.figures import FIGURE_FORMATS
from noctule.store.disk import TEMPORARY_SUFFIX, output_errors, write_atomically


def check_outputs(out: Path, figures: Path | None) -> None:
    """Find out before the long work whether its results can be written.

    Raises:
        InputError: `out` is a folder, or `figures` is a file.
        OutputError: one of them cannot be written.
    """
    with _usable(out):
        if out.is_dir():
            raise InputError(
                "is a folder", where=out, remedy="Name a file, such as report.html."
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        _try_to_write(out)
    if figures is None:
        return
    with _usable(figures):
        if figures.exists() and not figures.is_dir():
            raise InputError("is a file", where=figures, remedy="Name a folder.")
        figures.mkdir(parents=True, exist_ok=True)
        _try_to_write(figures / "table.md")


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    with output_errors(path, "Choose another place."):
        yield


def _try_to_write(path: Path) -> None:
    """As `write_atomically` would, beside the file, which is left as it is."""
    trial = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    trial.touch()
    trial.unlink()


def write_files(folder: Path, figures: Sequence[Figure], texts: Mapping[str, str]) -> None:
    """Write figures as SVG, PNG and PDF, and tables by their file names.

    Raises:
        OutputError: something cannot be written.
    """
    for figure in figures:
        for ending in FIGURE_FORMATS:
            save_figure(figure, folder / f"{figure.name}.{ending}")
    for name, text in texts.items():
        path = folder / name
        with output_errors(path):
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
