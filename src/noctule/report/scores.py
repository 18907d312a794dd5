"""Scores as a table: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from noctule.metrics import METRICS, Estimate, Metric, Scores
from noctule.metrics.registry import Scope
from noctule.metrics.scores import RANKING
from noctule.report.formatting import (
    UNDEFINED,
    counted,
    estimate_texts,
    interval_name,
    number,
    sentence,
)
from noctule.report.table import Cell, Column, Row, Table, Value, render_table


def render(scores: Scores, format: str, *, title: str) -> str:
    """Scores in one of `FORMATS` other than "table"; see `render_table`."""
    return render_table(score_table(scores, title), format)


def score_table(scores: Scores, title: str) -> Table:
    """Error, CE and relative CE by corruption, and their means, for people.

    The ratio that the benchmark's authors report comes first, with intervals. Without a
    reference there are no ratios.
    """
    interval = interval_name(scores.confidence)
    columns = [Column("corruption"), Column("error %", 1, 100, interval)]
    ratios = _ratios(scores)
    for metric in ratios:
        columns.append(Column(metric.title, 0, interval=None if len(columns) > 2 else interval))

    def row(name: str, *values: Value) -> Row:
        return Row([name, scores.of("error", name), *values])

    rows = [
        row(name, *(scores.of(metric.name, name) for metric in ratios))
        for name in scores.corruptions
    ]
    means = [Cell(scores.of(metric.name), digits=1) for metric in ratios]
    rows.append(Row(["mean", scores.of("error"), *means]))
    if scores.has_clean:
        rows.insert(0, row("clean", *("" for _ in ratios)))
    return Table(
        title, columns, rows, _notes(scores), headlines(scores),
        summary_rows=1, data=scores.to_records(),
    )  # fmt: skip


def _ratios(scores: Scores) -> list[Metric]:
    """CE and relative CE, the benchmark's own first; none without a reference."""
    if scores.reference is None:
        return []
    ratios = [one for one in METRICS.values() if one.needs_reference]
    return sorted(ratios, key=lambda one: one is not METRICS[scores.metric])


def headlines(scores: Scores) -> list[str]:
    """The result in a few lines, starting with the benchmark's own metric."""
    interval = interval_name(scores.confidence)
    lines = [
        _line(metric.mean_title, scores.of(metric.name), 1, "", interval)
        for metric in _ratios(scores)
    ]
    lines.append(_line("mean error", scores.of("error"), 100, " %", interval))
    if scores.has_clean:
        lines.append(_line("clean error", scores.of("error", "clean"), 100, " %", interval))
    return lines


def _line(name: str, estimate: Estimate, scale: float, unit: str, interval: str) -> str:
    value, extent = estimate_texts(estimate, scale=scale)
    if estimate.value is None:
        return f"{name}: not defined" + (f", {estimate.reason}" if estimate.reason else "")
    if extent == UNDEFINED:
        return f"{name}: {value}{unit} (no {interval}: {estimate.reason})"
    return f"{name}: {value}{unit} ({interval}: {extent})"


def subset_notes(scores: Scores) -> list[str]:
    """Sentences that state a part of a benchmark, and a sample of a set of images."""
    notes = [] if scores.part is None else [scores.part]
    if scores.population is not None:
        images = f"{scores.num_images:,} of {scores.population:,} images"
        notes.append(
            f"{images}, drawn at random by their ids. The {interval_name(scores.confidence)}s "
            f"hold the scores on all {scores.population:,} (finite-population correction)."
        )
    return notes


def _notes(scores: Scores) -> list[str]:
    images = counted(scores.num_images, "image")
    notes = [f"{images}; the clean ones were not evaluated."]
    if scores.has_clean:
        notes = [f"{images}; on clean ones: {_others(scores, 'clean')}."]
    notes += subset_notes(scores)
    if means := _others(scores, None):
        notes.append(f"Means over the corruptions: {means}.")
    notes.append(f"{sentence(METRICS['error'].formula)}.")
    if scores.reference is None:
        return [*notes, f"No CE: {scores.no_reference_reason}."]
    ratios = [one for one in METRICS.values() if one.needs_reference]
    notes += [f"{sentence(metric.formula)}." for metric in ratios]
    if scores.metric == "relative_ce":
        notes.append("The relative mCE is what ImageNet-NOC publishes as mCE.")
    notes.append(f"Relative to {scores.reference}.")
    for metric in ratios:
        corruptions_by_reason: dict[str, list[str]] = {}
        for name in scores.corruptions:
            if reason := scores.of(metric.name, name).reason:
                corruptions_by_reason.setdefault(reason, []).append(name)
        notes += [
            f"{metric.title} of {', '.join(names)}: {reason}."
            for reason, names in corruptions_by_reason.items()
        ]
    return notes


def _others(scores: Scores, name: str | None) -> str:
    """The metrics that have no column: of a condition, or their means over the corruptions."""
    texts = []
    for metric in METRICS.values():
        key: tuple[Scope, str, str] = "benchmark", scores.benchmark, metric.mean_name
        if name is not None:
            key = "condition", name, metric.name
        estimate = scores.estimates.get(key)
        if estimate is not None and metric.name not in ("accuracy", *RANKING):
            value = number(estimate.value, metric.digits, scale=metric.scale)
            texts.append(f"{metric.title} {value} {metric.unit}")
    return ", ".join(texts)
