"""The page of an overlap study: what overlaps, in families, and which benchmark follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from noctule.report.formatting import counted, number
from noctule.report.heatmap import draw_heatmap, save_heatmap
from noctule.report.study_files import FORMULA, terms
from noctule.report.study_page import charts, provenance, tables
from noctule.report.study_page.designs import DEFAULT_SIZE, Design, design_of, score_shipped
from noctule.report.study_page.findings import (
    Findings,
    Measured,
    findings_of_matrix,
    findings_of_study,
    gains_of,
)
from noctule.report.study_page.square import NAME as HEATMAP
from noctule.report.study_page.square import heatmap_figure
from noctule.report.web import Figure, render_page, save_figure, write_page
from noctule.report.web.figures import FIGURE_FORMATS
from noctule.report.web.outputs import check_outputs
from noctule.store.disk import output_errors
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form

DESIGN_RESAMPLES = 100


class Tile(NamedTuple):
    """One number of the headline."""

    name: str
    value: str
    note: str


def study_page(
    path: Path,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[str, list[Figure]]:
    """The page of a finished study, or of an overlap matrix alone.

    Args:
        path: a study folder, or a square CSV of overlap scores: then there are no intervals,
            no accuracies and no provenance.
        form: of the overlap score; a CSV has one already.
        resamples: bootstrap resamples; for a study folder.
        confidence: of the intervals; for a study folder.
        seed: of the bootstrap and of the families.

    Returns:
        The page, one HTML text, and its charts; the same every time.

    Raises:
        InputError: neither a study nor a matrix, or networks of the study are missing.
    """
    findings = _findings(path, form, resamples, confidence, seed)
    return page_of(findings, path)


def write_study_page(
    path: Path,
    out: Path,
    *,
    figures: Path | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> None:
    """Write the page of a study or of a matrix; see `study_page`.

    Args:
        path: a study folder, or a square CSV of overlap scores.
        out: the page.
        figures: a folder for its charts as SVG, PNG and PDF, a column of a paper wide. The
            heat map is that of `noctule study overlap`.
        confidence: of the intervals.
        seed: of the bootstrap and of the families.

    Raises:
        InputError: as `study_page`.
        OutputError: a file cannot be written.
    """
    check_outputs(out, figures)
    findings = _findings(path, "robustness", 1000, confidence, seed)
    html, charts_of_page = page_of(findings, path)
    write_page(out, html)
    if figures is None:
        return
    for figure in charts_of_page[1:]:
        for ending in FIGURE_FORMATS:
            save_figure(figure, figures / f"{figure.name}.{ending}")
    labels, title = findings.families.labels, findings.title
    heatmap = draw_heatmap(findings.matrix, findings.order, labels, title=title)
    with output_errors(figures):
        figures.mkdir(parents=True, exist_ok=True)
    save_heatmap(heatmap, figures / HEATMAP)


def _findings(path: Path, form: Form, resamples: int, confidence: float, seed: int) -> Findings:
    if not path.is_dir():
        return findings_of_matrix(path, seed=seed)
    return findings_of_study(
        StudyFolder.open(path),
        form=form,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )


def page_of(findings: Findings, place: Path) -> tuple[str, list[Figure]]:
    """The page of what is found already.

    Args:
        findings: of a study or of a matrix.
        place: the study folder or the CSV file, for the commands.
    """
    matrix = findings.matrix
    order = [matrix.names[i] for i in findings.order]
    scored, unscored = score_shipped(matrix) if order else ([], {})
    design = design_of(matrix, resamples=DESIGN_RESAMPLES)
    figures = [heatmap_figure(findings)]
    rows = [(one.name, one.scores) for one in scored]
    if design is not None and rows:
        figures.append(
            charts.benchmarks_figure([*rows, (tables.DESIGNED, design.choice.scores)])
        )
    context: dict[str, Any] = {
        "tiles": _tiles(findings),
        "lead": _lead(findings),
        "pairs": tables.pairs_table(findings),
        "families": tables.families_tables(findings) if order else [],
        "undefined": list(matrix.undefined.items()),
        "benchmarks": tables.benchmarks_table(scored, design),
        "unscored": list(unscored.items()),
        "design": None if design is None else tables.design_table(design, order),
        "design_words": None if design is None else _design_words(design, len(order)),
        "formula": f"{FORMULA}, {terms(matrix)}.",
        "limits": _limits(findings),
        "commands": provenance.commands(findings, place, design),
        "gains": None,
        "accuracies": None,
        "settings": None,
        "starts": None,
        "source": matrix.source,
    }
    if (measured := findings.measured) is not None:
        gains = gains_of(measured.means, matrix.confidence)
        figures.append(charts.gains_figure(gains, matrix.confidence))
        context |= {
            "gains": tables.gains_table(gains, matrix.confidence),
            "accuracies": tables.accuracies_table(measured, [*order, *matrix.undefined]),
            "settings": provenance.settings_table(measured),
            "starts": provenance.starts_table(measured),
        }
    html = render_page("study.html", title=findings.title, figures=figures, **context)
    return html, figures


def _tiles(findings: Findings) -> list[Tile]:
    matrix = findings.matrix
    defined, undefined = len(matrix.names), len(matrix.undefined)
    whether = f"{undefined} undefined" if undefined else "all defined"
    tiles = [Tile("Candidates", str(defined + undefined), whether)]
    if (measured := findings.measured) is not None:
        networks = (1 + len(measured.means.candidates)) * len(measured.seeds)
        tiles.append(Tile("Seeds", str(len(measured.seeds)), counted(networks, "network")))
        tiles.append(Tile("Test images", f"{measured.num_images:,}", _image(measured)))
    pairs = defined * (defined - 1) // 2
    if matrix.intervals() is not None:
        shown = int(matrix.established().sum()) // 2
        note = f"of {counted(pairs, 'pair')}: interval above 0"
        tiles.append(Tile("Shown to overlap", str(shown), note))
    kinds = len(set(findings.families.labels))
    return [*tiles, Tile("Families", str(kinds), "by k-means")]


def _image(measured: Measured) -> str:
    side = measured.folder.study.images.side_px
    return f"{side} × {side} px"


def _lead(findings: Findings) -> str:
    if (measured := findings.measured) is None:
        return (
            f"Overlap scores of {findings.title}. There is a matrix and no study: no "
            "intervals, no accuracies, and nothing on how it came about."
        )
    study = measured.folder.study
    return (
        f"How much robustness to one corruption buys robustness to another, by networks "
        f"{study.architecture}, one trained with each candidate, measured on every other."
    )


def _design_words(design: Design, count: int) -> list[str]:
    choice, scores = design.choice, design.choice.scores
    words = [
        f"The {choice.size} of {counted(count, 'candidate')} that cover most, by the exact "
        f"method, without a limit on overlap: {', '.join(choice.names)}.",
        f"Coverage {number(scores.coverage, 3)}, balance {number(scores.balance, 3)}, "
        f"redundancy {number(scores.redundancy, 3)}, largest overlap "
        f"{number(scores.largest_overlap, 3)}.",
        *choice.tie_notes,
    ]
    if not design.is_default:
        words.append(
            f"The default size, {DEFAULT_SIZE}, would take all of so few candidates and "
            "choose nothing; this is half of them."
        )
    if design.stability is None:
        words.append("How firm the choice is, is not known: there are no resamples.")
    else:
        times = counted(design.stability.resamples, "bootstrap resample")
        words.append(
            f"The choice is repeated on {times}; a corruption that is seldom chosen again "
            "could be another of its family."
        )
        words += design.stability.notes
    return words


def _limits(findings: Findings) -> list[str]:
    matrix = findings.matrix
    limits = [
        "The published score is cut off at 0 and has no upper bound; the raw value may be "
        "negative, where training on one corruption harms the other. Coverage, balance and "
        "redundancy also cut it off at 1.",
        "An undefined overlap is not 0: training on that corruption is not shown to help "
        "against it, so there is nothing to divide by.",
        "Families sum the matrix up; another seed of k-means may find others.",
    ]
    if (measured := findings.measured) is None:
        return [*limits, "Without intervals, no two scores here are known to differ."]
    if matrix.intervals() is None:
        return [*limits, "There are no resamples, so nothing is known of the uncertainty."]
    limits.append(
        f"Intervals are {100 * matrix.confidence:g} % percentile bootstrap intervals of the "
        "raw value, for these images, this network and this recipe. Each is for one pair: "
        "of many pairs some intervals miss."
    )
    several = len(measured.seeds)
    limits.append(
        "With one seed, nothing is known of how seeds differ: another training run may well "
        "lie outside of the intervals."
        if several == 1
        else f"Images and the {several} seeds are both drawn again. The spread of so few seeds "
        f"comes out too small: by √({several - 1} / {several}) where nothing else differs."
    )
    return limits
