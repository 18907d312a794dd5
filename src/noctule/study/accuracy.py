"""What a study measured, and its accuracies on the sample and on every resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from noctule.benchmarks import CLEAN
from noctule.errors import InputError
from noctule.metrics.estimates import Estimate, Sampled, resampled_means
from noctule.sampling import resample_counts
from noctule.study.spec import STANDARD

SEEDS_NAME = "seeds"


@dataclass(frozen=True, eq=False)
class CrossEvaluation:
    """Every model of a study under every condition of it, image by image.

    Model 0 is the standard model, condition 0 is clean; model i and condition i belong to
    candidate i - 1. A candidate is a corruption, one name for its full range.

    Attributes:
        candidates: names of the n candidate corruptions.
        seeds: of the s replicates of the study.
        correct: bool (s, 1 + n models, images, 1 + n conditions), whether the prediction is
            the label. The same images everywhere; in the order of their sorted ids, their
            resamples are those of `noctule.metrics.score`.
        source: what was measured, for people.

    Raises:
        InputError: no candidate, no image, a name that occurs twice, or another shape.
    """

    candidates: tuple[str, ...]
    seeds: tuple[int, ...]
    correct: NDArray[np.bool_]
    source: str

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) != len(self.candidates):
            raise InputError(
                f"{list(self.candidates)} is empty or holds a name twice", where="candidates"
            )
        count = 1 + len(self.candidates)
        shape = self.correct.shape
        if len(shape) != 4 or (len(self.seeds), count, count) != (*shape[:2], shape[3]):
            raise InputError(
                f"its shape is {shape}, not ({len(self.seeds)}, {count}, images, {count})",
                where="correct",
                remedy="Give one entry for each seed, model, image and condition.",
            )
        if self.correct.size == 0 or self.correct.dtype != np.bool_:
            raise InputError(
                f"it holds {self.correct.size} entries of type {self.correct.dtype}",
                where="correct",
                remedy="Give at least one seed and one image, and true or false for each.",
            )


@dataclass(frozen=True, eq=False)
class MeanAccuracies:
    """Accuracies over images and seeds: what overlap and the table of accuracies are made of.

    Attributes:
        candidates: names of the n candidate corruptions.
        values: float64 (1 + resamples, 1 + n models, 1 + n conditions), in [0, 1]; the
            sample's first.
        source: what was measured, for people.
    """

    candidates: tuple[str, ...]
    values: NDArray[np.float64]
    source: str


class AccuracyRow(NamedTuple):
    """One cell of the cross-evaluation.

    Attributes:
        model: "standard", or the candidate it was trained with.
        condition: "clean", or a candidate.
        accuracy: in [0, 1], the mean over images and seeds.
    """

    model: str
    condition: str
    accuracy: Estimate


def mean_accuracies(
    cross: CrossEvaluation, *, resamples: int = 1000, seed: int = 0
) -> MeanAccuracies:
    """Average over images and over the study's seeds, on the sample and on each resample.

    A resample draws images with replacement, and seeds too where there are several; both
    serve all models and conditions (the models of one seed share their first weights and the
    order of their images, so a seed is drawn for all of them together). With a single seed,
    nothing is known of how seeds differ and the resamples say nothing of it.

    Resampling two crossed factors has its limits (Owen, "The pigeonhole bootstrap", Annals of
    Applied Statistics 2007). The spread of s seeds comes out too small, by √((s - 1) / s):
    where nothing but seeds differs, a 95 % interval from three of them holds the truth 75 %
    of the time, from six 87 %. What is peculiar to one image in one seed counts up to three
    times: where seeds do not differ at all, it is 99 %.

    Args:
        cross: what was measured.
        resamples: how many; 0 gives no intervals, and a single image gives none either.
        seed: of the resampling.

    Raises:
        InputError: `resamples` is negative.
    """
    if resamples < 0:
        raise InputError(f"{resamples} is less than 0", where="resamples")
    num_seeds, count, num_images, _ = cross.correct.shape
    if num_images == 1:
        resamples = 0
    weights = _seed_weights(num_seeds, resamples=resamples, seed=seed)
    total = np.zeros((1 + resamples, count * count))
    # One seed at a time: a float is many times the size of an outcome.
    for correct, weight in zip(cross.correct, weights.T, strict=True):
        columns = correct.transpose(1, 0, 2).reshape(num_images, -1)
        means = resampled_means(
            sparse.csr_array(columns, dtype=np.float64), seed=seed, resamples=resamples
        )
        total += weight[:, None] * means
    values = (total / num_seeds).reshape(-1, count, count)
    return MeanAccuracies(cross.candidates, values, cross.source)


def _seed_weights(num_seeds: int, *, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each seed counts, on the sample and on each resample: (1 + resamples, s)."""
    drawn = resample_counts(seed, SEEDS_NAME, num_seeds, range(resamples)).numpy()
    return np.concatenate([np.ones((1, num_seeds)), drawn.astype(np.float64)])


def accuracies(
    cross: CrossEvaluation, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[AccuracyRow, ...]:
    """Accuracy of every model under every condition; see `mean_accuracies`.

    >>> right = np.array([[[[1, 0], [1, 1]], [[1, 1], [0, 1]]]], dtype=bool)
    >>> cross = CrossEvaluation(("shear",), (0,), right, "doctest")
    >>> for row in accuracies(cross, resamples=0):
    ...     print(row.model, row.condition, row.accuracy.value)
    standard clean 1.0
    standard shear 0.5
    shear clean 0.5
    shear shear 1.0
    """
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return accuracies_of_means(means, confidence=confidence)


def accuracies_of_means(
    means: MeanAccuracies, *, confidence: float = 0.95
) -> tuple[AccuracyRow, ...]:
    """The same from accuracies that are averaged already.

    Raises:
        InputError: `confidence` is not between 0 and 1.
    """
    check_confidence(confidence)
    return tuple(
        AccuracyRow(model, condition, Sampled(means.values[:, m, c]).estimate(confidence))
        for m, model in enumerate((STANDARD, *means.candidates))
        for c, condition in enumerate((CLEAN, *means.candidates))
    )


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1, both left out."""
    if not 0 < confidence < 1:
        raise InputError(
            f"{confidence} is not between 0 and 1", where="confidence", remedy="Say 0.95."
        )
