"""The pages of the site: one with all rankings, and one for each model."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from noctule.errors import shown
from noctule.leaderboard.check_report import MARKS
from noctule.leaderboard.checks import images_of
from noctule.leaderboard.entries import Entry, EntryGroup, headline
from noctule.leaderboard.tracks import Landmark
from noctule.metrics import METRICS, Estimate, Metric, Scores
from noctule.metrics.scores import RANKING
from noctule.report.charts import Dot, Figure, Mark, dot_chart
from noctule.report.formatting import estimate_texts, interval_name, number, sentence
from noctule.report.page import (
    Block,
    Bullets,
    Chooser,
    CommandText,
    Facts,
    Heading,
    Link,
    Page,
    Section,
    Text,
    Tile,
    Tiles,
    render,
)
from noctule.report.scores import subset_notes
from noctule.report.table import Cell, Column, Row, Table
from noctule.store.comparability import live_fingerprint

MODELS_FOLDER = "models"
MAX_MODELS = 25
FACETS = ("architecture", "training data", "track")
RECOMPUTED, PUBLISHED = "recomputed", "as published"
NOT_RECORDED = "not recorded"
LEAD = (
    "Lower is better. All scores are recomputed from the stored outcomes of each model. Only "
    "models evaluated on the same benchmark and images are ranked together. If the intervals "
    "of two models overlap, their order is uncertain. A model's page lists what was checked."
)
CHECKED = (
    "A submission is under the control of its submitter. These checks find mistakes and "
    "inconsistencies; only running the model again shows that it produced the rows."
)
NOT_CHECKED = (
    "This is a run, not a submission. Its scores are recomputed from its rows; nothing else is "
    "checked."
)


def index_page(groups: Sequence[EntryGroup], title: str) -> str:
    """The page of all rankings, each with a chart and a table to sort and filter."""
    sections = [
        _section(group, heading, index)
        for index, (group, heading) in enumerate(zip(groups, _headings(groups), strict=True), 1)
    ]
    choices = sorted({section.choice for section in sections})
    blocks: list[Block] = [Text(LEAD)]
    if len(choices) > 1:
        blocks.append(Chooser("Benchmark and data", choices))
    blocks += sections
    page = Page(title, blocks, scripts=["leaderboard.js"], contents=len(sections) > 1)
    return render(page)


def _headings(groups: Sequence[EntryGroup]) -> list[str]:
    """The title of each group; equal titles are followed by what differs."""
    titles = [_title(group) for group in groups]
    counts = Counter(titles)
    return [
        title if counts[title] == 1 else f"{title} ({_differences(group)})"
        for title, group in zip(titles, groups, strict=True)
    ]


def _title(group: EntryGroup) -> str:
    return f"{group.benchmark.title} on {_plain(group.data)}"


def _plain(text: object) -> str:
    """Text on one line, as a browser compares it."""
    return " ".join(shown(text).split())


def _differences(group: EntryGroup) -> str:
    if not group.entries:
        return "published"
    first = group.entries[0]
    kind, _, data = first.data.partition(" ")
    data = data[:8] if kind == "fingerprint" else f"of {kind} {data}"
    images = f"{group.images:,} images, seed {group.seed}"
    return f"{images}, data {data}, benchmark {first.digest[:8]}"


def _section(group: EntryGroup, heading: str, index: int) -> Section:
    metric = _metric(group)
    landmarks = [one for one in group.landmarks if METRICS[one.metric] is metric]
    blocks: list[Block] = [
        Heading(heading, anchor=f"group-{index}"),
        Text(_description(group, metric), note=True),
    ]
    if group.entries:
        blocks.append(ranking_figure(group, landmarks, metric, index))
    blocks.append(_ranking_table(group, landmarks, metric, index))
    if landmarks:
        by_source: dict[str, list[str]] = {}
        for one in landmarks:
            by_source.setdefault(one.source, []).append(one.title)
        sources = [(", ".join(titles), f"{source}.") for source, titles in by_source.items()]
        blocks.append(Text("As published, not recomputed:", note=True))
        blocks.append(Bullets(sources, note=True))
    return Section(blocks, _title(group))


def _metric(group: EntryGroup) -> Metric:
    if group.entries:
        return headline(group.entries)
    return METRICS[group.landmarks[0].metric]


def _description(group: EntryGroup, metric: Metric) -> str:
    seed = "" if group.seed is None else f"seed {group.seed}, "
    text = (
        f"{group.images:,} images, {seed}mode {group.benchmark.mode}. "
        f"{sentence(metric.formula)}. E_c is the mean error over the severities of corruption "
        "c."
    )
    if group.entries:
        scores = group.entries[0].scores
        reference = f" CE is relative to {scores.reference}." if scores.reference else ""
        text += reference + "".join(f" {note}" for note in subset_notes(scores))
        if _has_interval(group, metric):
            text += f" {interval_name(scores.confidence)}s are over images."
    return text


def _has_interval(group: EntryGroup, metric: Metric) -> bool:
    return any(one.scores.of(metric.name).low is not None for one in group.entries)


def ranking_figure(
    group: EntryGroup, landmarks: Sequence[Landmark], metric: Metric, index: int
) -> Figure:
    """The ranking score of the best models with its interval."""
    estimates = [
        *((one.scores.of(metric.name), RECOMPUTED) for one in group.entries),
        *((Estimate(one.value / metric.scale, None, None), PUBLISHED) for one in landmarks),
    ]
    titles = [*(one.title for one in group.entries), *(one.title for one in landmarks)]
    dots = [
        Dot(name, estimate, kind if landmarks else "")
        for name, (estimate, kind) in zip(_distinct(titles), estimates, strict=True)
    ]
    dots.sort(key=lambda dot: dot.estimate.value or 0.0)
    best = f"The best {MAX_MODELS} models. " if len(dots) > MAX_MODELS else ""
    dots = dots[:MAX_MODELS]
    interval = interval_name(group.entries[0].scores.confidence)
    title = sentence(metric.mean_title) + (
        f" with {interval}" if _has_interval(group, metric) else ""
    )
    return dot_chart(
        f"ranking-{index}",
        dots,
        axis=f"{metric.mean_title}, {metric.unit}",
        caption=f"{best}{title}; lower is better.",
        description=f"A dot for each of {len(dots)} models; the table below lists the numbers.",
        scale=metric.scale,
        series=(RECOMPUTED, PUBLISHED) if landmarks else (),
    )


def _distinct(titles: Sequence[str]) -> list[str]:
    """Titles on one line; repeated ones are numbered, with numbers not used in a title."""
    plain = [_plain(title) for title in titles]
    taken = set(plain)
    names: list[str] = []
    for index, title in enumerate(plain):
        name = title
        if title in plain[:index]:
            numbered = (f"{title} ({count})" for count in itertools.count(2))
            name = next(candidate for candidate in numbered if candidate not in taken)
        taken.add(name)
        names.append(name)
    return names


def _ranking_table(
    group: EntryGroup, landmarks: Sequence[Landmark], metric: Metric, index: int
) -> Table:
    columns = [Column("model"), _score_column(group, metric)]
    error = METRICS["error"]
    if group.entries:
        columns.append(Column("clean error %", error.digits, error.scale))
        if metric is not error:
            columns.append(Column("mean error %", error.digits, error.scale))
    columns += [Column("architecture"), Column("training data"), Column("track")]
    columns.append(Column("checks", note="Of a submission; see the page of the model."))
    ranked = [(one.value, _landmark_row(one, group, metric)) for one in landmarks]
    for entry in group.entries:
        value = entry.scores.of(metric.name).value or 0.0
        ranked.append((metric.scale * value, _row(entry, metric)))
    ranked.sort(key=lambda pair: pair[0])
    rows = [row for _, row in ranked]
    return Table(
        f"{_title(group)}: lower is better.",
        columns,
        rows,
        name=f"table-{index}",
        searchable=len(ranked) > 5,
        filters=[
            name for name in FACETS if len({(row.facets or {})[name] for row in rows}) > 1
        ],
    )


def _score_column(group: EntryGroup, metric: Metric) -> Column:
    interval = None
    if _has_interval(group, metric):
        interval = interval_name(group.entries[0].scores.confidence)
    name = f"{metric.mean_title} {metric.unit}"
    return Column(name, metric.digits, metric.scale, interval)


def _row(entry: Entry, metric: Metric) -> Row:
    scores = entry.scores
    title, architecture, data = map(
        _plain, (entry.title, entry.architecture, entry.training_data)
    )
    errors = [scores.of("error", "clean") if scores.has_clean else None]
    if metric is not METRICS["error"]:
        errors.append(scores.of("error"))
    track = entry.track_title or "no track"
    values = [
        title, scores.of(metric.name), *(one and one.value for one in errors),
        architecture, data, track, entry.status,
    ]  # fmt: skip
    facets = dict(zip(FACETS, (architecture, data, track), strict=True))
    return Row(values, link=f"{MODELS_FOLDER}/{entry.page}", facets=facets)


def _landmark_row(landmark: Landmark, group: EntryGroup, metric: Metric) -> Row:
    digits = 0 if landmark.value == int(landmark.value) and not landmark.ces else 1
    blanks = [None] * (0 if not group.entries else 1 if metric is METRICS["error"] else 2)
    texts = (landmark.architecture, landmark.training_data, PUBLISHED, "not recomputed")
    value = Cell(landmark.value / metric.scale, digits=digits)
    facets = dict(zip(FACETS, texts, strict=False))
    return Row([landmark.title, value, *blanks, *texts], facets=facets)


def model_page(entry: Entry, group: EntryGroup, title: str) -> str:
    """The page of a model: its scores by corruption, its checks and its provenance."""
    scores = entry.scores
    link = [Link(entry.link, entry.link, before="Link: ")] if entry.link else []
    notes: list[Block] = []
    if entry.notes:
        notes = [Heading("Notes"), Text(entry.notes, preformatted=True)]
    checks: list[Block] = [Text(CHECKED if entry.items else NOT_CHECKED)]
    if entry.items:
        checks.append(_check_table(entry))
    formulas = RANKING if scores.reference is not None else ("error",)
    blocks: list[Block] = [
        Tiles(_tiles(scores)),
        Facts(_facts(entry, group)),
        *link,
        *notes,
        Heading("Scores by corruption"),
        _error_figure(scores),
        _corruption_table(scores),
        *(Text(f"{sentence(METRICS[name].formula)}.", note=True) for name in formulas),
        Heading("Checks"),
        *checks,
        Heading("Provenance"),
        Text("As recorded by the run."),
        Facts(_provenance(entry)),
        Heading("Command", level=3),
        CommandText(_command(entry)),
    ]
    back = Link(title, "../index.html")
    return render(Page(shown(entry.title), blocks, back=back, contents=False))


def _tiles(scores: Scores) -> list[Tile]:
    error = METRICS["error"]
    metrics = dict.fromkeys((scores.headline, error))
    parts = [(one.mean_title, scores.of(one.name), one) for one in metrics]
    if scores.has_clean:
        parts.append(("clean error", scores.of("error", "clean"), error))
    tiles = []
    for name, estimate, metric in parts:
        value, interval = estimate_texts(estimate, metric.digits, scale=metric.scale)
        note = "" if estimate.low is None else f"{interval_name(scores.confidence)} {interval}"
        tiles.append(Tile(name, f"{value} {metric.unit}", note))
    return tiles


def _error_figure(scores: Scores) -> Figure:
    mark = None
    if scores.has_clean and (clean := scores.of("error", "clean").value) is not None:
        mark = Mark(100 * clean, f"the clean error, {number(clean, scale=100)} %")
    return dot_chart(
        "errors",
        [Dot(name, scores.of("error", name)) for name in scores.corruptions],
        axis="error, %",
        caption=f"Error by corruption, with {interval_name(scores.confidence)}s over images.",
        description=f"A dot for each of {len(scores.corruptions)} corruptions with its "
        "interval; the table below lists the numbers.",
        mark=mark,
        domain=(0, 100),
    )


def _corruption_table(scores: Scores) -> Table:
    ranking = [METRICS["error"]]
    if scores.reference is not None:
        own = METRICS[scores.metric]
        ranking = list(dict.fromkeys((*ranking, own, *(METRICS[name] for name in RANKING))))
    others = [
        one
        for one in METRICS.values()
        if "corruption" in one.scopes and not one.needs_reference and one not in ranking
    ]
    columns = [Column("corruption")]
    for one in (*ranking, *others):
        interval = interval_name(scores.confidence) if one in ranking else None
        digits = one.digits - one.needs_reference
        name = f"{one.title} {one.unit}"
        columns.append(Column(name, digits, one.scale, interval, one.formula))
    rows = [
        Row([name, *(scores.of(one.name, name) for one in (*ranking, *others))])
        for name in scores.corruptions
    ]
    if scores.has_clean:
        blank = Cell(None, "")
        values = (
            blank if one.needs_reference else scores.of(one.name, "clean")
            for one in (*ranking, *others)
        )
        rows.insert(0, Row(["clean", *values]))
    title = "Scores by corruption, over all severities."
    return Table(title, columns, rows, name="corruptions")


def _check_table(entry: Entry) -> Table:
    rows = [
        Row((item.name, f"{MARKS[item.state]} {item.state}", item.detail))
        for item in entry.items
    ]
    columns = [Column("check"), Column("result"), Column("values")]
    title = "Recomputed from the submitted rows."
    return Table(title, columns, rows, name="checks", sortable=False)


def _facts(entry: Entry, group: EntryGroup) -> list[tuple[str, str]]:
    count = entry.parameters
    facts = [
        ("Architecture", entry.architecture),
        ("Parameters", f"{count:,}" if count else NOT_RECORDED),
        ("Training data", entry.training_data),
        ("Benchmark", f"{group.benchmark.title}, mode {group.benchmark.mode}"),
        ("Data", f"{group.data}, {group.images:,} images, seed {group.seed}"),
        ("Track", entry.track_title or "none (a run, not a submission)"),
    ]
    if entry.scores.reference:
        facts.append(("CE is relative to", entry.scores.reference))
    return facts


def _provenance(entry: Entry) -> list[tuple[str, str]]:
    identity = entry.identity
    facts = [
        ("Weights", _recorded(identity.model, "weights")),
        ("SHA-256 of the weights", _recorded(identity.model, "weights_sha256")),
        ("Preprocessing", _recorded(identity.model, "preprocessing")),
        ("Fingerprint of the data", live_fingerprint(identity.dataset)),
        ("Images", images_of(identity.dataset)),
        ("Precision", f"{identity.precision} on {identity.device_type}"),
        ("Batch size", str(identity.batch_size)),
        ("Digest of the run", identity.digest),
    ]
    for start in entry.starts[-1:]:
        packages = start.get("packages")
        versions = packages if isinstance(packages, Mapping) else {}
        texts = [f"{name} {version}" for name, version in versions.items() if version]
        facts += [
            ("Last started", _recorded(start, "started_utc")),
            ("noctule", f"{_recorded(start, 'noctule')}, commit {_recorded(start, 'commit')}"),
            ("Machine", f"{_recorded(start, 'device_name')}, {_recorded(start, 'platform')}"),
            ("Packages", ", ".join(texts)),
        ]
    return facts


def _recorded(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return NOT_RECORDED
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _command(entry: Entry) -> str:
    argv = entry.starts[-1].get("argv") if entry.starts else None
    if not isinstance(argv, list) or not argv:
        return NOT_RECORDED
    words = [str(word) for word in argv]
    return shlex.join([words[0].rpartition("/")[2], *words[1:]])
