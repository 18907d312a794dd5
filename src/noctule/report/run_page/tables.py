"""The tables of one run and of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from noctule.metrics import CorruptionScores, Estimate, Scores
from noctule.report.formatting import interval_name, sentence
from noctule.report.run_page.details import Bin, ClassDamage, Loss, class_name
from noctule.report.run_page.overview import Group, Summary
from noctule.report.table import Column, Row, Table, Value


class Measure(NamedTuple):
    """A score as the page shows it: of a corruption, and its mean over the corruptions.

    Attributes:
        name: of the score under one corruption, such as "CE".
        mean_name: of the mean, such as "mCE".
        of: the estimate under one corruption.
        mean: the estimate of a run.
        scale: from the estimates to percent.
    """

    name: str
    mean_name: str
    of: Callable[[CorruptionScores], Estimate]
    mean: Callable[[Summary], Estimate]
    scale: float

    @property
    def unit(self) -> str:
        """The name with its unit, for an axis."""
        return f"{self.name}, %"


ERROR = Measure("error", "mean error", lambda one: one.error, lambda run: run.mean_error, 100.0)
CE = Measure("CE", "mCE", lambda one: one.ce, lambda run: run.mce, 1.0)
RELATIVE_CE = Measure(
    "relative CE",
    "relative mCE",
    lambda one: one.relative_ce,
    lambda run: run.relative_mce,
    1.0,
)


def measures(group: Group) -> list[Measure]:
    """What is shown, what ranks first; without a reference only the error.

    The benchmark's own metric ranks if its mean is defined for every run, or else the next
    that is: runs are never ranked, nor drawn, by what some of them lack.
    """
    if group.reference is None:
        return [ERROR]
    own = _own(group)
    order = [own, *(one for one in (RELATIVE_CE, CE, ERROR) if one is not own)]
    return sorted(order, key=lambda one: bool(_lacking(group, one)))


def why_not_own(group: Group) -> str:
    """A sentence, with a space in front, if the benchmark's own metric does not rank."""
    own = _own(group)
    if group.reference is None or not (lacking := _lacking(group, own)):
        return ""
    return f" {sentence(own.mean_name)} is not defined for {', '.join(lacking)}."


def _own(group: Group) -> Measure:
    return {"mean_error": ERROR, "ce": CE, "relative_ce": RELATIVE_CE}[group.benchmark.metric]


def _lacking(group: Group, measure: Measure) -> list[str]:
    """The runs whose mean is not defined."""
    return [one.run.label for one in group.summaries if measure.mean(one).value is None]


def headline(group: Group) -> Measure:
    """The measure that runs are ranked by."""
    return measures(group)[0]


def ranked(group: Group) -> list[Summary]:
    """The runs, the least headline first, which every run has."""
    measure = headline(group)
    return sorted(
        group.summaries,
        key=lambda summary: (measure.mean(summary).value or 0.0, summary.run.label),
    )


def overview_sheet(name: str, group: Group, links: Mapping[str, str]) -> Table:
    """All runs of a group by their headline score."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [
        Column("model"),
        *(
            Column(f"{one.mean_name} %", 1, one.scale, interval if one is shown[0] else None)
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
                *(one.mean(summary) for one in shown),
                summary.clean,
                str(summary.run.store.folder),
            ],
            link=links.get(summary.run.label),
        )
        for summary in runs
    ]
    caption = f"All models by {shown[0].mean_name}, the least first.{why_not_own(group)}"
    return Table(caption, fields, rows, name=name, searchable=len(rows) > 8)


def matrix_sheet(name: str, group: Group) -> Table:
    """The headline measure of every model under every corruption."""
    measure = headline(group)
    fields = [
        Column("model"),
        *(Column(one, 1, measure.scale) for one in group.benchmark.corruptions),
    ]
    rows: list[Row] = [
        Row([summary.run.label, *(measure.of(one) for one in summary.corruptions)])
        for summary in ranked(group)
    ]
    title = f"{sentence(measure.unit)}, of every model under every corruption"
    return Table(title, fields, rows, name=name)


def scores_sheet(name: str, group: Group, summary: Summary) -> Table:
    """Error, CE and relative CE of one run by corruption."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [Column("corruption")] + [
        Column(f"{one.name} %", 1, one.scale, interval) for one in shown
    ]
    rows: list[Row] = [
        Row([one.corruption, *(measure.of(one) for measure in shown)])
        for one in sorted_corruptions(summary, shown[0])
    ]
    title = f"Scores by corruption, the largest {shown[0].name} first"
    return Table(title, fields, rows, name=name)


def sorted_corruptions(summary: Summary, measure: Measure) -> list[CorruptionScores]:
    """The largest first; those without a value last."""
    return sorted(
        summary.corruptions,
        key=lambda one: (
            measure.of(one).value is None,
            -(measure.of(one).value or 0.0),
            one.corruption,
        ),
    )


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
    found = [one for one in (scores.clean, *scores.conditions) if one is not None]
    rows: list[Row] = [
        Row([one.condition, one.ece, one.accuracy, one.top5_error]) for one in found
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
