"""Scores as a table: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from noctule.csv_files import csv_text
from noctule.errors import unknown_name
from noctule.formulas import FORMULAS
from noctule.metrics import Estimate, Scores
from noctule.report.formatting import (
    UNDEFINED,
    counted,
    estimate_texts,
    interval_name,
    number,
    sentence,
)
from noctule.report.table import Cell, Column, Row, Table, Value, latex, markdown

FORMATS = ("table", "csv", "json", "markdown", "latex")


def render(scores: Scores, format: str, *, title: str) -> str:
    """Scores in one of `FORMATS` other than "table"; CSV and JSON have full precision.

    Raises:
        InputError: Unknown format.
    """
    match format:
        case "json":
            return json.dumps({"title": title, **scores.to_dict()}, indent=2) + "\n"
        case "csv":
            return csv_text(scores.to_records())
        case "markdown":
            return markdown(score_table(scores, title))
        case "latex":
            return latex(score_table(scores, title))
    raise unknown_name("format", format, FORMATS)


def score_table(scores: Scores, title: str) -> Table:
    """Error, CE and relative CE by corruption, and their means, for people.

    The ratio that the benchmark's authors report comes first, with intervals. Without a
    reference there are no ratios.
    """
    interval = interval_name(scores.confidence)
    columns = [Column("corruption"), Column("error %", 1, 100, interval)]
    relative_first = scores.metric == "relative_ce"
    if scores.reference is not None:
        first, second = ("relative CE", "CE") if relative_first else ("CE", "relative CE")
        columns += [Column(first, 0, interval=interval), Column(second, 0)]

    def row(name: str, error: Estimate, ratios: Sequence[Value]) -> Row:
        if scores.reference is None:
            return Row([name, error])
        return Row([name, error, *(reversed(ratios) if relative_first else ratios)])

    rows = [
        row(one.corruption, one.error, (one.ce, one.relative_ce)) for one in scores.corruptions
    ]
    means = Cell(scores.mce, digits=1), Cell(scores.relative_mce, digits=1)
    rows.append(row("mean", scores.mean_error, means))
    if scores.clean is not None:
        rows.insert(0, row("clean", scores.clean.error, ("", "")))
    return Table(title, columns, rows, _notes(scores), _lines(scores), summary_rows=1)


def _lines(scores: Scores) -> list[str]:
    """The result in a few lines, starting with the benchmark's own metric."""
    means = [("mCE", scores.mce), ("relative mCE", scores.relative_mce)]
    if scores.reference is None:
        means = []
    elif scores.metric == "relative_ce":
        means.reverse()
    interval = interval_name(scores.confidence)
    lines = [_line(name, mean, 1, "", interval) for name, mean in means]
    lines.append(_line("mean error", scores.mean_error, 100, " %", interval))
    if (clean := scores.clean) is not None:
        lines.append(_line("clean error", clean.error, 100, " %", interval))
    return lines


def _line(name: str, estimate: Estimate, scale: float, unit: str, interval: str) -> str:
    value, extent = estimate_texts(estimate, scale=scale)
    if estimate.value is None:
        return f"{name}: not defined" + (f", {estimate.reason}" if estimate.reason else "")
    if extent == UNDEFINED:
        return f"{name}: {value}{unit} (no {interval}: {estimate.reason})"
    return f"{name}: {value}{unit} ({interval}: {extent})"


def _notes(scores: Scores) -> list[str]:
    images = counted(scores.num_images, "image")
    notes = [f"{images}; the clean ones were not evaluated."]
    if (clean := scores.clean) is not None:
        notes = [
            f"{images}; on clean ones the top-5 error is {_percent(clean.top5_error)} and the "
            f"calibration error {_percent(clean.ece)}."
        ]
    notes.append(f"{sentence(FORMULAS['mean_error'])}.")
    if scores.reference is None:
        return [*notes, f"No CE: {scores.no_reference_reason}."]
    notes += [f"{sentence(FORMULAS[name])}." for name in ("ce", "relative_ce")]
    if scores.metric == "relative_ce":
        notes.append("The relative mCE is what ImageNet-NOC publishes as mCE.")
    notes.append(f"Relative to {scores.reference}.")
    for metric in ("CE", "relative CE"):
        corruptions_by_reason: dict[str, list[str]] = {}
        for one in scores.corruptions:
            estimate = one.ce if metric == "CE" else one.relative_ce
            if estimate.reason:
                corruptions_by_reason.setdefault(estimate.reason, []).append(one.corruption)
        notes += [
            f"{metric} of {', '.join(names)}: {reason}."
            for reason, names in corruptions_by_reason.items()
        ]
    return notes


def _percent(estimate: Estimate) -> str:
    value = number(estimate.value, scale=100)
    return value if value == UNDEFINED else f"{value} %"
