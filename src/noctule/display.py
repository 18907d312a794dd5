"""How results show themselves: in a notebook, in a terminal, as data frames and as charts.

A result inherits from `Displayed`, which is low in the house; what it shows is in
`noctule.report.display`, which is imported when it is first needed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from noctule.extras import MissingExtraError, require

if TYPE_CHECKING:
    import altair
    import pandas
    import polars

progress_hidden: ContextVar[bool] = ContextVar("progress_hidden", default=False)
"""Whether no progress is shown, as with `--quiet`."""

_VIEWS = "noctule.report.display"
_PROGRESS = "noctule.report.progress"


class Displayed:
    """A result that shows itself."""

    def __repr__(self) -> str:
        """The result in one line."""
        return f"<{type(self).__name__}: {self._view().line}>"

    def __str__(self) -> str:
        """The result as the tables that the command line prints."""
        return str(self._view())

    def _repr_html_(self) -> str | None:
        """Tables and a chart for notebooks; None without the extra they need."""
        try:
            return str(self._view().html())
        except MissingExtraError:
            return None

    def to_pandas(self) -> pandas.DataFrame:
        """The records of the result, a row each (extra `pandas`).

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require("pandas")
        frame: pandas.DataFrame = self._view().arrow().to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """The records of the result, a row each (extra `polars`).

        Raises:
            MissingExtraError: polars is not installed.
        """
        require("polars")
        import polars

        frame = polars.from_arrow(self._view().arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def plot(self) -> altair.Chart | altair.LayerChart:
        """The chart of the result, as in reports (extra `report`; overlap: `study`).

        Raises:
            MissingExtraError: A package of the extra is not installed.
        """
        chart: altair.Chart | altair.LayerChart = self._view().figure().notebook_chart()
        return chart

    def _view(self) -> Any:
        return importlib.import_module(_VIEWS).view(self)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return running is not None and getattr(running, "kernel", None) is not None


@contextmanager
def notebook_progress(
    progress: Callable[[int, int], None] | None, description: str
) -> Iterator[Callable[[int, int], None]]:
    """The caller's function for progress; without one, a bar in a notebook, or else nothing.

    Args:
        progress: Called with (number done, total number); None for the default.
        description: The work.
    """
    if progress is not None or not in_notebook():
        yield progress or (lambda done, total: None)
        return
    with importlib.import_module(_PROGRESS).progress_bar(description) as advance:
        yield advance


@contextmanager
def notebook_work(
    report: Callable[[Any], None] | None, work: Callable[[], Any]
) -> Iterator[Callable[[Any], None]]:
    """As `notebook_progress`, for several kinds of work.

    Args:
        report: Called with (kind, number newly done); None for the default.
        work: Gives (number done, total number) of each kind.
    """
    if report is not None or not in_notebook():
        yield report or (lambda advance: None)
        return
    with importlib.import_module(_PROGRESS).study_progress(work()) as advance:
        yield advance
