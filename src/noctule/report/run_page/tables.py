"""The tables of one run and of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from noctule.metrics import (
    METRICS,
    Estimate,
    Metric,
    Scores,
    headline_metric,
)
from noctule.metrics.scores import RANKING
from noctule.report.formatting import interval_name, sentence
from noctule.report.run_page.details import Bin, ClassDamage, Loss, class_name
from noctule.report.run_page.overview import Group, Summary
from noctule.report.table import Column, Row, Table, Value


def measures(group: Group) -> list[Metric]:
    """What is shown, what ranks first; without a reference only the error."""
    if group.reference is None:
        return [METRICS["error"]]
    own = METRICS[group.benchmark.metric]
    others = (METRICS[name] for name in RANKING)
    return list(dict.fromkeys((headline(group), own, *others)))


def unit(metric: Metric) -> str:
    """The name with its unit, for an axis."""
    return f"{metric.title}, {metric.unit}"


def why_not_own(group: Group) -> str:
    """A sentence, with a space in front, if the benchmark's own metric does not rank."""
    own = METRICS[group.benchmark.metric]
    if group.reference is None or headline(group) is own:
        return ""
    lacking = [
        one.run.label for one in group.summaries if one.scores.of(own.name).value is None
    ]
    return f" {sentence(own.mean_title)} is not defined for {', '.join(lacking)}."


def headline(group: Group) -> Metric:
    """The metric that runs are ranked by, which every run has."""
    return headline_metric([one.scores for one in group.summaries])


def ranked(group: Group) -> list[Summary]:
    """The runs, the least headline first."""
    metric = headline(group)
    return sorted(
        group.summaries,
        key=lambda one: (one.scores.of(metric.name).value or 0.0, one.run.label),
    )


def overview_sheet(name: str, group: Group, links: Mapping[str, str]) -> Table:
    """All runs of a group by their headline score."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [
        Column("model"),
        *(
            Column(f"{one.mean_title} %", 1, one.scale, interval if one is shown[0] else None)
            for one in shown
        ),
        Column("clean error %", 1, 100.0, note="error on uncorrupted images"),
        Column("run folder"),
    ]
    runs = ranked(group)
    rows = [
        Row(
            [
                summary.run.label,
                *(summary.scores.of(one.name) for one in shown),
                clean_error(summary),
                str(summary.run.store.folder),
            ],
            link=links.get(summary.run.label),
        )
        for summary in runs
    ]
    caption = f"All models by {shown[0].mean_title}, the least first.{why_not_own(group)}"
    return Table(caption, fields, rows, name=name, searchable=len(rows) > 8)


def matrix_sheet(name: str, group: Group) -> Table:
    """The headline measure of every model under every corruption."""
    measure = headline(group)
    fields = [
        Column("model"),
        *(Column(one, 1, measure.scale) for one in group.benchmark.corruptions),
    ]
    rows: list[Row] = [
        Row(
            [
                summary.run.label,
                *(summary.scores.of(measure.name, one) for one in group.benchmark.corruptions),
            ]
        )
        for summary in ranked(group)
    ]
    title = f"{sentence(unit(measure))}, of every model under every corruption"
    return Table(title, fields, rows, name=name)


def scores_sheet(name: str, group: Group, summary: Summary) -> Table:
    """Error, CE and relative CE of one run by corruption."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [Column("corruption")] + [
        Column(f"{one.title} %", 1, one.scale, interval) for one in shown
    ]
    rows: list[Row] = [
        Row([one, *(summary.scores.of(measure.name, one) for measure in shown)])
        for one in sorted_corruptions(summary, shown[0])
    ]
    title = f"Scores by corruption, the largest {shown[0].title} first"
    return Table(title, fields, rows, name=name)


def sorted_corruptions(summary: Summary, metric: Metric) -> list[str]:
    """The largest first; those without a value last."""

    def place(name: str) -> tuple[bool, float, str]:
        value = summary.scores.of(metric.name, name).value
        return value is None, -(value or 0.0), name

    return sorted(summary.scores.corruptions, key=place)


def clean_error(summary: Summary) -> Estimate | None:
    """The error on uncorrupted images, if they were evaluated."""
    return summary.scores.of("error", "clean") if summary.scores.has_clean else None


def losses_sheet(name: str, losses: Sequence[Loss], confidence: float) -> Table:
    """The conditions that cost the most accuracy."""
    interval = interval_name(confidence)
    fields = [
        Column("condition"),
        Column("loss, points", 1, 100.0, interval, "accuracy on clean images less under it"),
        Column("accuracy %", 1, 100.0, interval),
    ]
    rows = [Row([one.condition, one.loss, one.accuracy]) for one in losses]
    return Table("Accuracy lost, the most first", fields, rows, name=name)


def conditions_sheet(name: str, scores: Scores) -> Table:
    """Accuracy, top-5 error and calibration under every condition."""
    interval = interval_name(scores.confidence)
    fields = [
        Column("condition"),
        Column("ECE %", 1, 100.0, interval, "expected calibration error, 15 bins"),
        Column("accuracy %", 1, 100.0, interval),
        Column("top-5 error %", 1, 100.0, interval),
    ]
    rows = [
        Row([name, *(scores.of(metric, name) for metric in ("ece", "accuracy", "top5_error"))])
        for name in scores.conditions
    ]
    return Table("Every condition", fields, rows, name=name, searchable=len(rows) > 20)


def bins_sheet(name: str, series: Sequence[tuple[str, Sequence[Bin]]]) -> Table:
    """The bins of the reliability diagram, with their counts."""
    fields = [Column("confidence in the bin, %")]
    for word, _ in series:
        fields += [
            Column(f"{word}: outcomes", 0),
            Column(f"{word}: confidence %", 1, 100.0),
            Column(f"{word}: accuracy %", 1, 100.0),
        ]
    rows: list[Row] = []
    for bins in zip(*(found for _, found in series), strict=True):
        row: list[Value] = [f"{100 * bins[0].low:.1f} to {100 * bins[0].high:.1f}"]
        for one in bins:
            row += [one.num_outcomes, one.confidence, one.accuracy]
        rows.append(Row(row))
    return Table("Reliability by bin of confidence", fields, rows, name=name)


def classes_sheet(
    name: str,
    caption: str,
    damage: Sequence[ClassDamage],
    names: Mapping[int, str],
    confidence: float,
) -> Table:
    """What the corruptions cost each class, and what it is taken for."""
    fields = [
        Column("class"),
        Column("images", 0),
        Column("loss, points", 1, 100.0, interval_name(confidence)),
        Column("clean %", 1, 100.0, note="accuracy on clean images"),
        Column("corrupted %", 1, 100.0, note="mean accuracy over the corrupted conditions"),
        Column("most often taken for"),
        Column("share %", 1, 100.0, note="of its outcomes under corruption"),
    ]
    rows: list[Row] = [
        Row(
            [
                class_name(names, one.label),
                one.num_images,
                one.loss,
                one.clean_accuracy,
                one.accuracy,
                class_name(names, one.confusion.label) if one.confusion else None,
                one.confusion.share if one.confusion else None,
            ]
        )
        for one in damage
    ]
    return Table(caption, fields, rows, name=name)
