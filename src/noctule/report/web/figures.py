"""A chart with its caption and its description: in a page, and as SVG, PNG, PDF.

Charts are Vega-Lite, built with Altair: one grammar gives the page's charts, which answer to
the pointer, and the files for a paper (through vl-convert, which needs no browser).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noctule.errors import unknown_name
from noctule.report.web.text import all_shown
from noctule.report.web.vega import vega
from noctule.store.disk import output_errors, write_atomically

if TYPE_CHECKING:
    import altair as alt

FIGURE_FORMATS = ("svg", "png", "pdf")
# Okabe and Ito's colours, told apart under any colour vision, in the order of use. Their yellow
# and black are left out: one is lost on white, the other on black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
COLUMN_WIDTH_PT = 245  # of a two-column paper, 3.4 inches
_PNG_SCALE = 300 / 72  # 300 dots to the inch at that width
_FIT = {"autosize": {"type": "fit-x", "contains": "padding"}}
_PAGE_FONT = "system-ui, sans-serif"
_PAPER_FONT = "Helvetica, Arial, sans-serif"


def axis_ends(
    values: Sequence[float], interval_ends: Sequence[float] = (), marks: Sequence[float] = ()
) -> tuple[float, float] | None:
    """Where to end an axis that a value far from the others would otherwise rule.

    Far is further from the median than 8 times the median distance from it, and than 100 units
    or percentage points: error rates are never far from one another. A score that divides by a
    difference near 0 can be of any size. The axis has a length, even if all that is near has
    the same value.

    Args:
        values: What is drawn.
        interval_ends: Ends of intervals, which may rule an axis as well.
        marks: What has to be within the axis.

    Returns:
        The ends, or None if nothing is far: then the axis takes what there is.

    >>> axis_ends([60, 70, 80, -500])
    (60.0, 80.0)
    >>> axis_ends([60, 70, 80], [40, 1000], marks=[100])
    (40.0, 100.0)
    >>> axis_ends([60, 70, 80, 110])
    >>> axis_ends([3, 3, 900])
    (-7.0, 13.0)
    """
    if len(values) < 3:
        return None
    median = statistics.median(values)
    distance = max(100, 8 * statistics.median(abs(one - median) for one in values))
    drawn = [*values, *interval_ends]
    near = [one for one in drawn if abs(one - median) <= distance]
    if len(near) == len(drawn):
        return None
    near += marks
    pad = 10 if min(near) == max(near) else 0
    return float(min(near) - pad), float(max(near) + pad)


@dataclass(frozen=True)
class Figure:
    """A chart that can stand in a page and in a paper.

    Attributes:
        name: its id in the page and its file's name: letters, digits and hyphens.
        caption: what it shows, with what the marks and intervals mean.
        description: what a reader who cannot see it should know of it.
        chart: an Altair chart without width and configuration; lengths along y are steps or
            fixed. Data are plain records, so that it needs no data frames.
        responsive: whether its width follows the page's; not for charts of several views.
        step_px: the width of each place along x in a page, where following the page's would
            squeeze them; the page lets readers scroll. In a paper it is a column wide anyway.
    """

    name: str
    caption: str
    description: str
    chart: alt.Chart | alt.LayerChart
    responsive: bool = True
    step_px: int | None = None

    @property
    def scrolls(self) -> bool:
        """Whether it may be wider than the page."""
        return not self.responsive or self.step_px is not None

    def page_spec(self) -> dict[str, Any]:
        """Vega for a page: as wide as its place, in the colour of the text.

        Compiled here, so that a flawed chart fails now and not in the reader's browser.
        """
        size: dict[str, Any] = {"width": "container", **_FIT} if self.responsive else {}
        if self.step_px is not None:
            size = {"width": {"step": self.step_px}}
        spec = self._spec(size, _config("currentColor", _PAGE_FONT, 12))
        compiled: dict[str, Any] = vega("vegalite_to_vega", spec)
        return compiled

    def paper_spec(self) -> dict[str, Any]:
        """Vega-Lite for a paper: black on white, a column wide in all, in 8 point."""
        size = {"width": COLUMN_WIDTH_PT, **_FIT} if self.responsive else {}
        config = {**_config("black", _PAPER_FONT, 8), "background": "white"}
        return self._spec(size, config)

    def _spec(self, size: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
        chart = self.chart.properties(description=self.description)
        # vl-convert makes NaN null without a word: hence the check here.
        return {**all_shown(chart.to_dict()), **size, "config": config}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure for a paper; the ending of the name says which of `FIGURE_FORMATS`.

    Raises:
        InputError: another ending.
        OutputError: it cannot be written.
        MachineError: Memory is lacking.
    """
    spec, format = figure.paper_spec(), path.suffix.removeprefix(".").lower()
    match format:
        case "svg":
            data = vega("vegalite_to_svg", spec).encode()
        case "png":
            data = vega("vegalite_to_png", spec, scale=_PNG_SCALE)
        case "pdf":
            data = vega("vegalite_to_pdf", spec)
        case _:
            raise unknown_name("figure format", format, FIGURE_FORMATS, where=path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)


def _config(ink: str, font: str, size: int) -> dict[str, Any]:
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": size, "titleFontSize": size}
    faint = {"gridColor": ink, "gridOpacity": 0.15, "domainColor": ink, "tickColor": ink}
    return {
        "font": font,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {**text, **faint, "titleFontWeight": "normal", "labelLimit": 150},
        "legend": {**text, "titleFontWeight": "normal", "symbolLimit": 0, "labelLimit": 260},
        "header": text,
        "title": {"color": ink, "fontSize": size, "fontWeight": "normal"},
        "text": {"color": ink, "fontSize": size},
        "rule": {"color": ink},
        "bar": {"color": COLORS[0]},
        "line": {"color": COLORS[0]},
        "point": {"color": COLORS[0], "filled": True},
        "range": {"category": list(COLORS)},
    }
