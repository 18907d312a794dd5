"""Output files of a report: checked before the long work, written after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from noctule.errors import InputError
from noctule.input_files import real_path
from noctule.remote import AnyPath, RemotePath
from noctule.report.charts import FIGURE_FORMATS, save_figure
from noctule.report.page import Page
from noctule.report.table import table_files
from noctule.store.disk import output_errors, temporary_for, write_atomically
from noctule.store.identity import RUN_FILE

_PAGE = b"<!DOCTYPE html"


def check_outputs(out: Path, figures: Path | None, runs: Iterable[AnyPath] = ()) -> None:
    """Check before the long work that its results can be written.

    Args:
        out: The page.
        figures: The folder of figures and tables.
        runs: Run folders, which nothing may be written into.

    Raises:
        InputError: `out` is a folder or a file that is not a page, `figures` is a file, or one
            of them lies in a run.
        OutputError: One of them cannot be written.
    """
    for path in (out, figures):
        _refuse_inside(path, runs)
    with _usable(out):
        if out.is_dir():
            raise InputError(
                "is a folder", where=out, remedy="Pass a file name such as report.html."
            )
        if out.exists() and not _is_page(out):
            raise InputError(
                "exists already, and is not a page",
                where=out,
                remedy="Choose another file name, such as report.html.",
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        _try_to_write(out)
    if figures is None:
        return
    with _usable(figures):
        if figures.exists() and not figures.is_dir():
            raise InputError("is a file", where=figures, remedy="Pass a folder.")
        figures.mkdir(parents=True, exist_ok=True)
        _try_to_write(figures / "table.md")


def _refuse_inside(path: Path | None, runs: Iterable[AnyPath]) -> None:
    for run in runs:
        if isinstance(run, RemotePath):
            continue
        is_run = (run / RUN_FILE).is_file()
        if path is not None and is_run and real_path(path).is_relative_to(real_path(run)):
            raise InputError(
                f"lies in the run {run}, whose files it might replace",
                where=path,
                remedy="Choose another path.",
            )


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_PAGE)) in (_PAGE, b"")


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    with output_errors(path, "Choose another path."):
        yield


def _try_to_write(path: Path) -> None:
    """Write as `write_atomically` would, beside the file, which stays as it is."""
    trial = temporary_for(path)
    trial.touch(exist_ok=False)
    trial.unlink()


def write_files(folder: Path, page: Page) -> None:
    """Write a page's figures as SVG, PNG and PDF, its tables as Markdown, LaTeX and CSV.

    Raises:
        OutputError: A file cannot be written.
    """
    for figure in page.figures():
        for ending in FIGURE_FORMATS:
            save_figure(figure, folder / f"{figure.name}.{ending}")
    for name, text in table_files(page.tables()).items():
        path = folder / name
        with output_errors(path):
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
