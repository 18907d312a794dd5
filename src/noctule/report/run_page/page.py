"""The page of one run or of many, and its figures and tables as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noctule.arguments import whole_number
from noctule.comparison import Comparison, compare
from noctule.metrics.estimates import bootstrap_settings
from noctule.report.comparison import comparison_table, render_comparison
from noctule.report.formatting import counted, interval_name, sentence
from noctule.report.run_page import charts, tables
from noctule.report.run_page.heat import heat_map
from noctule.report.run_page.opening import Run, open_runs
from noctule.report.run_page.overview import Group, Settings, grouped, summarise
from noctule.report.run_page.sections import reference_sentence, section_of
from noctule.report.table import Table, table_files
from noctule.report.web import Figure, render_page, write_page
from noctule.report.web.outputs import check_outputs, write_files
from noctule.report.web.text import shown

MOST_DETAILED = 4


@dataclass
class Overview:
    """What the page says of the runs of one group together.

    Attributes:
        title: benchmark and data.
        facts: what they have in common, in a sentence.
        reference: what CE is relative to, or why there is none.
        ranking, matrix: tables.
        ranking_figure, matrix_figure: names of the figures.
        differences: Whether two models differ; None unless there are two.
    """

    title: str
    facts: str
    reference: str
    ranking: Table
    matrix: Table
    ranking_figure: str
    matrix_figure: str
    differences: Table | None = None


@dataclass
class Report:
    """A page, and the files that go with it.

    Attributes:
        html: the page.
        figures: all its figures.
        tables: texts by file name.
    """

    html: str
    figures: list[Figure] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)


def write_report(
    runs: Sequence[str | Path],
    out: Path,
    *,
    figures: Path | None = None,
    reference: str | Path | None = None,
    samples: int = 2,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Report:
    """Write the page of one run or of many from their stored rows; no model is run.

    Args:
        runs: run folders.
        out: the HTML file.
        figures: folder for the figures as SVG, PNG and PDF and the tables as Markdown, LaTeX
            and CSV.
        reference: a run on the same images that CE is relative to.
        samples: how many images to show under each corruption, of each of up to four runs.
        seed: Seed of the bootstrap of the calibration errors.
        resamples: Number of bootstrap resamples for them.
        confidence: Confidence of the intervals.

    Raises:
        InputError: a run is given twice, is none, unfinished or damaged; the reference does not
            fit; a setting is out of its range; or `out` is a folder.
        OutputError: `out` or `figures` cannot be written; found out before the long work.
    """
    sources = [*runs, *([] if reference is None else [reference])]
    check_outputs(out, figures, [Path(one) for one in sources])
    settings = _settings(samples, seed, resamples, confidence)
    report = report_of(
        open_runs(runs, reference), reference=reference, samples=samples, settings=settings
    )
    write_page(out, report.html)
    if figures is not None:
        write_files(figures, report.figures, report.tables)
    return report


def report_of(
    runs: Sequence[Run],
    *,
    reference: str | Path | None = None,
    samples: int = 2,
    settings: Settings,
) -> Report:
    """The page of runs that are open already; see `write_report`."""
    groups = [
        summarise(group, reference=reference, settings=settings) for group in grouped(runs)
    ]
    numbers = {run.label: number for number, run in enumerate(runs, 1)}
    sections = []
    if len(runs) <= MOST_DETAILED:
        found = sorted(
            (
                (numbers[one.run.label], group, one)
                for group in groups
                for one in group.summaries
            ),
            key=lambda item: item[0],
        )
        sections = [
            section_of(
                number, group, one, reference=reference, samples=samples, settings=settings
            )
            for number, group, one in found
        ]
    report = Report("")
    links = {one.title: f"#{one.anchor}" for one in sections}
    overviews = [
        _overview(number, group, links, reference, settings, report)
        for number, group in enumerate(groups, 1)
        if len(runs) > 1
    ]
    for section in sections:
        report.figures += section.figures
        report.tables |= table_files(section.sheets)
    title = _title(runs, groups)
    report.html = render_page(
        "run_report.html",
        title=title,
        lead=_lead(runs, groups, settings),
        overviews=overviews,
        sections=sections,
        most_detailed=MOST_DETAILED,
        figures=report.figures,
    )
    return report


def _title(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    if len(groups) > 1:
        return f"{counted(len(runs), 'run')} on {len(groups)} benchmarks or datasets"
    who = shown(runs[0].label) if len(runs) == 1 else counted(len(runs), "model")
    return f"{who} on {_images(runs[0])}"


def _images(run: Run) -> str:
    identity = run.store.identity
    title = f"{identity.benchmark.get('title')}, {identity.dataset.get('name')}"
    published = identity.benchmark.get("mode") == "released"
    return f"{title}, as published" if published else title


def _lead(runs: Sequence[Run], groups: Sequence[Group], settings: Settings) -> str:
    images = {group.num_images for group in groups}
    many = counted(images.pop(), "image") if len(images) == 1 else "images"
    return (
        f"Computed from the stored outcomes of {counted(len(runs), 'run')}. Intervals are "
        f"{100 * settings.confidence:g} % confidence intervals (CI) over the {many}; those of "
        f"calibration errors are from {settings.resamples:,} bootstrap resamples. Smaller "
        "errors are better."
    )


def _overview(
    number: int,
    group: Group,
    links: dict[str, str],
    reference: str | Path | None,
    settings: Settings,
    report: Report,
) -> Overview:
    prefix = f"group-{number}-"
    ranking = tables.overview_sheet(f"{prefix}ranking", group, links)
    matrix = tables.matrix_sheet(f"{prefix}matrix", group)
    report.tables |= table_files([ranking, matrix])
    figures = _overview_figures(prefix, group)
    report.figures += figures
    first = group.summaries[0].run
    overview = Overview(
        title=_images(first),
        facts=f"{counted(len(group.summaries), 'model')} on "
        f"{counted(group.num_images, 'image')}, seed {first.store.identity.seed}, mode "
        f"{group.benchmark.mode}.",
        reference=reference_sentence(group),
        ranking=ranking,
        matrix=matrix,
        ranking_figure=figures[0].name,
        matrix_figure=figures[1].name,
    )
    if len(group.summaries) == 2:
        stores = [one.run.store for one in group.summaries]
        compared = compare(*stores, reference=reference, confidence=settings.confidence)
        _add_comparison(overview, compared, f"{prefix}differences", report)
    return overview


def _overview_figures(prefix: str, group: Group) -> list[Figure]:
    measure, ranked = tables.headline(group), tables.ranked(group)
    why = tables.why_not_own(group)
    return [
        charts.dot_chart(
            f"{prefix}ranking-chart",
            [
                charts.Dot(one.run.label, one.scores.of(measure.name), measure.scale)
                for one in ranked
            ],
            axis=f"{measure.mean_title}, {measure.unit}",
            caption=f"{sentence(measure.mean_title)} of every model, the least first; bars are "
            f"{interval_name(group.confidence)}s.{why}",
            description=f"{sentence(measure.mean_title)} of every model, sorted. The table of "
            "all models holds the numbers.",
        ),
        heat_map(
            f"{prefix}matrix-chart",
            [
                (
                    one.run.label,
                    name,
                    None
                    if (value := one.scores.of(measure.name, name).value) is None
                    else measure.scale * value,
                )
                for one in ranked
                for name in one.scores.corruptions
            ],
            measure=tables.unit(measure),
            caption=f"{sentence(measure.title)} of every model under every corruption; dark is "
            "worse.",
            description=f"{sentence(measure.title)} by model and corruption. The table of "
            "every model under every corruption holds the numbers.",
        ),
    ]


def _add_comparison(
    overview: Overview, compared: Comparison, name: str, report: Report
) -> None:
    table = comparison_table(compared, name)
    overview.differences = table
    report.tables |= table_files([table])
    report.tables[f"{name}.csv"] = render_comparison(compared, "csv")


def _settings(samples: int, seed: int, resamples: int, confidence: float) -> Settings:
    whole_number(samples, "samples", low=0, high=1000)
    return Settings(*bootstrap_settings(seed, resamples, confidence))
