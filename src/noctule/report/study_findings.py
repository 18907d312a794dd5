"""What a study found: overlap, families, accuracies, and the benchmark to choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noctule.benchmarks import Benchmark, benchmark_names, load_benchmark
from noctule.metrics.estimates import Estimate
from noctule.studies.accuracy import (
    AccuracyRow,
    MeanAccuracies,
    accuracies,
    mean_accuracies,
)
from noctule.studies.design import (
    ChosenSet,
    DesignScores,
    Stability,
    choose_exact,
    score_design,
    stability,
)
from noctule.studies.families import (
    Families,
    hierarchical_families,
    kmeans_families,
    seriation,
)
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix, read_matrix
from noctule.studies.overlap import cross_evaluation, overlap

DEFAULT_SIZE = 8  # of `noctule design`
# For the choice, and for repeating it on resamples: enough for some 50 candidates.
TIME_LIMIT_S = 60.0
_NAMES_SHOWN = 3


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
    matrix = overlap(means, form=form, confidence=confidence)
    measured = Measured(
        folder,
        cross.seeds,
        cross.correct.shape[2],
        means,
        accuracies(means, confidence=confidence),
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


class ScoredBenchmark(NamedTuple):
    """A benchmark that comes with the package, scored as `noctule design score` does.

    Attributes:
        name: as used on the command line.
        title: of the benchmark.
        scored: how many of its corruptions count: those whose overlap is defined.
        total: how many it has.
        scores: of the corruptions that count.
    """

    name: str
    title: str
    scored: int
    total: int
    scores: DesignScores


@dataclass(frozen=True)
class ChosenDesign:
    """What `noctule design` chooses.

    Attributes:
        choice: by the exact method, without a limit on overlap.
        stability: how often each candidate is chosen on resamples; None if there are none.
        is_default: whether the size is the default one; fewer candidates allow half of them.
    """

    choice: ChosenSet
    stability: Stability | None
    is_default: bool


def score_shipped(
    matrix: OverlapMatrix,
) -> tuple[list[ScoredBenchmark], dict[str, list[str]]]:
    """Every shipped benchmark: the scores of those within the candidates, and the others.

    Returns:
        Those that can be scored, and the names of those that cannot, by the reason.
    """
    scored: list[ScoredBenchmark] = []
    unscored: dict[str, list[str]] = {}
    for benchmark in map(load_benchmark, benchmark_names()):
        if (reason := _why_unscored(benchmark, matrix)) is not None:
            unscored.setdefault(reason, []).append(benchmark.name)
            continue
        names = [name for name in benchmark.corruptions if name in matrix.names]
        total = len(benchmark.corruptions)
        scores = score_design(matrix, names)
        named = benchmark.name, benchmark.title
        scored.append(ScoredBenchmark(*named, len(names), total, scores))
    return scored, unscored


def design_of(matrix: OverlapMatrix, *, resamples: int) -> ChosenDesign | None:
    """The default design; None if no overlap is defined.

    Args:
        matrix: of n defined candidates. With no more of them than `DEFAULT_SIZE` the size is
            half of n, for a benchmark of all candidates chooses nothing.
        resamples: bootstrap resamples to repeat the choice on, as far as the matrix has them.
    """
    count = len(matrix.names)
    if not count:
        return None
    is_default = count > DEFAULT_SIZE
    size = DEFAULT_SIZE if is_default else max(1, count // 2)
    known = matrix.replicates is not None and len(matrix.replicates) > 0 and resamples > 0
    return ChosenDesign(
        choose_exact(matrix, size, time_limit_s=TIME_LIMIT_S),
        stability(matrix, size, resamples=resamples, time_limit_s=TIME_LIMIT_S)
        if known
        else None,
        is_default,
    )


def _why_unscored(benchmark: Benchmark, matrix: OverlapMatrix) -> str | None:
    known = {*matrix.names, *matrix.undefined}
    unknown = [name for name in benchmark.corruptions if name not in known]
    if unknown:
        if len(unknown) == len(benchmark.corruptions):
            return "none of its corruptions is among the candidates"
        listed = ", ".join(unknown[:_NAMES_SHOWN])
        more = len(unknown) - _NAMES_SHOWN
        listed += f" and {more} more" if more > 0 else ""
        verb = "is" if len(unknown) == 1 else "are"
        return f"{listed} {verb} not among the candidates"
    if not set(matrix.names) & set(benchmark.corruptions):
        return "the overlap of none of its corruptions is defined"
    return None
