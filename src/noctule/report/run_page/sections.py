"""One run's part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from noctule.benchmarks import CLEAN
from noctule.metrics import Estimate, Scores
from noctule.report.formatting import counted, estimate_texts, interval_name, sentence
from noctule.report.run_page import charts, origin, tables
from noctule.report.run_page.details import (
    ClassDamage,
    class_damage,
    class_name,
    losses,
    outcomes_of,
    reliability,
)
from noctule.report.run_page.overview import Group, Settings, Summary
from noctule.report.run_page.photos import PhotoStrip, photo_strips
from noctule.report.table import Table
from noctule.report.web import Figure
from noctule.scoring import score_run

MOST_CLASSES, WORST_CLASSES, BEST_CLASSES = 20, 10, 5
MOST_LOSSES = 10


class Tile(NamedTuple):
    """One number of the headline."""

    name: str
    value: str
    note: str


@dataclass
class Section:
    """What the page says of one run; figures and sheets are also written as files.

    Attributes:
        anchor: id of the section.
        title: the run's label.
        tiles: the headline.
        reference: what CE is relative to, or why there is none.
        scores, losses, bins, conditions, classes: tables.
        severities: names of the small charts, or none where there are no severities.
        strips, strips_note: images, and the rule they are chosen by or why there are none.
        classes_note: what to know about the order of classes.
        facts, command: provenance.
        figures, sheets: all there are.
    """

    anchor: str
    title: str
    tiles: list[Tile]
    reference: str
    scores: Table
    losses: Table
    bins: Table
    conditions: Table
    classes: list[Table]
    severities: list[str]
    strips: list[PhotoStrip]
    strips_note: str
    classes_note: str
    facts: list[tuple[str, str]]
    command: str
    figures: list[Figure] = field(default_factory=list)
    sheets: list[Table] = field(default_factory=list)


def section_of(
    number: int,
    group: Group,
    summary: Summary,
    *,
    reference: str | Path | None,
    samples: int,
    settings: Settings,
) -> Section:
    """Everything about one run.

    Args:
        number: of the run on the page, from 1.
        group: which it belongs to.
        summary: its scores.
        reference: folder of the run that CE is relative to.
        samples: how many images to show.
        settings: Settings of the intervals.
    """
    run, prefix = summary.run, f"run-{number}-"
    scores = score_run(run.store, reference=reference, **settings._asdict())
    outcomes, names = outcomes_of(run), origin.class_names(run)
    series = [
        (word, reliability(outcomes, columns))
        for word, columns in (("clean", [0]), ("corrupted", outcomes.corrupted))
        if word != CLEAN or outcomes.has_clean
    ]
    damage = class_damage(outcomes, settings.confidence)
    severities = _severity_figures(prefix, summary, settings.confidence)
    sheets = [
        tables.scores_sheet(f"{prefix}scores", group, summary),
        tables.losses_sheet(f"{prefix}losses", losses(summary)[:MOST_LOSSES], group.confidence),
        tables.bins_sheet(f"{prefix}bins", series),
        tables.conditions_sheet(f"{prefix}conditions", scores),
        *_class_sheets(prefix, damage, names, group.confidence),
    ]
    found, note = photo_strips(summary.run, outcomes, names, samples)
    scores_table, losses_table, bins, conditions, *classes = sheets
    return Section(
        anchor=f"run-{number}",
        title=run.label,
        tiles=tiles_of(group, summary),
        reference=reference_sentence(group),
        scores=scores_table,
        losses=losses_table,
        bins=bins,
        conditions=conditions,
        classes=classes,
        severities=[one.name for one in severities],
        strips=found,
        strips_note=note,
        classes_note=_classes_note(damage),
        facts=origin.facts(run),
        command=origin.command(run),
        figures=[
            scores_figure(f"{prefix}corruptions", group, summary),
            *severities,
            *charts.reliability_figures(prefix, series),
            _ece_figure(f"{prefix}ece", scores, summary),
            _classes_figure(f"{prefix}class-losses", damage, names, group.confidence),
        ],
        sheets=sheets,
    )


def tiles_of(group: Group, summary: Summary) -> list[Tile]:
    """The headline: the benchmark's metric first."""
    share = f"{100 * group.confidence:g}\u00a0%"

    def tile(name: str, estimate: Estimate, scale: float) -> Tile:
        value, interval = estimate_texts(estimate, scale=scale)
        if estimate.value is None:
            return Tile(name, value, f"not defined: {estimate.reason}")
        if estimate.low is None:
            return Tile(name, f"{value}\u00a0%", f"no interval: {estimate.reason}")
        return Tile(name, f"{value}\u00a0%", f"{interval} ({share})")

    tiles = [
        tile(one.mean_title, summary.scores.of(one.name), one.scale)
        for one in tables.measures(group)
    ]
    clean = tables.clean_error(summary)
    if clean is None:
        tiles.append(Tile("clean error", "–", "the clean images were not evaluated"))
    else:
        tiles.append(tile("clean error", clean, 100.0))
    conditions = counted(len(summary.run.corrupted), "corrupted condition")
    return [*tiles, Tile("images", f"{group.num_images:,}", f"under {conditions}")]


def reference_sentence(group: Group) -> str:
    """What CE is relative to, or why there is none."""
    if group.reference is None:
        return f"There is no CE: {group.no_reference_reason}."
    return f"CE and relative CE: 100\u00a0% is as bad as the reference, {group.reference}."


def scores_figure(name: str, group: Group, summary: Summary) -> Figure:
    """The headline measure by corruption, the largest first."""
    measure = tables.headline(group)
    dots = [
        charts.Dot(one, summary.scores.of(measure.name, one), measure.scale)
        for one in tables.sorted_corruptions(summary, measure)
    ]
    mark = charts.Mark(100.0, "the reference model") if measure.needs_reference else None
    clean = tables.clean_error(summary)
    if not measure.needs_reference and clean and clean.value is not None:
        mark = charts.Mark(100 * clean.value, "the error on clean images")
    lacking = [dot.label for dot in dots if dot.estimate.value is None]
    left_out = f" Not defined: {', '.join(lacking)}." if lacking else ""
    return charts.dot_chart(
        name,
        dots,
        axis=tables.unit(measure),
        caption=f"{sentence(measure.title)} by corruption, the largest first; bars are "
        f"{interval_name(group.confidence)}s.{left_out}",
        description=f"{sentence(measure.title)} of {summary.run.label} under each corruption, "
        "sorted. The table of scores holds the numbers.",
        mark=mark,
    )


def _severity_figures(prefix: str, summary: Summary, confidence: float) -> list[Figure]:
    benchmark = summary.run.benchmark
    if benchmark.severities is None:
        return []
    accuracy = {one.condition: one.accuracy for one in losses(summary)}
    clean = tables.clean_error(summary)
    return [
        charts.severity_chart(
            f"{prefix}severity-{name.replace('_', '-')}",
            name,
            [
                (one.severity, accuracy[str(one)])
                for one in sorted(
                    benchmark.conditions_of_corruption(name), key=lambda one: one.severity or 0
                )
                if one.severity is not None
            ],
            None if clean is None or clean.value is None else 1 - clean.value,
        )
        for name in benchmark.corruptions
    ]


def _ece_figure(name: str, scores: Scores, summary: Summary) -> Figure:
    clean = scores.of("ece", "clean").value if scores.has_clean else None
    mark = None if clean is None else charts.Mark(100 * clean, "that on clean images")
    axis = "expected calibration error, %"
    caption = "Expected calibration error (ECE, 15 bins) by corruption"
    description = "Calibration error by condition. The table of conditions holds the numbers."
    names = [one for one in scores.conditions if one != CLEAN]
    by_condition = {one: scores.of("ece", one) for one in names}
    benchmark = summary.run.benchmark
    if benchmark.severities is None:
        dots = [
            charts.Dot(one, ece, 100.0)
            for one, ece in sorted(
                by_condition.items(), key=lambda item: -(item[1].value or 0.0)
            )
        ]
        caption = f"{caption}; bars are {interval_name(scores.confidence)}s."
        return charts.dot_chart(
            name, dots, axis=axis, caption=caption, description=description, mark=mark
        )
    rows = [
        (corruption, one.severity or 0, 100 * (by_condition[str(one)].value or 0.0))
        for corruption in benchmark.corruptions
        for one in benchmark.conditions_of_corruption(corruption)
    ]
    return charts.severity_marks_chart(
        name,
        rows,
        axis=axis,
        caption=f"{caption}; the digits are the severities. The table has the intervals.",
        description=description,
        mark=mark,
    )


def _class_sheets(
    prefix: str, damage: list[ClassDamage], names: Mapping[int, str], confidence: float
) -> list[Table]:
    if len(damage) <= MOST_CLASSES:
        return [
            tables.classes_sheet(
                f"{prefix}classes", "Damage by class, the largest first", damage, names,
                confidence,
            )
        ]  # fmt: skip
    return [
        tables.classes_sheet(
            f"{prefix}classes", f"The {WORST_CLASSES} classes damaged most",
            damage[:WORST_CLASSES], names, confidence,
        ),
        tables.classes_sheet(
            f"{prefix}classes-least", f"The {BEST_CLASSES} classes damaged least",
            damage[-BEST_CLASSES:], names, confidence,
        ),
    ]  # fmt: skip


def _classes_figure(
    name: str, damage: list[ClassDamage], names: Mapping[int, str], confidence: float
) -> Figure:
    shown = damage if len(damage) <= MOST_CLASSES else damage[:WORST_CLASSES]
    loses = any(one.loss.value is not None for one in shown)
    dots = [
        charts.Dot(
            class_name(names, one.label),
            one.loss if loses else Estimate(1 - one.accuracy, None, None),
            100.0,
        )
        for one in shown
    ]
    bars = f"; bars are {interval_name(confidence)}s" if loses else ""
    return charts.dot_chart(
        name,
        dots,
        axis="loss of accuracy, points" if loses else "error, %",
        caption=f"{'Accuracy lost' if loses else 'Error'} under corruption by class, the mean "
        f"over all conditions{bars}.",
        description="What the corruptions cost each class. The table of classes holds the "
        "numbers.",
    )


def _classes_note(damage: list[ClassDamage]) -> str:
    sizes = [one.num_images for one in damage]
    low, high = min(sizes), max(sizes)
    each = counted(low, "image") if low == high else f"{low:,} to {high:,} images"
    without = [one for one in damage if one.loss.reason]
    lacking = f" No interval: such as where {without[0].loss.reason}." if without else ""
    return (
        f"{counted(len(damage), 'class', 'classes')} of {each} each. The intervals are of each "
        "class alone: of many classes, those at the ends of the order owe their place partly "
        f"to chance.{lacking}"
    )
