"""The figures of one run and of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from noctule.metrics import Estimate
from noctule.report.run_page.details import Bin
from noctule.report.web.figures import COLORS, Figure, axis_ends

STEP_PX = 20
_TICKS = 8
_SERIES = ("clean", "corrupted")


class Dot(NamedTuple):
    """One row of a dot chart; the estimate has a value."""

    label: str
    estimate: Estimate
    scale: float = 1.0


class Mark(NamedTuple):
    """A dashed line across a dot chart."""

    at: float
    meaning: str


def dot_chart(
    name: str,
    dots: Sequence[Dot],
    *,
    axis: str,
    caption: str,
    description: str,
    mark: Mark | None = None,
) -> Figure:
    """Dots with intervals, a row each, in the order given; without a value there is no row.

    What is far from all others is drawn at the edge, and the caption has its value.
    """
    records = [_dot_record(dot) for dot in dots if dot.estimate.value is not None]
    bounds = [one for one in records if one["low"] is not None]
    ends = axis_ends(
        [one["value"] for one in records],
        [one[end] for one in bounds for end in ("low", "high")],
        [] if mark is None else [mark.at],
    )
    x = alt.X("value:Q", title=axis, scale=_scale(ends), axis=alt.Axis(tickCount=_TICKS))
    y = alt.Y(
        "label:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=[one["label"] for one in records]),
        axis=alt.Axis(grid=True, ticks=False, labelPadding=6),
    )
    base = alt.Chart(alt.InlineData(values=records)).encode(y=y)
    layers: list[alt.Chart] = []
    if mark is not None:
        line = alt.Chart(alt.InlineData(values=[{"at": mark.at}]))
        layers.append(line.mark_rule(strokeDash=[4, 3], aria=False).encode(x="at:Q"))
    if bounds:
        rules = alt.Chart(alt.InlineData(values=bounds)).mark_rule(
            color=COLORS[0], strokeWidth=2, aria=False
        )
        layers.append(rules.encode(y=y, x=alt.X("low:Q", title=axis), x2="high:Q"))
    caption += _off_the_scale(ends, [(one["label"], one["value"]) for one in records])
    layers.append(
        base.mark_point(size=55, opacity=1).encode(
            x=x, tooltip=[alt.Tooltip("label:N", title=" "), alt.Tooltip("text:N", title=axis)]
        )
    )
    if mark is not None:
        caption = f"{caption} The dashed line is {mark.meaning}."
    chart = layered(*layers).properties(height=alt.Step(STEP_PX))
    return Figure(name, caption, description, chart)


def _scale(ends: tuple[float, float] | None) -> alt.Scale:
    if ends is None:
        return alt.Scale(zero=False)
    return alt.Scale(domain=list(ends), clamp=True, nice=True, zero=False)


def _off_the_scale(
    ends: tuple[float, float] | None, values: Sequence[tuple[str, float]]
) -> str:
    """A sentence, with a space in front, on what is drawn at the edge."""
    if ends is None:
        return ""
    far = [f"{name} {value:.1f}" for name, value in values if not ends[0] <= value <= ends[1]]
    which = f" Off the scale, at its edge: {', '.join(far)}." if far else ""
    return which or " Intervals that go beyond the scale end at its edge."


def _dot_record(dot: Dot) -> dict[str, Any]:
    value, low, high = (
        None if one is None else dot.scale * one
        for one in (dot.estimate.value, dot.estimate.low, dot.estimate.high)
    )
    text = f"{value:.1f}" if low is None else f"{value:.1f} ({low:.1f} to {high:.1f})"
    return {"label": dot.label, "value": value, "low": low, "high": high, "text": text}


def severity_chart(
    name: str, corruption: str, severities: Sequence[tuple[int, Estimate]], clean: float | None
) -> Figure:
    """Accuracy against the severity of one corruption, small; the clean accuracy is a line."""
    records = [
        {
            "severity": severity,
            "value": 100 * (one.value or 0.0),
            "low": None if one.low is None else 100 * one.low,
            "high": None if one.high is None else 100 * one.high,
        }
        for severity, one in severities
    ]
    x = alt.X("severity:O", title="severity", axis=alt.Axis(labelAngle=0))
    y = alt.Y("value:Q", title="accuracy, %", scale=alt.Scale(domain=[0, 100]))
    base = alt.Chart(alt.InlineData(values=records)).encode(x=x)
    layers: list[alt.Chart] = [
        base.mark_line(strokeWidth=1.5, aria=False).encode(y=y),
        base.mark_point(size=35, opacity=1).encode(
            y=y, tooltip=[alt.Tooltip("severity:O"), alt.Tooltip("value:Q", format=".1f")]
        ),
    ]
    if bounds := [one for one in records if one["low"] is not None]:
        rules = alt.Chart(alt.InlineData(values=bounds)).mark_rule(
            color=COLORS[0], strokeWidth=2, aria=False
        )
        layers.append(rules.encode(x=x, y=alt.Y("low:Q", title="accuracy, %"), y2="high:Q"))
    if clean is not None:
        line = alt.Chart(alt.InlineData(values=[{"at": 100 * clean}]))
        layers.insert(0, line.mark_rule(strokeDash=[4, 3], aria=False).encode(y="at:Q"))
    values = ", ".join(f"{one['value']:.0f} %" for one in records)
    return Figure(
        name,
        corruption,
        f"Accuracy under {corruption} from severity {severities[0][0]} to "
        f"{severities[-1][0]}: {values}.",
        layered(*layers).properties(height=110),
    )


def reliability_figures(
    prefix: str, bins: Sequence[tuple[str, Sequence[Bin]]]
) -> tuple[Figure, Figure]:
    """Accuracy against confidence, and how many outcomes are in each bin.

    Args:
        prefix: of the figures' names.
        bins: by series, "clean" and "corrupted".
    """
    records = [_bin_record(series, found, one) for series, found in bins for one in found]
    data, look = alt.InlineData(values=records), _look([series for series, _ in bins])
    percent = alt.Scale(domain=[0, 100])
    corners = alt.InlineData(values=[{"at": 0}, {"at": 100}])
    diagonal = (
        alt.Chart(corners)
        .mark_line(strokeDash=[4, 3], strokeWidth=1, color="gray", aria=False)
        .encode(x=alt.X("at:Q"), y=alt.Y("at:Q"))
    )
    base = (
        alt.Chart(data)
        .transform_filter("datum.count > 0")
        .encode(
            x=alt.X("confidence:Q", title="mean confidence in the bin, %", scale=percent),
            y=alt.Y("accuracy:Q", title="accuracy in the bin, %", scale=percent),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("count:Q", format=",")],
        )
    )
    lines = base.mark_line(strokeWidth=1.5, aria=False).encode(color=look["color"])
    points = base.mark_point(size=50, opacity=1).encode(**look)
    counted = (
        alt.Chart(data)
        .transform_filter("datum.count > 0")
        .encode(
            x=alt.X("middle:Q", title="confidence, %", scale=percent),
            y=alt.Y(
                "share:Q",
                title="outcomes in the bin, %",
                scale=alt.Scale(type="log", domain=[_least_share(bins), 100]),
                axis=alt.Axis(values=[0.001, 0.01, 0.1, 1, 10, 100], format="~g"),
            ),
            tooltip=[alt.Tooltip("series:N"), alt.Tooltip("count:Q", format=",")],
        )
    )
    shares = layered(
        counted.mark_line(strokeWidth=1.5, aria=False).encode(color=look["color"]),
        counted.mark_point(size=50, opacity=1).encode(**look),
    )
    return (
        Figure(
            f"{prefix}reliability",
            "Reliability: accuracy of the outcomes in each of 15 bins of confidence. On the "
            "dashed diagonal confidence is what it says; below it the model is overconfident.",
            "Accuracy against confidence in 15 bins, for clean and for corrupted images. The "
            "table of bins holds the numbers.",
            layered(diagonal, lines, points).properties(height=260),
        ),
        Figure(
            f"{prefix}confidences",
            "How the outcomes are spread over the bins, as a share of each series, on a "
            "logarithmic axis. Bins of few outcomes say little about reliability.",
            "Share of outcomes in each bin of confidence, for clean and for corrupted images. "
            "The table of bins holds the counts.",
            shares.properties(height=260),
        ),
    )


def _least_share(bins: Sequence[tuple[str, Sequence[Bin]]]) -> float:
    """In percent and at most 10, so that a logarithmic axis has a length."""
    counts = [[one.num_outcomes for one in found if one.num_outcomes] for _, found in bins]
    return min([10.0, *(100 * min(some) / sum(some) for some in counts if some)])


def _bin_record(series: str, found: Sequence[Bin], one: Bin) -> dict[str, object]:
    return {
        "series": series,
        "middle": 50 * (one.low + one.high),
        "confidence": None if one.confidence is None else 100 * one.confidence,
        "accuracy": None if one.accuracy is None else 100 * one.accuracy,
        "count": one.num_outcomes,
        "share": 100 * one.num_outcomes / max(1, sum(other.num_outcomes for other in found)),
    }


def severity_marks_chart(
    name: str,
    rows: Sequence[tuple[str, int, float]],
    *,
    axis: str,
    caption: str,
    description: str,
    mark: Mark | None,
) -> Figure:
    """Values by corruption and severity: each is marked with the number of its severity."""
    records = [
        {"label": corruption, "severity": str(severity), "value": value}
        for corruption, severity, value in rows
    ]
    names = list(dict.fromkeys(corruption for corruption, _, _ in rows))
    base = alt.Chart(alt.InlineData(values=records)).encode(
        x=alt.X("value:Q", title=axis, axis=alt.Axis(tickCount=_TICKS)),
        y=alt.Y(
            "label:N",
            title=None,
            scale=alt.Scale(domain=names),
            axis=alt.Axis(grid=True, ticks=False, labelPadding=6),
        ),
        tooltip=[
            alt.Tooltip("label:N", title=" "),
            alt.Tooltip("severity:N"),
            alt.Tooltip("value:Q", title=axis, format=".1f"),
        ],
    )
    layers: list[alt.Chart] = [base.mark_text().encode(text="severity:N")]
    if mark is not None:
        line = alt.Chart(alt.InlineData(values=[{"at": mark.at}]))
        layers.insert(0, line.mark_rule(strokeDash=[4, 3], aria=False).encode(x="at:Q"))
        caption = f"{caption} The dashed line is {mark.meaning}."
    chart = layered(*layers).properties(height=alt.Step(STEP_PX))
    return Figure(name, caption, description, chart)


def _look(series: Sequence[str]) -> dict[str, Any]:
    """A colour and a shape for each series."""
    colors = [COLORS[_SERIES.index(one)] for one in series]
    shapes = [("circle", "triangle-up")[_SERIES.index(one)] for one in series]
    legend = alt.Legend(title=None, orient="top")
    return {
        "color": alt.Color(
            "series:N", scale=alt.Scale(domain=list(series), range=colors), legend=legend
        ),
        "shape": alt.Shape(
            "series:N", scale=alt.Scale(domain=list(series), range=shapes), legend=legend
        ),
    }


def layered(*layers: alt.Chart) -> alt.LayerChart:
    """One chart of several, the first at the bottom."""
    chart = alt.layer(*layers)
    assert isinstance(chart, alt.LayerChart)  # facets would come of faceted layers only
    return chart
