"""The page of one run or of many, from their stored rows; no model is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noctule.arguments import run_path, whole_number
from noctule.benchmarks import CLEAN, Condition
from noctule.comparison import compare
from noctule.metrics import METRICS, Estimate, Metric, Scores
from noctule.metrics.estimates import bootstrap_settings
from noctule.remote import AnyPath
from noctule.report import provenance
from noctule.report.charts import (
    Dot,
    Figure,
    LineAxis,
    Mark,
    Point,
    dot_chart,
    heat_map,
    line_chart,
)
from noctule.report.comparison import comparison_table
from noctule.report.formatting import (
    UNDEFINED,
    counted,
    estimate_texts,
    interval_name,
    number,
    sentence,
)
from noctule.report.loading import Run, open_runs
from noctule.report.outputs import check_outputs, write_files
from noctule.report.page import (
    Block,
    CommandText,
    Details,
    Facts,
    Grid,
    Heading,
    ImageStrip,
    ImageTile,
    Page,
    Text,
    Tile,
    Tiles,
    render,
    write_page,
)
from noctule.report.run_details import (
    Bin,
    ClassDamage,
    Outcomes,
    class_damage,
    class_name,
    outcomes_of,
    reliability,
)
from noctule.report.run_groups import RunGroup, RunSettings, Summary, grouped, summarise
from noctule.report.samples import Absent, Strip, rule, strips
from noctule.report.scores import subset_notes
from noctule.report.table import Column, Row, Table, Value
from noctule.scoring import score_run

MOST_DETAILED = 4
MOST_CLASSES, WORST_CLASSES, BEST_CLASSES = 20, 10, 5
MOST_LOSSES = 10
_SERIES = ("clean", "corrupted")
_PERCENT_AXIS = (0.0, 100.0)


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    Attributes:
        reference: Folder of the run that CE is relative to.
        samples: Number of sample images of each run.
        settings: Settings of the intervals.
    """

    reference: str | AnyPath | None = None
    samples: int = 2
    settings: RunSettings = field(default_factory=RunSettings)


def write_report(
    runs: Sequence[str | AnyPath],
    out: Path,
    *,
    figures: Path | None = None,
    reference: str | AnyPath | None = None,
    samples: int = 2,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Page:
    """Write the page of one run or of many from their stored rows; no model is run.

    Args:
        runs: Run folders.
        out: The HTML file.
        figures: Folder for the figures as SVG, PNG and PDF and the tables as Markdown, LaTeX
            and CSV.
        reference: A run on the same images that CE is relative to.
        samples: Number of sample images under each corruption, of each of up to four runs.
        seed: Seed of the bootstrap of the calibration errors.
        resamples: Number of bootstrap resamples for them.
        confidence: Confidence of the intervals.

    Raises:
        InputError: A run is given twice, is none, unfinished or damaged; the reference does not
            fit; a setting is out of its range; or `out` is a folder.
        OutputError: `out` or `figures` cannot be written; found out before the long work.
    """
    sources = [*runs, *([] if reference is None else [reference])]
    check_outputs(out, figures, [run_path(one, "RUN") for one in sources])
    whole_number(samples, "samples", low=0, high=1000)
    settings = RunSettings(*bootstrap_settings(seed, resamples, confidence))
    page = page_of(open_runs(runs, reference), ReportOptions(reference, samples, settings))
    write_page(out, render(page))
    if figures is not None:
        write_files(figures, page)
    return page


def page_of(runs: Sequence[Run], options: ReportOptions) -> Page:
    """The page of open runs; see `write_report`."""
    groups = [
        summarise(group, reference=options.reference, settings=options.settings)
        for group in grouped(runs)
    ]
    numbers = {run.label: number for number, run in enumerate(runs, 1)}
    is_detailed = len(runs) <= MOST_DETAILED
    lead = Text(_lead(runs, groups, options.settings))
    blocks: list[Block] = []
    if len(runs) > 1:
        links = {label: f"#run-{number}" for label, number in numbers.items()}
        for number, group in enumerate(groups, 1):
            heading = _images(group.summaries[0].run) if len(groups) > 1 else "All models"
            parts = _comparison_blocks(number, group, links if is_detailed else {}, options)
            blocks += [Heading(heading), *parts]
        blocks.insert(1 if len(groups) == 1 else 0, lead)
    if len(runs) > MOST_DETAILED:
        blocks.append(
            Text(
                f"Details are shown for up to {MOST_DETAILED} runs. Pass a single run to "
                "`noctule report` for its calibration, classes and sample images.",
                note=True,
            )
        )
    else:
        summaries = [(group, one) for group in groups for one in group.summaries]
        for group, summary in sorted(summaries, key=lambda item: numbers[item[1].run.label]):
            number = numbers[summary.run.label]
            parts = run_blocks(number, group, summary, options, 3 if len(runs) > 1 else 2)
            if len(runs) > 1:
                blocks += [Heading(summary.run.label, anchor=f"run-{number}"), *parts]
            else:
                blocks += [parts[0], lead, *parts[1:]]
    return Page(_title(runs, groups), blocks)


def _title(runs: Sequence[Run], groups: Sequence[RunGroup]) -> str:
    if len(groups) > 1:
        return f"{counted(len(runs), 'run')} on {len(groups)} benchmarks or datasets"
    models = runs[0].label if len(runs) == 1 else counted(len(runs), "model")
    return f"{models} on {_images(runs[0])}"


def _images(run: Run) -> str:
    identity = run.store.identity
    title = f"{identity.benchmark.get('title')}, {identity.dataset.get('name')}"
    released = identity.benchmark.get("mode") == "released"
    return f"{title}, mode released" if released else title


def _lead(runs: Sequence[Run], groups: Sequence[RunGroup], settings: RunSettings) -> str:
    images = {group.scores.num_images for group in groups}
    over = counted(images.pop(), "image") if len(images) == 1 else "images"
    return (
        f"Computed from the stored outcomes of {counted(len(runs), 'run')}. Intervals are "
        f"{100 * settings.confidence:g} % confidence intervals (CI) over the {over}; those of "
        f"calibration errors are from {settings.resamples:,} bootstrap resamples. Lower errors "
        "are better."
    )


# Many runs


def _comparison_blocks(
    number: int, group: RunGroup, links: Mapping[str, str], options: ReportOptions
) -> list[Block]:
    """The runs of one group side by side."""
    prefix = f"group-{number}-"
    scores, first = group.scores, group.summaries[0].run
    blocks: list[Block] = [
        Tiles(_ranking_tiles(group)),
        Text(
            f"{counted(len(group.summaries), 'model')} on "
            f"{counted(scores.num_images, 'image')}, seed {first.store.identity.seed}, mode "
            f"{group.benchmark.mode}. {reference_sentence(scores)}"
        ),
    ]
    if len(group.summaries) == 1:
        return blocks
    ranking: list[Block] = [ranking_figure(prefix, group), ranking_table(prefix, group, links)]
    blocks.append(Grid(ranking))
    if len(group.summaries) == 2:
        compared = compare(
            *(one.run.store for one in group.summaries),
            reference=options.reference,
            confidence=options.settings.confidence,
        )
        blocks.append(Heading("Is the difference significant?", 3))
        blocks.append(comparison_table(compared, f"{prefix}differences"))
    matrix = Details("The same numbers as a table", [matrix_table(prefix, group)])
    return [*blocks, Heading("By corruption", 3), matrix_figure(prefix, group), matrix]


def _ranking_tiles(group: RunGroup) -> list[Tile]:
    metric, best = group.headline, group.ranked[0]
    value, interval = estimate_texts(best.scores.of(metric.name), scale=metric.scale)
    note = f"{best.run.label}, {interval}" if interval != UNDEFINED else best.run.label
    images = counted(len(best.run.corrupted), "corrupted condition")
    return [
        Tile(f"lowest {metric.mean_title}", f"{value}\u00a0{metric.unit}", note),
        Tile("models", str(len(group.summaries))),
        Tile("images", f"{group.scores.num_images:,}", f"under {images}"),
    ]


def reference_sentence(scores: Scores) -> str:
    """What CE is relative to, or why there is none; for a subset also what it lacks."""
    notes = "".join(f" {note}" for note in subset_notes(scores))
    if scores.reference is None:
        return f"There is no CE: {scores.no_reference_reason}.{notes}"
    return (
        f"CE and relative CE: 100\u00a0% is as bad as the reference, {scores.reference}.{notes}"
    )


def ranking_figure(prefix: str, group: RunGroup) -> Figure:
    """The headline of every run."""
    metric = group.headline
    title = sentence(metric.mean_title)
    return dot_chart(
        f"{prefix}ranking-chart",
        [Dot(one.run.label, one.scores.of(metric.name)) for one in group.ranked],
        scale=metric.scale,
        axis=f"{metric.mean_title}, {metric.unit}",
        caption=f"{title} of every model, the lowest first; lines are "
        f"{interval_name(group.scores.confidence)}s.{group.why_not_own}",
        description=f"{title} of every model, sorted. The table of all models holds the "
        "numbers.",
    )


def ranking_table(prefix: str, group: RunGroup, links: Mapping[str, str]) -> Table:
    """All runs of a group by their headline."""
    interval = interval_name(group.scores.confidence)
    first, *others = group.metrics
    columns = [
        Column("model"),
        Column(f"{first.mean_title} %", 1, first.scale, interval),
        *(Column(f"{one.mean_title} %", 1, one.scale) for one in others),
        Column("clean error %", 1, 100.0, note="error on uncorrupted images"),
        Column("run folder"),
    ]
    rows = [
        Row(
            [
                one.run.label,
                *(one.scores.of(metric.name) for metric in group.metrics),
                one.clean_error,
                str(one.run.store.folder),
            ],
            link=links.get(one.run.label),
        )
        for one in group.ranked
    ]
    title = f"All models by {first.mean_title}, the lowest first.{group.why_not_own}"
    return Table(title, columns, rows, name=f"{prefix}ranking", searchable=len(rows) > 8)


def matrix_figure(prefix: str, group: RunGroup) -> Figure:
    """The headline metric of every run under every corruption."""
    metric = group.headline
    title = sentence(metric.title)

    def shown(summary: Summary, corruption: str) -> float | None:
        value = summary.scores.of(metric.name, corruption).value
        return None if value is None else metric.scale * value

    return heat_map(
        f"{prefix}matrix-chart",
        [
            (one.run.label, corruption, shown(one, corruption))
            for one in group.ranked
            for corruption in one.scores.corruptions
        ],
        measure=f"{metric.title}, {metric.unit}",
        caption=f"{title} of every model under every corruption; dark is worse.",
        description=f"{title} by model and corruption. The table of every model under every "
        "corruption holds the numbers.",
    )


def matrix_table(prefix: str, group: RunGroup) -> Table:
    """The same as a table."""
    metric, corruptions = group.headline, group.scores.corruptions
    columns = [Column("model"), *(Column(name, 1, metric.scale) for name in corruptions)]
    rows = [
        Row([one.run.label, *(one.scores.of(metric.name, name) for name in corruptions)])
        for one in group.ranked
    ]
    unit = f"{sentence(metric.title)}, {metric.unit}"
    title = f"{unit}, of every model under every corruption"
    return Table(title, columns, rows, name=f"{prefix}matrix")


# One run


def run_blocks(
    number: int, group: RunGroup, summary: Summary, options: ReportOptions, level: int
) -> list[Block]:
    """All about one run.

    Args:
        number: Number of the run on the page, from 1.
        group: Its group.
        summary: The run and its scores.
        options: Options of the report.
        level: Level of the headings.
    """
    run, prefix = summary.run, f"run-{number}-"
    scores = score_run(run.store, reference=options.reference, **options.settings._asdict())
    outcomes, names = outcomes_of(run), provenance.class_names(run)
    facts: list[Block] = [Facts(provenance.facts(run)), CommandText(provenance.command(run))]
    return [
        Tiles(_run_tiles(group, summary)),
        Text(reference_sentence(group.scores)),
        Heading("Corruptions", level),
        Grid([scores_figure(prefix, group, summary), scores_table(prefix, group, summary)]),
        *_severities(prefix, scores, run, level),
        *_samples(run, outcomes, names, options.samples, level),
        Heading("The most damaging conditions", level),
        losses_table(prefix, scores),
        *_calibration(prefix, scores, run, outcomes, level),
        *_classes(prefix, class_damage(outcomes, scores.confidence), names, scores, level),
        Heading("Provenance", level),
        *([Details("How this run was made", facts)] if level > 2 else facts),
    ]


def _run_tiles(group: RunGroup, summary: Summary) -> list[Tile]:
    """The headline, starting with the benchmark's metric."""
    share = f"{100 * group.scores.confidence:g}\u00a0%"

    def tile(name: str, estimate: Estimate | None, scale: float) -> Tile:
        if estimate is None:
            return Tile(name, UNDEFINED, "the clean images were not evaluated")
        value, interval = estimate_texts(estimate, scale=scale)
        if estimate.value is None:
            return Tile(name, value, f"not defined: {estimate.reason}")
        if estimate.low is None:
            return Tile(name, f"{value}\u00a0%", f"no interval: {estimate.reason}")
        return Tile(name, f"{value}\u00a0%", f"{interval} ({share})")

    conditions = counted(len(summary.run.corrupted), "corrupted condition")
    return [
        *(
            tile(one.mean_title, summary.scores.of(one.name), one.scale)
            for one in group.metrics
        ),
        tile("clean error", summary.clean_error, 100.0),
        Tile("images", f"{group.scores.num_images:,}", f"under {conditions}"),
    ]


def scores_figure(prefix: str, group: RunGroup, summary: Summary) -> Figure:
    """The headline metric by corruption, the largest first."""
    metric, clean = group.headline, summary.clean_error
    dots = [
        Dot(name, summary.scores.of(metric.name, name))
        for name in summary.ranked_corruptions(metric)
    ]
    mark = Mark(100.0, "the reference model") if metric.needs_reference else None
    if not metric.needs_reference and clean is not None and clean.value is not None:
        mark = Mark(100 * clean.value, "the error on clean images")
    undefined = [dot.label for dot in dots if dot.estimate.value is None]
    left_out = f" Not defined: {', '.join(undefined)}." if undefined else ""
    title = sentence(metric.title)
    return dot_chart(
        f"{prefix}corruptions",
        dots,
        scale=metric.scale,
        axis=f"{metric.title}, {metric.unit}",
        caption=f"{title} by corruption, the largest first; lines are "
        f"{interval_name(group.scores.confidence)}s.{left_out}",
        description=f"{title} of {summary.run.label} under each corruption, sorted. The table "
        "of scores holds the numbers.",
        mark=mark,
    )


def scores_table(prefix: str, group: RunGroup, summary: Summary) -> Table:
    """The shown metrics of one run by corruption."""
    interval, metrics = interval_name(group.scores.confidence), group.metrics
    columns = [Column("corruption")]
    columns += [Column(f"{one.title} %", 1, one.scale, interval) for one in metrics]
    rows = [
        Row([name, *(summary.scores.of(metric.name, name) for metric in metrics)])
        for name in summary.ranked_corruptions(metrics[0])
    ]
    title = f"Scores by corruption, the largest {metrics[0].title} first"
    return Table(title, columns, rows, name=f"{prefix}scores")


def _severities(prefix: str, scores: Scores, run: Run, level: int) -> list[Block]:
    if run.benchmark.severities is None:
        return []
    note = (
        "Accuracy by severity of each corruption, with intervals. The dashed line is the "
        "accuracy on clean images. The table of all conditions holds the numbers."
    )
    figures = [severity_figure(prefix, scores, run, name) for name in scores.corruptions]
    return [Heading("Severities", level), Text(note), Grid(figures, 13)]


def severity_figure(prefix: str, scores: Scores, run: Run, corruption: str) -> Figure:
    """Accuracy by the severity of one corruption, small."""
    conditions = sorted(
        (one for one in run.benchmark.conditions_of_corruption(corruption) if one.severity),
        key=lambda one: one.severity or 0,
    )
    points = [_point(one.severity or 0, scores.of("accuracy", str(one))) for one in conditions]
    clean = scores.of("accuracy", CLEAN).value if scores.has_clean else None
    values = ", ".join(f"{point.y:.0f} %" for point in points)
    ends = f"{conditions[0].severity} to {conditions[-1].severity}"
    return line_chart(
        f"{prefix}severity-{corruption.replace('_', '-')}",
        {"": points},
        x=LineAxis("severity", discrete=True),
        y=LineAxis("accuracy, %", _PERCENT_AXIS),
        caption=corruption,
        description=f"Accuracy under {corruption} at severities {ends}: {values}.",
        line_at=None if clean is None else 100 * clean,
        height_px=110,
    )


def _point(severity: int, estimate: Estimate) -> Point:
    value, low, high = (
        None if one is None else 100 * one
        for one in (estimate.value, estimate.low, estimate.high)
    )
    return Point(severity, value or 0.0, low, high, f"severity {severity}: {number(value)} %")


def _samples(
    run: Run, outcomes: Outcomes, names: Mapping[int, str], count: int, level: int
) -> list[Block]:
    blocks: list[Block] = [Heading("Sample images", level)]
    if count == 0:
        return [*blocks, Text("No images were requested.")]
    try:
        samples = strips(run, outcomes, count)
    except Absent as reason:
        return [*blocks, Text(f"There are no images: {str(reason).rstrip('.')}.")]
    if not samples:
        return [*blocks, Text("There are no images: no image is right when clean.")]
    severities = run.benchmark.severities
    where = "over its full range" if severities is None else f"at severity {max(severities)}"
    note = f"Each corruption {where}, as the model saw it. {rule(outcomes, count)}"
    blocks.append(Text(note))
    for strip in samples:
        conditions = counted(len(outcomes.corrupted), "condition")
        heading = (
            f"{strip.image_id} ({class_name(names, strip.label)}): wrong under "
            f"{strip.failures} of {conditions}"
        )
        blocks += [
            Heading(heading, level + 1, listed=False),
            ImageStrip(_image_tiles(strip, names)),
        ]
    return blocks


def _image_tiles(strip: Strip, names: Mapping[int, str]) -> list[ImageTile]:
    truth = class_name(names, strip.label)
    tiles = []
    for one in strip.samples:
        heading = "uncorrupted" if one.condition == CLEAN else one.condition
        confidence = f"{number(one.confidence, 0, scale=100)}\u00a0%"
        predicted = f"predicted {class_name(names, one.prediction)}, {confidence}"
        tiles.append(
            ImageTile(
                one.address,
                f"{truth}, {heading}",
                max(one.image.shape[1:]),
                [heading, predicted],
                "✓ right" if one.is_right else "✗ wrong",
                one.is_right,
            )
        )
    return tiles


def losses_table(prefix: str, scores: Scores) -> Table:
    """The conditions that cost the most accuracy.

    The interval of a loss is paired: both conditions are of the same images. Without clean
    images losses are not defined.
    """
    interval = interval_name(scores.confidence)
    columns = [
        Column("condition"),
        Column("loss, points", 1, 100.0, interval, "clean accuracy minus accuracy under it"),
        Column("accuracy %", 1, 100.0, interval),
    ]
    names = sorted(
        (name for name in scores.conditions if name != CLEAN),
        key=lambda name: (scores.of("accuracy", name).value or 0.0, name),
    )
    rows = [
        Row([name, scores.of("error_rise", name), scores.of("accuracy", name)])
        for name in names[:MOST_LOSSES]
    ]
    return Table("Accuracy lost, the most first", columns, rows, name=f"{prefix}losses")


def _calibration(
    prefix: str, scores: Scores, run: Run, outcomes: Outcomes, level: int
) -> list[Block]:
    bins = {
        series: reliability(outcomes, columns)
        for series, columns in zip(_SERIES, ([0], outcomes.corrupted), strict=True)
        if series != CLEAN or outcomes.has_clean
    }
    return [
        Heading("Calibration", level),
        Grid([*reliability_figures(prefix, bins), ece_figure(prefix, scores, run)], 26),
        Details("The bins as a table", [bins_table(prefix, bins)]),
        Details(
            "Calibration and accuracy under every condition, as a table",
            [conditions_table(prefix, scores)],
        ),
    ]


def reliability_figures(
    prefix: str, bins: Mapping[str, Sequence[Bin]]
) -> tuple[Figure, Figure]:
    """Accuracy by confidence, and how many outcomes are in each bin."""
    accuracy, shares = {}, {}
    for series, line in bins.items():
        total = max(1, sum(one.num_outcomes for one in line))
        filled = [one for one in line if one.num_outcomes]
        accuracy[series] = [
            Point(
                100 * (one.confidence or 0), 100 * (one.accuracy or 0), text=_bin(series, one)
            )
            for one in filled
        ]
        shares[series] = [
            Point(50 * (one.low + one.high), 100 * one.num_outcomes / total,
                  text=_bin(series, one))
            for one in filled
        ]  # fmt: skip
    least = min([10.0, *(point.y for line in shares.values() for point in line)])
    return (
        line_chart(
            f"{prefix}reliability",
            accuracy,
            series=_SERIES,
            x=LineAxis("mean confidence in the bin, %", _PERCENT_AXIS),
            y=LineAxis("accuracy in the bin, %", _PERCENT_AXIS),
            caption="Reliability: accuracy of the outcomes in each of 15 bins of confidence. "
            "On the dashed diagonal, confidence equals accuracy; below it the model is "
            "overconfident.",
            description="Accuracy by confidence in 15 bins, for clean and for corrupted "
            "images. The table of bins holds the numbers.",
            diagonal=True,
        ),
        line_chart(
            f"{prefix}confidences",
            shares,
            series=_SERIES,
            x=LineAxis("confidence, %", _PERCENT_AXIS),
            y=LineAxis("outcomes in the bin, %", (least, 100.0), log=True),
            caption="Distribution of the outcomes over the bins, as a share of each series, on "
            "a logarithmic axis. Bins with few outcomes are weak evidence of reliability.",
            description="Share of outcomes in each bin of confidence, for clean and for "
            "corrupted images. The table of bins holds the counts.",
        ),
    )


def _bin(series: str, one: Bin) -> str:
    return f"{series}: {counted(one.num_outcomes, 'outcome')}"


def ece_figure(prefix: str, scores: Scores, run: Run) -> Figure:
    """The calibration error by corruption."""
    clean = scores.of("ece", CLEAN).value if scores.has_clean else None
    caption = "Expected calibration error (ECE, 15 bins) by corruption"
    if run.benchmark.severities is None:
        names = sorted(run.corrupted, key=lambda name: -(scores.of("ece", name).value or 0.0))
        dots = [Dot(name, scores.of("ece", name)) for name in names]
        caption += f"; lines are {interval_name(scores.confidence)}s."
    else:
        dots = [
            _severity_dot(condition, scores)
            for name in scores.corruptions
            for condition in run.benchmark.conditions_of_corruption(name)
        ]
        caption += "; the digits are the severities. The table has the intervals."
    return dot_chart(
        f"{prefix}ece",
        dots,
        axis="expected calibration error, %",
        caption=caption,
        description="Calibration error by condition. The table of conditions holds the "
        "numbers.",
        mark=None if clean is None else Mark(100 * clean, "that on clean images"),
    )


def _severity_dot(condition: Condition, scores: Scores) -> Dot:
    value = scores.of("ece", str(condition)).value
    return Dot(
        condition.corruption or "", Estimate(value, None, None), "", str(condition.severity)
    )


def bins_table(prefix: str, bins: Mapping[str, Sequence[Bin]]) -> Table:
    """The bins of the reliability diagram, with their counts."""
    columns = [Column("confidence in the bin, %")]
    for series in bins:
        columns += [
            Column(f"{series}: outcomes", 0),
            Column(f"{series}: confidence %", 1, 100.0),
            Column(f"{series}: accuracy %", 1, 100.0),
        ]
    rows = []
    for parallel in zip(*bins.values(), strict=True):
        first = parallel[0]
        values: list[Value] = [f"{100 * first.low:.1f} to {100 * first.high:.1f}"]
        for one in parallel:
            values += [one.num_outcomes, one.confidence, one.accuracy]
        rows.append(Row(values))
    return Table("Reliability by bin of confidence", columns, rows, name=f"{prefix}bins")


def conditions_table(prefix: str, scores: Scores) -> Table:
    """Every metric of single conditions, under every condition."""
    interval = interval_name(scores.confidence)
    metrics = [
        metric
        for metric in METRICS.values()
        if "condition" in metric.scopes and metric.name not in ("error", "error_rise")
    ]
    columns = [Column("condition")]
    columns += [
        Column(_with_unit(one), one.digits, one.scale, interval, one.formula) for one in metrics
    ]
    rows = [
        Row([name, *(scores.of(metric.name, name) for metric in metrics)])
        for name in scores.conditions
    ]
    return Table(
        "Every condition", columns, rows, name=f"{prefix}conditions", searchable=len(rows) > 20
    )


def _with_unit(metric: Metric) -> str:
    return f"{metric.title} %" if metric.unit == "%" else f"{metric.title}, {metric.unit}"


def _classes(
    prefix: str,
    damage: list[ClassDamage],
    names: Mapping[int, str],
    scores: Scores,
    level: int,
) -> list[Block]:
    parts = {"Damage by class, the largest first": ("classes", damage)}
    if len(damage) > MOST_CLASSES:
        parts = {
            f"The {WORST_CLASSES} classes damaged most": ("classes", damage[:WORST_CLASSES]),
            f"The {BEST_CLASSES} classes damaged least": (
                "classes-least",
                damage[-BEST_CLASSES:],
            ),
        }
    return [
        Heading("Classes", level),
        Text(_classes_note(damage)),
        classes_figure(prefix, damage, names, scores.confidence),
        *(
            classes_table(f"{prefix}{name}", title, some, names, scores.confidence)
            for title, (name, some) in parts.items()
        ),
    ]


def classes_figure(
    prefix: str, damage: list[ClassDamage], names: Mapping[int, str], confidence: float
) -> Figure:
    """Accuracy lost by class, or the error where the clean images were not evaluated."""
    some = damage if len(damage) <= MOST_CLASSES else damage[:WORST_CLASSES]
    loses = any(one.loss.value is not None for one in some)
    dots = [
        Dot(
            class_name(names, one.label),
            one.loss if loses else Estimate(1 - one.accuracy, None, None),
        )
        for one in some
    ]
    lines = f"; lines are {interval_name(confidence)}s" if loses else ""
    return dot_chart(
        f"{prefix}class-losses",
        dots,
        axis="loss of accuracy, points" if loses else "error, %",
        caption=f"{'Accuracy lost' if loses else 'Error'} under corruption by class, the mean "
        f"over all conditions{lines}.",
        description="Accuracy that the corruptions cost each class. The table of classes holds "
        "the numbers.",
    )


def classes_table(
    name: str,
    title: str,
    damage: Sequence[ClassDamage],
    names: Mapping[int, str],
    confidence: float,
) -> Table:
    """Accuracy that the corruptions cost each class, and what it is mistaken for."""
    columns = [
        Column("class"),
        Column("images", 0),
        Column("loss, points", 1, 100.0, interval_name(confidence)),
        Column("clean %", 1, 100.0, note="accuracy on clean images"),
        Column("corrupted %", 1, 100.0, note="mean accuracy over the corrupted conditions"),
        Column("most often taken for"),
        Column("share %", 1, 100.0, note="of its outcomes under corruption"),
    ]
    rows = [
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
    return Table(title, columns, rows, name=name)


def _classes_note(damage: list[ClassDamage]) -> str:
    sizes = [one.num_images for one in damage]
    low, high = min(sizes), max(sizes)
    each = counted(low, "image") if low == high else f"{low:,} to {high:,} images"
    reasons = [one.loss.reason for one in damage if one.loss.reason]
    missing = f" Intervals are missing, for instance where {reasons[0]}." if reasons else ""
    return (
        f"{counted(len(damage), 'class', 'classes')} of {each} each. Each interval is for one "
        "class alone: among many classes, the extremes owe their rank partly to "
        f"chance.{missing}"
    )
