"""The tables of one run and of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from noctule.metrics import CorruptionScores, Estimate, Scores
from noctule.report.run_page.details import Bin, ClassDamage, Loss, class_name
from noctule.report.run_page.fields import Field, Sheet, Value
from noctule.report.run_page.overview import Group, Summary
from noctule.report.run_page.words import interval_name, sentence


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


def overview_sheet(name: str, group: Group, links: Mapping[str, str]) -> Sheet:
    """All runs of a group by their headline score."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [
        Field("model"),
        *(
            Field(f"{one.mean_name} %", 1, one.scale, interval if one is shown[0] else None)
            for one in shown
        ),
        Field("clean error %", 1, 100.0, note="error on uncorrupted images"),
        Field("run folder"),
    ]
    runs = ranked(group)
    rows: list[list[Value]] = [
        [
            summary.run.label,
            *(one.mean(summary) for one in shown),
            summary.clean,
            str(summary.run.store.folder),
        ]
        for summary in runs
    ]
    caption = f"All models by {shown[0].mean_name}, the least first.{why_not_own(group)}"
    found = [links.get(summary.run.label) for summary in runs]
    return Sheet(name, caption, fields, rows, found, searchable=len(rows) > 8)


def matrix_sheet(name: str, group: Group) -> Sheet:
    """The headline measure of every model under every corruption."""
    measure = headline(group)
    fields = [
        Field("model"),
        *(Field(one, 1, measure.scale) for one in group.benchmark.corruptions),
    ]
    rows: list[list[Value]] = [
        [summary.run.label, *(measure.of(one) for one in summary.corruptions)]
        for summary in ranked(group)
    ]
    return Sheet(
        name, f"{sentence(measure.unit)}, of every model under every corruption", fields, rows
    )


def scores_sheet(name: str, group: Group, summary: Summary) -> Sheet:
    """Error, CE and relative CE of one run by corruption."""
    interval = interval_name(group.confidence)
    shown = measures(group)
    fields = [Field("corruption")] + [
        Field(f"{one.name} %", 1, one.scale, interval) for one in shown
    ]
    rows: list[list[Value]] = [
        [one.corruption, *(measure.of(one) for measure in shown)]
        for one in sorted_corruptions(summary, shown[0])
    ]
    return Sheet(name, f"Scores by corruption, the largest {shown[0].name} first", fields, rows)


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


def losses_sheet(name: str, losses: Sequence[Loss], confidence: float) -> Sheet:
    """The conditions that cost the most accuracy."""
    interval = interval_name(confidence)
    fields = [
        Field("condition"),
        Field("loss, points", 1, 100.0, interval, "accuracy on clean images less under it"),
        Field("accuracy %", 1, 100.0, interval),
    ]
    rows: list[list[Value]] = [[one.condition, one.loss, one.accuracy] for one in losses]
    return Sheet(name, "Accuracy lost, the most first", fields, rows)


def conditions_sheet(name: str, scores: Scores) -> Sheet:
    """Accuracy, top-5 error and calibration under every condition."""
    interval = interval_name(scores.confidence)
    fields = [
        Field("condition"),
        Field("ECE %", 1, 100.0, interval, "expected calibration error, 15 bins"),
        Field("accuracy %", 1, 100.0, interval),
        Field("top-5 error %", 1, 100.0, interval),
    ]
    found = [one for one in (scores.clean, *scores.conditions) if one is not None]
    rows: list[list[Value]] = [
        [one.condition, one.ece, one.accuracy, one.top5_error] for one in found
    ]
    return Sheet(name, "Every condition", fields, rows, searchable=len(rows) > 20)


def bins_sheet(name: str, series: Sequence[tuple[str, Sequence[Bin]]]) -> Sheet:
    """The bins of the reliability diagram, with their counts."""
    fields = [Field("confidence in the bin, %")]
    for word, _ in series:
        fields += [
            Field(f"{word}: outcomes", 0),
            Field(f"{word}: confidence %", 1, 100.0),
            Field(f"{word}: accuracy %", 1, 100.0),
        ]
    rows: list[list[Value]] = []
    for bins in zip(*(found for _, found in series), strict=True):
        row: list[Value] = [f"{100 * bins[0].low:.1f} to {100 * bins[0].high:.1f}"]
        for one in bins:
            row += [one.num_outcomes, one.confidence, one.accuracy]
        rows.append(row)
    return Sheet(name, "Reliability by bin of confidence", fields, rows)


def classes_sheet(
    name: str,
    caption: str,
    damage: Sequence[ClassDamage],
    names: Mapping[int, str],
    confidence: float,
) -> Sheet:
    """What the corruptions cost each class, and what it is taken for."""
    fields = [
        Field("class"),
        Field("images", 0),
        Field("loss, points", 1, 100.0, interval_name(confidence)),
        Field("clean %", 1, 100.0, note="accuracy on clean images"),
        Field("corrupted %", 1, 100.0, note="mean accuracy over the corrupted conditions"),
        Field("most often taken for"),
        Field("share %", 1, 100.0, note="of its outcomes under corruption"),
    ]
    rows: list[list[Value]] = [
        [
            class_name(names, one.label),
            one.num_images,
            one.loss,
            one.clean_accuracy,
            one.accuracy,
            class_name(names, one.confusion.label) if one.confusion else None,
            one.confusion.share if one.confusion else None,
        ]
        for one in damage
    ]
    return Sheet(name, caption, fields, rows)
