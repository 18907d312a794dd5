"""The charts of the site."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import altair as alt

from noctule.errors import shown
from noctule.leaderboard.entries import Entry, Group
from noctule.leaderboard.tracks import Landmark
from noctule.metrics import Estimate, Metric, Scores
from noctule.report.charts import COLORS, Figure, axis_ends

MOST_MODELS = 25
_STEP_PX = 22
_OURS, _PUBLISHED = "recomputed", "as published"


def group_figure(
    group: Group, landmarks: Sequence[Landmark], metric: Metric, number: int
) -> Figure:
    """The ranking score of the best models with its interval; landmarks as diamonds."""
    ranking = _ranking(group, landmarks, metric)
    records = ranking[:MOST_MODELS]
    interval = f"{100 * group.entries[0].scores.confidence:g} %"
    base = alt.Chart(alt.InlineData(values=records)).encode(
        y=alt.Y("model:N", sort=None, title=None)
    )
    kinds = [_OURS, *([_PUBLISHED] if landmarks else [])]
    legend = alt.Legend(title=None, orient="top") if landmarks else None
    ends = axis_ends(
        [one["value"] for one in records],
        [one[end] for one in records for end in ("low", "high") if one[end] is not None],
    )
    scale_x = alt.Scale(zero=False, nice=True)
    if ends is not None:
        scale_x = alt.Scale(domain=list(ends), clamp=True, nice=True, zero=False)
    title = metric.mean_title
    unit = f"{title}, {metric.unit}"
    points = base.mark_point(size=70, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title=unit, scale=scale_x),
        shape=alt.Shape(
            "kind:N", legend=legend,
            scale=alt.Scale(domain=kinds, range=["circle", "diamond"][: len(kinds)]),
        ),
        color=alt.Color(
            "kind:N", legend=legend,
            scale=alt.Scale(domain=kinds, range=list(COLORS[: len(kinds)])),
        ),
        tooltip=["model:N", alt.Tooltip("value:Q", format=".1f")],
    )  # fmt: skip
    bounds = [one for one in records if one["low"] is not None]
    layers = points
    if bounds:  # an axis of nothing but empty values is infinite
        rules = alt.Chart(alt.InlineData(values=bounds)).mark_rule()
        layers = rules.encode(y=alt.Y("model:N", sort=None), x="low:Q", x2="high:Q") + points
    best = f"The best {MOST_MODELS} models. " if len(ranking) > MOST_MODELS else ""
    notes = " Diamonds: as published, not recomputed." if landmarks else ""
    notes += " What is off the scale is drawn at its edge." if ends is not None else ""
    return Figure(
        name=f"ranking-{number}",
        caption=f"{best}{title[:1].upper()}{title[1:]}"
        f"{f' with {interval} CIs over images' if bounds else ''}; lower is better.{notes}",
        description=f"One point for each of {len(records)} models; the table below holds the "
        "numbers.",
        chart=layers.properties(height=alt.Step(_STEP_PX)),
    )


def model_figure(scores: Scores) -> Figure:
    """Error by corruption with its interval, and the clean error as a dashed line."""
    records = [_record(name, scores.of("error", name), 100) for name in scores.corruptions]
    base = alt.Chart(alt.InlineData(values=records)).encode(
        y=alt.Y("name:N", sort=None, title=None)
    )
    points = base.mark_point(size=60, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title="error, %", scale=alt.Scale(domain=[0, 100])),
        tooltip=["name:N", alt.Tooltip("value:Q", format=".1f")],
    )
    rules = (
        base.transform_filter("isValid(datum.low)").mark_rule().encode(x="low:Q", x2="high:Q")
    )
    layers, clean = rules + points, ""
    if scores.has_clean:
        value = 100 * (scores.of("error", "clean").value or 0.0)
        dashed = alt.Chart(alt.InlineData(values=[{"clean": value}])).mark_rule(
            strokeDash=[4, 4]
        )
        layers = dashed.encode(x="clean:Q") + layers
        clean = f" The dashed line is the clean error, {value:.1f} %."
    return Figure(
        name="errors",
        caption=f"Error by corruption, with {100 * scores.confidence:g} % CIs over "
        f"images.{clean}",
        description=f"One point for each of {len(records)} corruptions with its interval; the "
        "table below holds the numbers.",
        chart=layers.properties(height=alt.Step(_STEP_PX)),
    )


def _ranking(
    group: Group, landmarks: Sequence[Landmark], metric: Metric
) -> list[dict[str, Any]]:
    names = _own_names(group.entries, landmarks)
    records = []
    for entry, name in zip(group.entries, names, strict=False):
        one = _record(name, entry.scores.of(metric.name), metric.scale)
        records.append({**one, "model": name, "kind": _OURS})
    for landmark, name in zip(landmarks, names[len(group.entries) :], strict=True):
        one = _record(name, Estimate(landmark.value, None, None), 1)
        records.append({**one, "model": name, "kind": _PUBLISHED})
    return sorted(records, key=lambda record: record["value"])


def _own_names(entries: Sequence[Entry], landmarks: Sequence[Landmark]) -> list[str]:
    """Titles for an axis: a second one of the same title is numbered, past those taken."""
    given = [*(one.title for one in entries), *(one.title for one in landmarks)]
    titles = [" ".join(shown(title).split()) for title in given]
    taken = set(titles)
    names: list[str] = []
    for index, title in enumerate(titles):
        name = title
        if title in titles[:index]:
            numbered = (f"{title} ({number})" for number in itertools.count(2))
            name = next(one for one in numbered if one not in taken)
        taken.add(name)
        names.append(name)
    return names


def _record(name: str, estimate: Estimate, scale: float) -> dict[str, Any]:
    ends = (estimate.value, estimate.low, estimate.high)
    scaled = [None if one is None else scale * one for one in ends]
    return {"name": name, "value": scaled[0], "low": scaled[1], "high": scaled[2]}
