"""The page of all groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from noctule.errors import shown
from noctule.leaderboard.entries import Entry, Group, headline
from noctule.leaderboard.figures import group_figure
from noctule.leaderboard.tracks import Landmark
from noctule.metrics import METRICS, Metric
from noctule.report.formatting import UNDEFINED, estimate_texts
from noctule.report.page import render_template
from noctule.report.table import Cell, Column, Row, Table

PUBLISHED = "as published"
MODELS_FOLDER = "models"


def index_page(groups: Sequence[Group], title: str) -> str:
    """All groups, each with a chart and a table that sorts and filters."""
    names = _headings(groups)
    sections = [
        _section(group, name, number)
        for number, (group, name) in enumerate(zip(groups, names, strict=True), 1)
    ]
    figures = [section["figure"] for section in sections if section["figure"] is not None]
    return render_template(
        "leaderboard.html",
        title=title,
        figures=figures,
        scripts=["leaderboard.js"],
        sections=sections,
        kinds=sorted({section["kind"] for section in sections}),
    )


def plain(text: object) -> str:
    """Text on one line, as a browser compares it."""
    return " ".join(shown(text).split())


def _headings(groups: Sequence[Group]) -> list[str]:
    """What groups are called; those that would be called the same say what differs."""
    short = [_short_heading(group) for group in groups]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else f"{name} ({_differing(group)})"
        for name, group in zip(short, groups, strict=True)
    ]


def _short_heading(group: Group) -> str:
    return f"{group.benchmark.title} on {plain(group.data)}"


def _differing(group: Group) -> str:
    """What groups of one title may differ in."""
    if not group.entries:
        return "published"
    one, seed = group.entries[0], group.seed
    kind, _, data = one.data.partition(" ")
    told = data[:8] if kind == "fingerprint" else f"of {kind} {data}"
    return f"{group.images:,} images, seed {seed}, data {told}, benchmark {one.digest[:8]}"


def _section(group: Group, heading: str, number: int) -> dict[str, Any]:
    metric = _metric(group)
    kept = [one for one in group.landmarks if METRICS[one.metric] is metric]
    figure = group_figure(group, kept, metric, number) if group.entries else None
    return {
        "id": f"group-{number}",
        "heading": heading,
        "kind": _short_heading(group),
        "group": group,
        "figure": figure,
        "table": _group_table(group, kept, metric, number),
        "formula": metric.formula,
        "reference": group.entries[0].scores.reference if group.entries else None,
        "sources": _sources(kept),
        "confidence": f"{100 * group.entries[0].scores.confidence:g} %"
        if group.entries
        else "",
    }


def _sources(landmarks: Sequence[Landmark]) -> list[tuple[str, str]]:
    """(titles, source) for each source."""
    by_source: dict[str, list[str]] = {}
    for one in landmarks:
        by_source.setdefault(one.source, []).append(one.title)
    return [(", ".join(titles), source) for source, titles in by_source.items()]


def _metric(group: Group) -> Metric:
    if group.entries:
        return headline(group.entries)
    return METRICS[group.landmarks[0].metric]


def _group_table(
    group: Group, landmarks: Sequence[Landmark], metric: Metric, number: int
) -> Table:
    rows = [(_landmark_key(one), _landmark_row(one)) for one in landmarks]
    rows += [(_key(one, metric), _entry_row(one, metric)) for one in group.entries]
    rows.sort(key=lambda pair: pair[0])
    columns = [
        Column("model"),
        Column("architecture"),
        Column("training data"),
        Column(f"{metric.mean_title} {metric.unit}", 1, note="With its interval."),
        Column("clean error %", 1, 100),
        Column("mean error %", 1, 100),
        Column("images", 0),
        Column("track"),
        Column("checked", note="Lines of a submission that hold; see the model's page."),
    ]
    # Landmarks have one score each: where they are alone, two columns would be empty.
    kept = range(len(columns)) if group.entries else (0, 1, 2, 3, 6, 7, 8)
    return Table(
        name=f"table-{number}",
        title=f"{group.benchmark.title} on {plain(group.data)}: lower is better.",
        columns=[columns[index] for index in kept],
        rows=[replace(row, values=[row.values[index] for index in kept]) for _, row in rows],
        searchable=len(rows) > 5,
        filters=("architecture", "training data", "track"),
    )


def _key(entry: Entry, metric: Metric) -> float:
    return metric.scale * (entry.scores.of(metric.name).value or 0.0)


def _landmark_key(landmark: Landmark) -> float:
    return landmark.value


def _entry_row(entry: Entry, metric: Metric) -> Row:
    scores = entry.scores
    value, interval = estimate_texts(scores.of(metric.name), metric.digits, scale=metric.scale)
    ranking = value if interval in ("", UNDEFINED) else f"{value} ({interval})"
    texts = [plain(one) for one in (entry.title, entry.architecture, entry.training_data)]
    track = entry.track_title or "no track"
    values = (
        *texts,
        Cell(_key(entry, metric), ranking),
        scores.of("error", "clean").value if scores.has_clean else None,
        scores.of("error").value,
        scores.num_images,
        track,
        entry.status,
    )
    facets = {"architecture": texts[1], "training data": texts[2], "track": track}
    return Row(values, link=f"{MODELS_FOLDER}/{entry.page}", facets=facets)


def _landmark_row(landmark: Landmark) -> Row:
    texts = (landmark.title, landmark.architecture, landmark.training_data)
    digits = 0 if landmark.value == int(landmark.value) and not landmark.ces else 1
    value = Cell(landmark.value, digits=digits)
    values = (*texts, value, None, None, landmark.images, PUBLISHED, "not recomputed")
    facets = {"architecture": texts[1], "training data": texts[2], "track": PUBLISHED}
    return Row(values, facets=facets)
