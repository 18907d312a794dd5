"""The other charts of a study's page: what training bought, and how benchmarks do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from noctule.report.formatting import estimate_texts, number
from noctule.report.study_page.findings import Gain
from noctule.report.web.figures import COLORS, Figure
from noctule.report.web.text import shown
from noctule.studies.design import DesignScores

_STEP = 26
_MODELS = ("standard network", "trained with it")
_MEASURES = ("coverage", "balance", "redundancy")
_SHAPES = ("circle", "diamond", "cross")


def gains_figure(gains: Sequence[Gain], confidence: float) -> Figure:
    """Accuracy under each corruption, without and with training on it; largest gain first."""
    ordered = sorted(gains, key=lambda one: -(one.gain.value or 0.0))
    records = [
        {
            "candidate": shown(one.candidate),
            "model": model,
            "accuracy": 100 * (estimate.value or 0.0),
            "low": None if estimate.low is None else 100 * estimate.low,
            "high": None if estimate.high is None else 100 * estimate.high,
            "text": f"{estimate_texts(estimate)[0]} %",
            "interval": estimate_texts(estimate)[1],
            "gain": f"{estimate_texts(one.gain)[0]} points",
        }
        for one in ordered
        for model, estimate in zip(_MODELS, (one.standard, one.own), strict=True)
    ]
    names = [shown(one.candidate) for one in ordered]
    x = alt.X(
        "accuracy:Q", title="accuracy under the corruption, %", axis=alt.Axis(tickCount=8)
    )
    y = alt.Y(
        "candidate:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=True)
    )
    base = alt.Chart({"values": records}).encode(y=y, yOffset=_offset("model", _MODELS))
    bounds = base.transform_filter("datum.low !== null").mark_rule(aria=False)
    marks = base.mark_point(size=80, opacity=1).encode(
        x=x,
        tooltip=[
            alt.Tooltip("candidate:N", title="under"),
            alt.Tooltip("model:N", title="network"),
            alt.Tooltip("text:N", title="accuracy"),
            alt.Tooltip("interval:N", title=f"{100 * confidence:g} % CI"),
            alt.Tooltip("gain:N", title="gain"),
        ],
        **_look("model", _MODELS),
    )
    lines = bounds.encode(x=alt.X("low:Q"), x2="high:Q")
    chart = alt.LayerChart(layer=[lines, marks], height={"step": _STEP, "for": "position"})
    return Figure(
        "gains",
        "Accuracy under each corruption of the standard network and of the one trained with "
        f"it, the largest gain first; lines are {100 * confidence:g} % CIs.",
        "For each corruption two accuracies: of the standard network and of the network "
        "trained with the corruption. The table below holds the numbers.",
        chart,
    )


def benchmarks_figure(rows: Sequence[tuple[str, DesignScores]]) -> Figure:
    """Coverage, balance and redundancy of several benchmarks, side by side."""
    records = [
        {"benchmark": name, "measure": measure, "value": value, "text": number(value, 3)}
        for name, scores in rows
        for measure, value in zip(
            _MEASURES, (scores.coverage, scores.balance, scores.redundancy), strict=True
        )
        if value is not None
    ]
    y = alt.Y(
        "benchmark:N",
        title=None,
        scale=alt.Scale(domain=[name for name, _ in rows]),
        axis=alt.Axis(grid=True, labelLimit=200),
    )
    chart = (
        alt.Chart({"values": records})
        .mark_point(size=80, opacity=1)
        .encode(
            x=alt.X(
                "value:Q",
                title="share, 0 to 1",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(tickCount=5),
            ),
            y=y,
            tooltip=[
                alt.Tooltip("benchmark:N", title="benchmark"),
                alt.Tooltip("measure:N", title="measure"),
                alt.Tooltip("text:N", title="share"),
            ],
            **_look("measure", _MEASURES),
        )
        .properties(height=alt.Step(34))
    )
    return Figure(
        "benchmarks",
        "Coverage and balance, the more the better, and redundancy, the less the better.",
        "For each benchmark its coverage, balance and redundancy among the candidates. The "
        "table below holds the numbers.",
        chart,
    )


def _offset(field: str, values: Sequence[str]) -> alt.YOffset:
    return alt.YOffset(f"{field}:N", scale=alt.Scale(domain=list(values), paddingOuter=0.6))


def _look(field: str, values: Sequence[str]) -> dict[str, Any]:
    """A colour and a shape for each value."""
    names, count = list(values), len(values)
    legend = alt.Legend(title=None, orient="top", columns=1)
    return {
        "color": alt.Color(
            f"{field}:N",
            scale=alt.Scale(domain=names, range=list(COLORS[:count])),
            legend=legend,
        ),
        "shape": alt.Shape(
            f"{field}:N",
            scale=alt.Scale(domain=names, range=list(_SHAPES[:count])),
            legend=legend,
        ),
    }
