"""The page of one model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from noctule.formulas import FORMULAS
from noctule.leaderboard.entries import Entry, Group, headline
from noctule.leaderboard.figures import model_figure
from noctule.leaderboard.index_page import METRIC_TITLES
from noctule.leaderboard.settings import fingerprint_of, images_of
from noctule.leaderboard.text import MARKS
from noctule.metrics import Scores
from noctule.report.formatting import estimate_texts, interval_name, sentence
from noctule.report.table import Cell, Column, Row, Table
from noctule.report.web import render_page
from noctule.report.web.text import shown


def model_page(entry: Entry, group: Group, title: str) -> str:
    """One model: scores by corruption, what was checked, and where the numbers are from."""
    scores, name = entry.scores, headline([entry])
    cards = [(METRIC_TITLES[name], _value(scores, name), _interval(scores, name))]
    if name != "mean_error":
        cards.append(
            ("mean error", _value(scores, "mean_error"), _interval(scores, "mean_error"))
        )
    if scores.clean is not None:
        value, interval = estimate_texts(scores.clean.error)
        cards.append(("clean error", f"{value} %", interval))
    figure = model_figure(scores)
    return render_page(
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


def _value(scores: Scores, name: str) -> str:
    value = estimate_texts(getattr(scores, name), scale=_scale(name))[0]
    return f"{value} %" if name == "mean_error" else value


def _interval(scores: Scores, name: str) -> str:
    return estimate_texts(getattr(scores, name), scale=_scale(name))[1]


def _scale(name: str) -> float:
    return 100 if name == "mean_error" else 1


def _formulas(scores: Scores) -> list[str]:
    names = ("mean_error",) if scores.reference is None else ("relative_ce", "ce", "mean_error")
    return [f"{sentence(FORMULAS[name])}." for name in names]


def _corruption_table(scores: Scores) -> Table:
    measures = [("error", "error %", 100, 1)]
    if scores.reference is not None:
        ratios = [("relative_ce", "relative CE", 1, 0), ("ce", "CE", 1, 0)]
        measures += ratios if scores.metric == "relative_ce" else ratios[::-1]
    interval = interval_name(scores.confidence)
    columns = [Column("corruption")]
    columns += [Column(title, digits, scale, interval) for _, title, scale, digits in measures]
    named = [("clean", scores.clean)] if scores.clean else []
    rows = [
        Row([name, *(getattr(one, measure[0], Cell(None, "")) for measure in measures)])
        for name, one in [*named, *((one.corruption, one) for one in scores.corruptions)]
    ]
    title = "Scores by corruption, over all its severities."
    return Table(title, columns, rows, name="corruptions")


def _check_table(entry: Entry) -> Table | None:
    if not entry.lines:
        return None
    rows = [
        Row((one.name, f"{MARKS[one.state]} {one.state}", one.detail)) for one in entry.lines
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
        ("Fingerprint of the data", fingerprint_of(identity)),
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
