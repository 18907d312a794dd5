"""The page of one model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from noctule.errors import shown
from noctule.leaderboard.checks import images_of
from noctule.leaderboard.entries import Entry, Group
from noctule.leaderboard.figures import model_figure
from noctule.leaderboard.text import MARKS
from noctule.metrics import METRICS, Estimate, Metric, Scores
from noctule.metrics.scores import RANKING
from noctule.report.formatting import estimate_texts, interval_name, sentence
from noctule.report.page import render_template
from noctule.report.table import Cell, Column, Row, Table
from noctule.store.comparability import live_fingerprint


def model_page(entry: Entry, group: Group, title: str) -> str:
    """One model: scores by corruption, what was checked, and where the numbers are from."""
    scores = entry.scores
    metrics = list(dict.fromkeys((scores.headline, METRICS["error"])))
    cards = [_card(one.mean_title, scores.of(one.name), one) for one in metrics]
    if scores.has_clean:
        cards.append(_card("clean error", scores.of("error", "clean"), METRICS["error"]))
    figure = model_figure(scores)
    return render_template(
        "leaderboard_model.html",
        title=shown(entry.title),
        figures=[figure],
        site=title,
        entry=entry,
        cards=cards,
        confidence=f"{100 * scores.confidence:g} %",
        formulas=_formulas(scores),
        about=_facts(entry, group),
        corruptions=_corruption_table(scores),
        checks=_check_table(entry),
        provenance=_provenance(entry),
        command=_command(entry),
    )


def _card(title: str, estimate: Estimate, metric: Metric) -> tuple[str, str, str]:
    value, interval = estimate_texts(estimate, metric.digits, scale=metric.scale)
    return title, f"{value} {metric.unit}", interval


def _formulas(scores: Scores) -> list[str]:
    names = ("error",) if scores.reference is None else RANKING
    return [f"{sentence(METRICS[name].formula)}." for name in names]


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
    title = "Scores by corruption, over all its severities."
    return Table(title, columns, rows, name="corruptions")


def _check_table(entry: Entry) -> Table | None:
    if not entry.items:
        return None
    rows = [
        Row((one.name, f"{MARKS[one.state]} {one.state}", one.detail)) for one in entry.items
    ]
    columns = [Column("what"), Column("result"), Column("values")]
    title = "Recomputed from the submitted rows."
    return Table(title, columns, rows, name="checks", sortable=False)


def _facts(entry: Entry, group: Group) -> list[tuple[str, str]]:
    count = entry.parameters
    facts = [
        ("Architecture", entry.architecture),
        ("Parameters", f"{count:,}" if count else "not noted"),
        ("Training data", entry.training_data),
        ("Benchmark", f"{group.benchmark.title}, mode {group.benchmark.mode}"),
        ("Data", f"{group.data}, {group.images:,} images, seed {group.seed}"),
        ("Track", entry.track_title or "none: a run that was given to the site"),
    ]
    if entry.scores.reference:
        facts.append(("CE is relative to", entry.scores.reference))
    return facts


def _provenance(entry: Entry) -> list[tuple[str, str]]:
    identity = entry.identity
    facts = [
        ("Weights", _told(identity.model, "weights")),
        ("SHA-256 of the weights", _told(identity.model, "weights_sha256")),
        ("Preprocessing", json.dumps(identity.model.get("preprocessing"), ensure_ascii=False)),
        ("Fingerprint of the data", live_fingerprint(identity.dataset)),
        ("Images", images_of(identity.dataset)),
        ("Precision", f"{identity.precision} on {identity.device_type}"),
        ("Images at once", str(identity.batch_size)),
        ("Digest of the run", identity.digest),
    ]  # fmt: skip
    for start in entry.starts[-1:]:
        packages = start.get("packages")
        versions = packages if isinstance(packages, Mapping) else {}
        facts += [
            ("Last started", _told(start, "started_utc")),
            ("noctule", f"{_told(start, 'noctule')}, commit {_told(start, 'commit')}"),
            ("Machine", f"{_told(start, 'device_name')}, {_told(start, 'platform')}"),
            (
                "Packages",
                ", ".join(f"{key} {value}" for key, value in versions.items() if value),
            ),
        ]
    return facts


def _told(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return "not noted" if value is None else str(value)


def _command(entry: Entry) -> str:
    argv = entry.starts[-1].get("argv") if entry.starts else None
    if not isinstance(argv, list) or not argv:
        return "not noted"
    words = [str(word) for word in argv]
    return shlex.join([words[0].rpartition("/")[2], *words[1:]])
