"""Everything a finished study gives: matrix, intervals, families, figures, tables, a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from noctule.report.study_files import summary, write_study_files
from noctule.report.study_page import findings_of_study, page_of
from noctule.report.terminal import Part
from noctule.report.web import write_page
from noctule.store.disk import locked, remove_temporaries
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix

PAGE_NAME = "report.html"


class Results(NamedTuple):
    """What `write_results` found.

    Attributes:
        matrix: the overlap matrix, with its bootstrap replicates.
        files: everything that was written.
        summary: what a person wants to see of it in a terminal.
    """

    matrix: OverlapMatrix
    files: list[Path]
    summary: Sequence[Part]


def write_results(
    folder: StudyFolder,
    out: Path,
    *,
    form: Form = "robustness",
    candidates: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Results:
    """Score a study from its rows, and write matrix, tables, figures and the page.

    Args:
        folder: of the study.
        out: the folder to write to; it is made if need be.
        form: of the overlap score, "robustness" or "accuracy".
        candidates: those wanted; None is all.
        seeds: the study's seeds wanted; None is all.
        resamples: bootstrap resamples.
        confidence: of the intervals.
        seed: of the bootstrap and of the families.

    Raises:
        InputError: networks are missing, or a choice is not in the study.
        OutputError: a file cannot be written.
    """
    findings = findings_of_study(
        folder,
        form=form,
        candidates=candidates,
        seeds=seeds,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    matrix, families = findings.matrix, findings.families
    page, _ = page_of(findings, folder.folder)
    with locked(out, "writing results into"):
        remove_temporaries(out)
        files = write_study_files(
            out,
            matrix=matrix,
            accuracies=findings.measured.accuracies if findings.measured else (),
            families=families,
            hierarchical=findings.hierarchical,
            order=findings.order,
            title=findings.title,
        )
        write_page(out / PAGE_NAME, page)
    return Results(matrix, [*files, out / PAGE_NAME], summary(matrix, families))
