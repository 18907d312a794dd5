"""What a study found, from its rows or from a matrix alone, before it is written anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noctule.metrics.estimates import Estimate
from noctule.studies.accuracy import (
    AccuracyRow,
    MeanAccuracies,
    accuracies_of_means,
    mean_accuracies,
)
from noctule.studies.families import (
    Families,
    hierarchical_families,
    kmeans_families,
    seriation,
)
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix, read_matrix
from noctule.studies.overlap import overlap_of_means
from noctule.studies.results import cross_evaluation


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of a study beyond its matrix.

    Attributes:
        folder: of the study.
        seeds: of the study that count here.
        num_images: that every network was measured on.
        means: accuracies on the sample and on every resample.
        accuracies: the same as estimates, a row for each model and condition.
        bootstrap_seed: of the resamples.
    """

    folder: StudyFolder
    seeds: tuple[int, ...]
    num_images: int
    means: MeanAccuracies
    accuracies: tuple[AccuracyRow, ...]
    bootstrap_seed: int


@dataclass(frozen=True, eq=False)
class Findings:
    """All that tables, figures and the page of a study are made of.

    Attributes:
        title: of the study, as its author wrote it.
        matrix: overlap of the candidates.
        families: by k-means.
        hierarchical: families by hierarchical clustering.
        order: of rows and columns: the indices 0 to n - 1 into `matrix.names`.
        measured: None if there is a matrix and no study.
    """

    title: str
    matrix: OverlapMatrix
    families: Families
    hierarchical: Families
    order: tuple[int, ...]
    measured: Measured | None = None


class Gain(NamedTuple):
    """What training with a corruption did against that corruption itself.

    Attributes:
        candidate: the corruption.
        standard: accuracy of the standard model under it, in [0, 1].
        own: accuracy under it of the model that was trained with it, in [0, 1].
        gain: own less standard, in [-1, 1]; its interval is of the difference, paired.
        clean: accuracy of the model that was trained with it on clean images, in [0, 1].
    """

    candidate: str
    standard: Estimate
    own: Estimate
    gain: Estimate
    clean: Estimate


def findings_of_study(
    folder: StudyFolder,
    *,
    form: Form = "robustness",
    candidates: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Findings:
    """Score a study from its rows; the arguments are those of `write_results`.

    Raises:
        InputError: networks are missing, or a choice is not in the study.
    """
    cross = cross_evaluation(folder, candidates=candidates, seeds=seeds)
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    matrix = overlap_of_means(means, form=form, confidence=confidence)
    measured = Measured(
        folder,
        cross.seeds,
        cross.correct.shape[2],
        means,
        accuracies_of_means(means, confidence=confidence),
        seed,
    )
    return _grouped(folder.study.title, matrix, seed, measured)


def findings_of_matrix(path: Path, *, seed: int = 0) -> Findings:
    """The same from a square CSV of overlap scores: without accuracies and intervals.

    Raises:
        InputError: not such a file.
    """
    return _grouped(path.name, read_matrix(path), seed, None)


def gains_of(means: MeanAccuracies, confidence: float) -> tuple[Gain, ...]:
    """What training with each candidate bought against itself, in the study's order.

    >>> import numpy as np
    >>> values = np.array([[[0.9, 0.5], [0.8, 0.75]]])
    >>> gains_of(MeanAccuracies(("shear",), values, "doctest"), 0.95)[0].gain.value
    0.25
    """
    return tuple(
        Gain(
            name,
            standard=means.accuracy(0, place, confidence),
            own=means.accuracy(place, place, confidence),
            gain=means.gain(place - 1, "accuracy", confidence),
            clean=means.accuracy(place, 0, confidence),
        )
        for place, name in enumerate(means.candidates, start=1)
    )


def _grouped(
    title: str, matrix: OverlapMatrix, seed: int, measured: Measured | None
) -> Findings:
    return Findings(
        title,
        matrix,
        kmeans_families(matrix, seed=seed),
        hierarchical_families(matrix),
        seriation(matrix),
        measured,
    )
