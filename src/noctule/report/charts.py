"""Charts for pages and papers: dots with intervals, lines, and heat maps.

All charts are Vega-Lite, built with Altair. One description gives the interactive chart of a
page and, through vl-convert, which needs no browser, the SVG, PNG and PDF files for a paper.
"""

from __future__ import annotations

import io
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
from PIL import Image

from noctule.errors import shown, unknown_name
from noctule.metrics.estimates import Estimate
from noctule.report.formatting import estimate_texts, number
from noctule.report.vega import vega
from noctule.store.disk import output_errors, write_atomically

FIGURE_FORMATS = ("svg", "png", "pdf")
# Okabe and Ito's colours, distinguishable with any colour vision, in the order of use. Their
# yellow and black are left out: one is lost on white, the other on black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("circle", "diamond", "triangle-up", "cross")
COLUMN_WIDTH_PT = 245  # of a two-column paper, 3.4 inches
_NOTEBOOK_WIDTH_PX = 480
_PNG_SCALE = 300 / 72  # 300 dots to the inch at that width
_FIT = {"autosize": {"type": "fit-x", "contains": "padding"}}
_PAGE_FONT = "system-ui, sans-serif"
_PAPER_FONT = "Helvetica, Arial, sans-serif"
_STEP_PX = 20
_CELL_PX = 40
_TICKS = 5
# A heat map with more rows or columns than this has no room for numbers in its cells.
_MOST_ROWS_WITH_NUMBERS, _MOST_COLUMNS_WITH_NUMBERS = 40, 8
_LINE_LOOK: dict[str, Any] = {"strokeDash": [4, 3], "aria": False}

Record = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A chart that can stand in a page and in a paper.

    Attributes:
        name: Its id in a page and the name of its files: letters, digits and hyphens.
        caption: What it shows, and what its marks and intervals mean.
        description: What a reader who cannot see it should know.
        chart: An Altair chart without width and configuration; lengths along y are steps or
            fixed. Data are plain records, so that it needs no data frames.
        responsive: Whether its width follows the page's; not for charts of fixed width.
        step_px: Width of each position along x in a page, where following the page's width
            would squeeze them; the chart scrolls. In a paper it is a column wide anyway.
        paper_chart: The chart for a paper, where that needs another geometry.
    """

    name: str
    caption: str
    description: str
    chart: alt.Chart | alt.LayerChart
    responsive: bool = True
    step_px: int | None = None
    paper_chart: alt.Chart | alt.LayerChart | None = None
    kind = "figure"

    @property
    def scrolls(self) -> bool:
        """Whether it may be wider than the page."""
        return not self.responsive or self.step_px is not None

    def page_spec(self) -> Record:
        """Vega for a page: as wide as its container, in the colour of the text.

        It is compiled here, so that a flawed chart fails now and not in the reader's browser.
        """
        size: Record = {"width": "container", **_FIT} if self.responsive else {}
        if self.step_px is not None:
            size = {"width": {"step": self.step_px}}
        spec = self._spec(self.chart, size, _config("currentColor", _PAGE_FONT, 12))
        compiled: Record = vega("vegalite_to_vega", spec)
        return compiled

    def paper_spec(self) -> Record:
        """Vega-Lite for a paper: black on white, a column wide in all, in 8 point."""
        size = {"width": COLUMN_WIDTH_PT, **_FIT} if self.responsive else {}
        config = {**_config("black", _PAPER_FONT, 8), "background": "white"}
        return self._spec(self.paper_chart or self.chart, size, config)

    def notebook_chart(self) -> alt.Chart | alt.LayerChart:
        """The chart for a notebook, where its own renderer draws it."""
        config = {**_config("black", _PAGE_FONT, 12), "background": "white"}
        size: Record = {"width": _NOTEBOOK_WIDTH_PX} if self.responsive else {}
        chart = self.chart.properties(description=self.description, **size)
        configured: alt.Chart | alt.LayerChart = chart.configure(**config)
        return configured

    def notebook_png(self, scale: float = 2.0) -> bytes:
        """The chart for a notebook as PNG, `scale` times as large as it is to be shown."""
        spec = _all_shown(self.notebook_chart().to_dict())
        buffer = io.BytesIO()  # written again by Pillow, it is a tenth as large
        with Image.open(io.BytesIO(vega("vegalite_to_png", spec, scale=scale))) as image:
            image.convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def _spec(self, chart: alt.Chart | alt.LayerChart, size: Record, config: Record) -> Record:
        data = chart.properties(description=self.description).to_dict()
        # vl-convert silently turns NaN into null: hence the check in `_all_shown`.
        return {**_all_shown(data), **size, "config": config}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure for a paper in the format that the path ends in, of `FIGURE_FORMATS`.

    Raises:
        InputError: The path has another ending.
        OutputError: The file cannot be written.
        MachineError: There is too little memory.
    """
    format = path.suffix.removeprefix(".").lower()
    if format not in FIGURE_FORMATS:
        raise unknown_name("figure format", format, FIGURE_FORMATS, where=path)
    svg = _numbered_ids(vega("vegalite_to_svg", figure.paper_spec()))
    match format:
        case "svg":
            data = svg.encode()
        case "png":
            data = vega("svg_to_png", svg, scale=_PNG_SCALE)
        case "pdf":
            data = vega("svg_to_pdf", svg)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)


def _numbered_ids(svg: str) -> str:
    """An SVG whose ids do not depend on what the same process drew before."""
    ids = list(dict.fromkeys(re.findall(r' id="((?:clip|gradient_)\d+)"', svg)))
    numbers = {old: f"part{number}" for number, old in enumerate(ids)}
    return re.sub(r"\b(?:clip|gradient_)\d+\b", lambda one: numbers.get(one[0], one[0]), svg)


def _all_shown(data: Any) -> Any:
    """JSON-ready data without control characters in its texts.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not know.
    """
    if isinstance(data, dict):
        return {key: _all_shown(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_all_shown(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        raise ValueError(f"{data} is no JSON number: leave the record's field out, or null")
    return shown(data) if isinstance(data, str) else data


def axis_ends(
    values: Sequence[float], interval_ends: Sequence[float] = (), marks: Sequence[float] = ()
) -> tuple[float, float] | None:
    """Ends of an axis on which a single outlier would squeeze all other values.

    An outlier is further from the median than 8 times the median distance from it, and than
    100 units or percentage points. Error rates have none, but a score that divides by a
    difference near 0 can be of any size. The axis has a length even if all other values are
    equal.

    Args:
        values: What is drawn.
        interval_ends: Ends of intervals, which may be outliers as well.
        marks: What has to be within the axis.

    Returns:
        The ends, or None without outliers.

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


class Dot(NamedTuple):
    """One dot of a dot chart.

    Attributes:
        label: Name of its row.
        estimate: Its value and interval.
        series: Which of the chart's series it belongs to.
        text: Drawn in place of the dot.
    """

    label: str
    estimate: Estimate
    series: str = ""
    text: str = ""


class Mark(NamedTuple):
    """A dashed line across a chart, and what it means."""

    at: float
    meaning: str


def dot_chart(
    name: str,
    dots: Sequence[Dot],
    *,
    axis: str,
    caption: str,
    description: str,
    scale: float = 100.0,
    digits: int = 1,
    mark: Mark | None = None,
    series: Sequence[str] = (),
    side_by_side: bool = False,
    domain: tuple[float, float] | None = None,
) -> Figure:
    """Dots with intervals, a row for each label, in the order given.

    Dots without a value are left out. Outliers are drawn at the edge, and the caption has
    their values.

    Args:
        name, caption, description: Of the figure.
        dots: What is drawn.
        axis: Title of the axis, with the unit.
        scale: Factor from the estimates to what is drawn.
        digits: Number of decimal places where the pointer is.
        mark: A dashed line.
        series: All series, in the order of their colours and shapes.
        side_by_side: Whether the series of a row have lines of their own.
        domain: Ends of the axis; by default they follow the values.
    """
    records = [
        _dot_record(dot, scale, digits) for dot in dots if dot.estimate.value is not None
    ]
    bounds = [record for record in records if record["low"] is not None]
    ends = axis_ends(
        [record["value"] for record in records],
        [record[end] for record in bounds for end in ("low", "high")],
        [] if mark is None else [mark.at],
    )
    x = alt.X(
        "value:Q", title=axis, scale=_scale(domain, ends), axis=alt.Axis(tickCount=_TICKS)
    )
    rows: Record = {"y": _rows(records)}
    if side_by_side:
        offset = alt.Scale(domain=list(series), paddingOuter=0.6)
        rows["yOffset"] = alt.YOffset("series:N", scale=offset)
    colored = _look(series)
    layers: list[alt.Chart] = []
    if mark is not None:
        layers.append(_chart([{"at": mark.at}]).mark_rule(**_LINE_LOOK).encode(x="at:Q"))
    if bounds:
        rules = _chart(bounds).mark_rule(color=COLORS[0], strokeWidth=2, aria=False)
        color = {"color": colored["color"]} if series else {}
        layers.append(rules.encode(x=alt.X("low:Q", title=axis), x2="high:Q", **rows, **color))
    tooltip = [alt.Tooltip("label:N", title=" "), alt.Tooltip("shown:N", title=axis)]
    if series:
        tooltip.insert(1, alt.Tooltip("series:N", title=" "))
    base = _chart(records)
    if any(dot.text for dot in dots):
        marks = base.mark_text().encode(x=x, tooltip=tooltip, text="text:N", **rows)
    else:
        marks = base.mark_point(size=60, opacity=1).encode(
            x=x, tooltip=tooltip, **rows, **colored
        )
    chart = layered(*layers, marks).properties(height=_row_height(len(series), side_by_side))
    caption += _off_the_scale(ends, [(one["label"], one["value"]) for one in records])
    return Figure(name, caption + _mark_sentence(mark), description, chart)


def _dot_record(dot: Dot, scale: float, digits: int) -> Record:
    one = dot.estimate
    value, extent = estimate_texts(one, digits, scale=scale)
    text = value if one.low is None or one.high is None else f"{value} ({extent})"
    record: Record = {"label": shown(dot.label)}
    for key, end in (("value", one.value), ("low", one.low), ("high", one.high)):
        record[key] = None if end is None else scale * end
    return {**record, "series": dot.series, "text": dot.text, "shown": text}


def _rows(records: Sequence[Record]) -> alt.Y:
    labels = list(dict.fromkeys(record["label"] for record in records))
    axis = alt.Axis(grid=True, ticks=False, labelPadding=6, labelLimit=260)
    return alt.Y("label:N", title=None, sort=None, scale=alt.Scale(domain=labels), axis=axis)


def _row_height(num_series: int, side_by_side: bool) -> Any:
    if side_by_side:
        return {"step": 13 * num_series, "for": "position"}
    return alt.Step(_STEP_PX)


def _scale(domain: tuple[float, float] | None, ends: tuple[float, float] | None) -> alt.Scale:
    if domain is not None:
        return alt.Scale(domain=list(domain))
    if ends is None:
        return alt.Scale(zero=False)
    return alt.Scale(domain=list(ends), clamp=True, nice=True, zero=False)


def _off_the_scale(
    ends: tuple[float, float] | None, values: Sequence[tuple[str, float]]
) -> str:
    """A sentence, with a space in front, about what is drawn at the edge."""
    if ends is None:
        return ""
    far = [
        f"{name} {number(value)}" for name, value in values if not ends[0] <= value <= ends[1]
    ]
    sentence = f" Off the scale, at its edge: {', '.join(far)}." if far else ""
    return sentence or " Intervals that go beyond the scale end at its edge."


def _mark_sentence(mark: Mark | None) -> str:
    return "" if mark is None else f" The dashed line is {mark.meaning}."


class LineAxis(NamedTuple):
    """An axis of a line chart.

    Attributes:
        title: Title, with the unit.
        domain: Its ends; by default they follow the values.
        discrete: Whether it has a label for each value and no others.
        log: Whether it is logarithmic.
    """

    title: str
    domain: tuple[float, float] | None = None
    discrete: bool = False
    log: bool = False


class Point(NamedTuple):
    """A point of a line, and what is said of it where the pointer is."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


def line_chart(
    name: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    x: LineAxis,
    y: LineAxis,
    caption: str,
    description: str,
    series: Sequence[str] = (),
    line_at: float | None = None,
    diagonal: bool = False,
    height_px: int = 260,
) -> Figure:
    """Lines through points with intervals.

    Args:
        name, caption, description: Of the figure.
        lines: Points by series.
        x, y: The axes.
        series: All series that charts of this kind have, in the order of their colours;
            without any there is no legend.
        line_at: Where there is a dashed line along x.
        diagonal: Whether there is a dashed line where x equals y.
        height_px: Height of the plot.
    """
    records = [
        {"series": which, **point._asdict()} for which, line in lines.items() for point in line
    ]
    look = _look(series, [one for one in series if one in lines])
    color = {"color": look["color"]} if series else {}
    along, up = _axis(alt.X, "x", x), _axis(alt.Y, "y", y)
    layers: list[alt.Chart] = []
    if diagonal and x.domain is not None:
        corners = [{"x": end, "y": end} for end in x.domain]
        layers.append(_chart(corners).mark_line(color="gray", **_LINE_LOOK).encode(along, up))
    if line_at is not None:
        layers.append(_chart([{"at": line_at}]).mark_rule(**_LINE_LOOK).encode(y="at:Q"))
    tooltip = [alt.Tooltip("text:N", title=" ")]
    base = _chart(records)
    layers += [
        base.mark_line(strokeWidth=1.5, aria=False).encode(along, up, **color),
        base.mark_point(size=40, opacity=1).encode(along, up, tooltip=tooltip, **look),
    ]
    if bounds := [record for record in records if record["low"] is not None]:
        rules = _chart(bounds).mark_rule(color=COLORS[0], strokeWidth=2, aria=False)
        layers.append(rules.encode(along, alt.Y("low:Q", title=y.title), y2="high:Q", **color))
    chart = layered(*layers).properties(height=height_px)
    return Figure(name, caption, description, chart)


def _axis(channel: type[alt.X] | type[alt.Y], field: str, axis: LineAxis) -> Any:
    look = alt.Axis(tickCount=_TICKS)
    if axis.discrete:
        look = alt.Axis(labelAngle=0)
    if axis.log:
        look = alt.Axis(values=[0.001, 0.01, 0.1, 1, 10, 100], format="~g")
    options: Record = {"title": axis.title, "axis": look}
    if axis.domain is not None:
        kind: Record = {"type": "log"} if axis.log else {}
        options["scale"] = alt.Scale(domain=list(axis.domain), **kind)
    return channel(f"{field}:{'O' if axis.discrete else 'Q'}", **options)


def heat_map(
    name: str,
    cells: Sequence[tuple[str, str, float | None]],
    *,
    measure: str,
    caption: str,
    description: str,
) -> Figure:
    """One value for each row and column, dark where it is large.

    Args:
        name, caption, description: Of the figure.
        cells: (row, column, value); what is not defined is left blank.
        measure: What the values are, with the unit.
    """
    rows = list(dict.fromkeys(row for row, _, _ in cells))
    columns = list(dict.fromkeys(column for _, column, _ in cells))
    defined = [value for _, _, value in cells if value is not None]
    ends = axis_ends(defined)
    low, high = ends or (min(defined, default=0.0), max(defined, default=1.0))
    if ends is not None:
        edges = f"{number(low, 0)} and {number(high, 0)}"
        caption += f" Colours end at {edges}; some values are beyond."
    dark = low + 0.65 * (high - low)  # from here on white stands out more than black
    records = [
        {
            "row": row, "column": column, "value": value, "text": number(value, 0),
            "shown": number(value), "ink": "white" if value > dark else "black",
        }
        for row, column, value in cells
        if value is not None
    ]  # fmt: skip
    bare: Record = {"ticks": False, "domain": False}
    base = _chart(records).encode(
        x=alt.X(
            "column:N", title=None, scale=alt.Scale(domain=columns),
            axis=alt.Axis(labelAngle=-45, orient="top", **bare),
        ),
        y=alt.Y(
            "row:N", title=None, scale=alt.Scale(domain=rows),
            axis=alt.Axis(labelPadding=6, labelLimit=260, **bare),
        ),
        tooltip=[
            alt.Tooltip("row:N", title=" "),
            alt.Tooltip("column:N", title=" "),
            alt.Tooltip("shown:N", title=measure),
        ],
    )  # fmt: skip
    color = alt.Color(
        "value:Q",
        title=measure,
        scale=alt.Scale(scheme="blues", domain=[low, high], clamp=True),
        legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=160),
    )
    layers = [base.mark_rect().encode(color=color)]
    if len(rows) <= _MOST_ROWS_WITH_NUMBERS and len(columns) <= _MOST_COLUMNS_WITH_NUMBERS:
        ink = alt.Color("ink:N", scale=None)
        layers.append(base.mark_text().encode(text="text:N", color=ink))
    # Room for the last of the slanted names.
    room = {"left": 5, "right": 36, "top": 5, "bottom": 5}
    chart = layered(*layers).properties(height=alt.Step(_STEP_PX + 2), padding=room)
    chart = chart.resolve_scale(color="independent")
    return Figure(name, caption, description, chart, step_px=_CELL_PX)


def layered(*layers: alt.Chart) -> alt.LayerChart:
    """One chart of several, the first at the bottom."""
    chart = alt.layer(*layers)
    assert isinstance(chart, alt.LayerChart)  # facets would come of faceted layers only
    return chart


def _chart(records: Sequence[Record]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(records)))


def _look(series: Sequence[str], present: Sequence[str] | None = None) -> Record:
    """A colour and a shape for each series; nothing without series."""
    if not series:
        return {}
    names = list(series if present is None else present)
    index = [list(series).index(name) for name in names]
    legend = alt.Legend(title=None, orient="top")
    color = alt.Scale(domain=names, range=[COLORS[i] for i in index])
    shape = alt.Scale(domain=names, range=[SHAPES[i] for i in index])
    return {
        "color": alt.Color("series:N", scale=color, legend=legend),
        "shape": alt.Shape("series:N", scale=shape, legend=legend),
    }


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
