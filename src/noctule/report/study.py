"""Everything a finished study gives: matrix, intervals, families, figures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from noctule.report.study_files import summary, write_study_files
from noctule.study.accuracy import accuracies_of_means, mean_accuracies
from noctule.study.families import hierarchical_families, kmeans_families, seriation
from noctule.study.folder import StudyFolder
from noctule.study.matrix import Form, OverlapMatrix
from noctule.study.overlap import overlap_of_means
from noctule.study.results import cross_evaluation

if TYPE_CHECKING:
    from rich.console import RenderableType


class Results(NamedTuple):
    """What `write_results` found.

    Attributes:
        matrix: the overlap matrix, with its bootstrap replicates.
        files: everything that was written.
        summary: what a person wants to see of it in a terminal.
    """

    matrix: OverlapMatrix
    files: list[Path]
    summary: Sequence[RenderableType]


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
    """Score a study from its rows, and write matrix, tables and figures.

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
    cross = cross_evaluation(folder, candidates=candidates, seeds=seeds)
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    matrix = overlap_of_means(means, form=form, confidence=confidence)
    families = kmeans_families(matrix, seed=seed)
    files = write_study_files(
        out,
        matrix=matrix,
        accuracies=accuracies_of_means(means, confidence=confidence),
        families=families,
        hierarchical=hierarchical_families(matrix),
        order=seriation(matrix),
        title=folder.study.title,
    )
    return Results(matrix, files, summary(matrix, families))
