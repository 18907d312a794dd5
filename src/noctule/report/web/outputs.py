"""Where a report goes: looked at before the long work, written after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from noctule.errors import InputError
from noctule.input_files import real_path
from noctule.report.web.figures import FIGURE_FORMATS, Figure, save_figure
from noctule.store.disk import output_errors, temporary_for, write_atomically
from noctule.store.identity import RUN_FILE

_PAGE = b"<!DOCTYPE html"


def check_outputs(out: Path, figures: Path | None, runs: Iterable[Path] = ()) -> None:
    """Find out before the long work whether its results can be written.

    Args:
        out: the page.
        figures: the folder of figures and tables.
        runs: run folders, which nothing may be written into.

    Raises:
        InputError: `out` is a folder or something else than a page, `figures` is a file, or one
            of them lies in a run.
        OutputError: one of them cannot be written.
    """
    for place in (out, figures):
        _refuse_inside(place, runs)
    with _usable(out):
        if out.is_dir():
            raise InputError(
                "is a folder", where=out, remedy="Name a file, such as report.html."
            )
        if out.exists() and not _is_page(out):
            raise InputError(
                "is there already, and is no page",
                where=out,
                remedy="Name another file, such as report.html.",
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


def _refuse_inside(place: Path | None, runs: Iterable[Path]) -> None:
    for run in runs:
        is_run = (run / RUN_FILE).is_file()
        if place is not None and is_run and real_path(place).is_relative_to(real_path(run)):
            raise InputError(
                f"lies in the run {run}, whose files it might replace",
                where=place,
                remedy="Choose another place.",
            )


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_PAGE)) in (_PAGE, b"")


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    with output_errors(path, "Choose another place."):
        yield


def _try_to_write(path: Path) -> None:
    """As `write_atomically` would, beside the file, which is left as it is."""
    trial = temporary_for(path)
    trial.touch(exist_ok=False)
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
