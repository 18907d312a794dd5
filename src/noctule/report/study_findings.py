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
# For the choice, and again for repeating it on resamples: enough for about 50 candidates.
TIME_LIMIT_S = 60.0
_NAMES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of a study beyond its matrix.

    Attributes:
        folder: Folder of the study.
        seeds: Seeds of the study that are scored.
        num_images: Number of images that every network was measured on.
        means: Accuracies on the sample and on every resample.
        accuracies: The same as estimates, one for each model and condition.
        bootstrap_seed: Seed of the resamples.
    """

    folder: StudyFolder
    seeds: tuple[int, ...]
    num_images: int
    means: MeanAccuracies
    accuracies: tuple[AccuracyRow, ...]
    bootstrap_seed: int


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that the tables, figures and page of a study show.

    Attributes:
        title: Title of the study, as its author wrote it.
        matrix: Overlap of the candidates.
        families: Families by k-means.
        hierarchical: Families by hierarchical clustering.
        order: Order of rows and columns: the indices 0 to n - 1 into `matrix.names`.
        measured: Measurements; None for a matrix without a study.
    """

    title: str
    matrix: OverlapMatrix
    families: Families
    hierarchical: Families
    order: tuple[int, ...]
    measured: Measured | None = None


class Gain(NamedTuple):
    """The effect of training with a corruption on accuracy under that corruption.

    Attributes:
        candidate: The corruption.
        standard: Accuracy of the standard model under it, in [0, 1].
        own: Accuracy under it of the model that was trained with it, in [0, 1].
        gain: `own` minus `standard`, in [-1, 1], with a paired interval.
        clean: Accuracy on clean images of the model that was trained with it, in [0, 1].
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
        InputError: Networks are missing, or a chosen candidate or seed is not in the study.
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
    """Findings of a square CSV of overlap scores, without accuracies and intervals.

    Raises:
        InputError: The file is not such a CSV.
    """
    return _grouped(path.name, read_matrix(path), seed, None)


def gains_of(means: MeanAccuracies, confidence: float) -> tuple[Gain, ...]:
    """The gain from training with each candidate, in the study's order.

    >>> import numpy as np
    >>> values = np.array([[[0.9, 0.5], [0.8, 0.75]]])
    >>> gains_of(MeanAccuracies(("shear",), values, "doctest"), 0.95)[0].gain.value
    0.25
    """
    return tuple(
        Gain(
            name,
            standard=means.accuracy(0, index, confidence),
            own=means.accuracy(index, index, confidence),
            gain=means.gain(index - 1, "accuracy", confidence),
            clean=means.accuracy(index, 0, confidence),
        )
        for index, name in enumerate(means.candidates, start=1)
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
        name: Name on the command line.
        title: Title of the benchmark.
        scored: Number of its corruptions whose overlap is defined.
        total: Number of its corruptions.
        scores: Scores of the corruptions whose overlap is defined.
    """

    name: str
    title: str
    scored: int
    total: int
    scores: DesignScores


@dataclass(frozen=True)
class ChosenDesign:
    """The benchmark that `noctule design` chooses.

    Attributes:
        choice: Choice by the exact method, without a limit on overlap.
        stability: How often each candidate is chosen on resamples; None without resamples.
        is_default: Whether the size is the default one and not half of fewer candidates.
    """

    choice: ChosenSet
    stability: Stability | None
    is_default: bool


def score_shipped(
    matrix: OverlapMatrix,
) -> tuple[list[ScoredBenchmark], dict[str, list[str]]]:
    """Scores of the benchmarks that come with noctule.

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
        matrix: Overlap of n defined candidates. If n is at most `DEFAULT_SIZE`, half of them
            are chosen.
        resamples: Number of bootstrap resamples to repeat the choice on, if the matrix has
            any.
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
