"""The outcomes of a study, and its accuracies on the sample and on every resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from noctule.arguments import real_number
from noctule.benchmarks import CLEAN
from noctule.errors import InputError
from noctule.metrics.estimates import (
    Estimate,
    Replicates,
    bootstrap_settings,
    estimate_within,
    resampled_means,
)
from noctule.metrics.intervals import Bounds, difference_bounds, share_bounds
from noctule.sampling import resample_counts
from noctule.studies.matrix import Form
from noctule.studies.spec import STANDARD

SEEDS_NAME = "seeds"


@dataclass(frozen=True, eq=False)
class CrossEvaluation:
    """The outcomes of every model of a study under every condition, image by image.

    Model 0 is the standard model, condition 0 is clean; model i and condition i belong to
    candidate i - 1. A candidate is a corruption over its full range.

    Attributes:
        candidates: Names of the n candidate corruptions.
        seeds: Seeds of the s replicates of the study.
        correct: Whether the prediction is the label, bool (s, 1 + n models, images, 1 + n
            conditions). The images are the same everywhere, sorted by id, so that resamples
            are those of `noctule.metrics.score`.
        source: Description of the data, for messages and reports.

    Raises:
        InputError: There is no candidate or no image, a name occurs twice, or the shape is
            wrong.
    """

    candidates: tuple[str, ...]
    seeds: tuple[int, ...]
    correct: NDArray[np.bool_]
    source: str

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) != len(self.candidates):
            raise InputError(
                f"{list(self.candidates)} is empty or contains a name twice", where="candidates"
            )
        count = 1 + len(self.candidates)
        shape = self.correct.shape
        if len(shape) != 4 or (len(self.seeds), count, count) != (*shape[:2], shape[3]):
            raise InputError(
                f"its shape is {shape}, not ({len(self.seeds)}, {count}, images, {count})",
                where="correct",
                remedy="Pass one entry for each seed, model, image and condition.",
            )
        if self.correct.size == 0 or self.correct.dtype != np.bool_:
            raise InputError(
                f"it has {self.correct.size} entries of type {self.correct.dtype}",
                where="correct",
                remedy="Pass at least one seed and one image, with entries of type bool.",
            )


class ImageMoments(NamedTuple):
    """The variation of outcomes over images; outcomes are means over the seeds.

    Attributes:
        num_images: Number of images.
        num_seeds: Number of seeds.
        squares: Sum over the images of (x − mean)², (1 + n models, 1 + n conditions).
        products: For each candidate, sums of products of four deviations, (n, 4, 4): its own
            model under it and on clean images, the standard model under it and on clean images.
    """

    num_images: int
    num_seeds: int
    squares: NDArray[np.float64]
    products: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanAccuracies:
    """Mean accuracies over images and seeds.

    Intervals over images are computed by a formula that is valid for few images and for
    accuracies near 0 and 1, where bootstrap intervals are too short. With several seeds, they
    are widened to include the bootstrap interval over images and seeds. So are the intervals of
    gains, which overlaps are divided by on every resample.

    Attributes:
        candidates: Names of the n candidate corruptions.
        values: Accuracies on the sample, then on every resample, in [0, 1]; float64
            (1 + resamples, 1 + n models, 1 + n conditions).
        source: Description of the data, for messages and reports.
        moments: Variation over images; with None, all intervals are bootstrap intervals.
    """

    candidates: tuple[str, ...]
    values: NDArray[np.float64]
    source: str
    moments: ImageMoments | None = None

    def accuracy(self, model: int, condition: int, confidence: float) -> Estimate:
        """Accuracy of one model under one condition."""
        samples, moments = self.values[:, model, condition], self.moments
        if moments is None:
            return _widened(samples, None, confidence)
        squares = moments.squares[[model], [condition]]
        ends = share_bounds(samples[:1], squares, moments.num_images, confidence)
        return _widened(samples[:1] if moments.num_seeds == 1 else samples, ends, confidence)

    def gain(self, candidate: int, form: Form, confidence: float) -> Estimate:
        """D_b of a candidate (index from 0) with its interval; see `noctule.studies.overlap`.

        The interval is that of paired differences; for the form "robustness", of the
        linearisation of A_b / A_clean of each model.
        """
        samples = gains_of_form(self.values, form)[:, candidate, candidate]
        if self.moments is None:
            return _widened(samples, None, confidence)
        index = candidate + 1
        own, own_clean, std, std_clean = self.values[0][
            [index, index, 0, 0], [index, 0, index, 0]
        ]
        slopes = np.array([1.0, 0.0, -1.0, 0.0])
        if form == "robustness":
            slopes = np.array(
                [1 / own_clean, -own / own_clean**2, -1 / std_clean, std / std_clean**2]
            )
        squares = np.array([slopes @ self.moments.products[candidate] @ slopes])
        largest = max(slopes[slopes > 0].sum(), -slopes[slopes < 0].sum())
        images = self.moments.num_images
        ends = difference_bounds(samples[:1], squares, images, confidence, largest=largest)
        return _widened(samples, ends, confidence)


def _widened(samples: Replicates, ends: Bounds | None, confidence: float) -> Estimate:
    """The smallest interval that contains the bootstrap interval and `ends`, if they exist."""
    known = [] if ends is None else [(ends.low.item(), ends.high.item())]
    if len(samples) > 1:
        tail = (1 - confidence) / 2
        # The observed value beyond each end, so that at most the tail share is outside.
        low = np.quantile(samples[1:], tail, method="lower")
        known.append((float(low), float(np.quantile(samples[1:], 1 - tail, method="higher"))))
    if not known:
        return Estimate(float(samples[0]), None, None, "there are no resamples")
    lows, highs = zip(*known, strict=True)
    return estimate_within(float(samples[0]), min(lows), max(highs))


def gains_of_form(values: NDArray[np.float64], form: Form) -> NDArray[np.float64]:
    """R(m_a, b) − R(std, b) on each resample: (1 + resamples, a, b)."""
    if form == "robustness":
        clean = values[:, :, :1]
        values = values / np.where(clean > 0, clean, np.nan)
    gains = values[:, 1:, 1:] - values[:, :1, 1:]
    # If a model has no clean image right on a resample, its robustness is 0 / 0. This counts as
    # no gain, which is conservative: a defined candidate has at most the tail share of such
    # resamples.
    return np.nan_to_num(gains, nan=0.0)


class AccuracyRow(NamedTuple):
    """One cell of the cross-evaluation.

    Attributes:
        model: "standard", or the candidate with which it was trained.
        condition: "clean", or a candidate.
        accuracy: Mean over images and seeds, in [0, 1].
    """

    model: str
    condition: str
    accuracy: Estimate


def mean_accuracies(
    cross: CrossEvaluation, *, resamples: int = 1000, seed: int = 0
) -> MeanAccuracies:
    """Average outcomes over images and seeds, on the sample and on each resample.

    A resample draws images with replacement and, if there are several, seeds. Images and seeds
    are drawn for all models and conditions together, because the models of a seed share their
    initial weights and the order of the images. With one seed, resamples do not include the
    variation between seeds.

    Resampling two crossed factors has limits (Owen, "The pigeonhole bootstrap", Annals of
    Applied Statistics 2007). The standard deviation over s seeds is underestimated by the
    factor √((s - 1) / s): if only seeds vary, a 95 % interval from three seeds covers the true
    value 75 % of the time, and from six 87 %. Variation that is specific to an image and a seed
    is overestimated up to threefold: if seeds do not vary at all, coverage is 99 %.

    Args:
        cross: Outcomes of a study.
        resamples: Number of resamples, up to 100,000; 0 gives no intervals.
        seed: Seed of the resampling.

    Raises:
        InputError: A number is out of range or not a number.
    """
    seed, resamples, _ = bootstrap_settings(seed, resamples, 0.95)
    num_seeds, count, num_images, _ = cross.correct.shape
    moments = _moments(cross.correct) if resamples else None
    if num_images == 1:
        resamples = 0
    weights = _seed_weights(num_seeds, resamples=resamples, seed=seed)
    total = np.zeros((1 + resamples, count * count))
    # One seed at a time, because floats are much larger than outcomes.
    for correct, weight in zip(cross.correct, weights.T, strict=True):
        columns = correct.transpose(1, 0, 2).reshape(num_images, -1)
        means = resampled_means(
            sparse.csr_array(columns, dtype=np.float64), seed=seed, resamples=resamples
        )
        total += weight[:, None] * means
    values = (total / num_seeds).reshape(-1, count, count)
    return MeanAccuracies(cross.candidates, values, cross.source, moments)


def _moments(correct: NDArray[np.bool_]) -> ImageMoments:
    """The moments of outcomes (seeds, models, images, conditions)."""
    images = correct.shape[2]
    standard = correct[:, 0].mean(axis=0)
    squares, products = [standard.var(axis=0) * images], []
    for index in range(1, correct.shape[1]):  # one model at a time, which takes less memory
        own = correct[:, index].mean(axis=0)
        squares.append(own.var(axis=0) * images)
        four = [own[:, index], own[:, 0], standard[:, index], standard[:, 0]]
        products.append(np.cov(four, ddof=0) * images)
    return ImageMoments(images, len(correct), np.array(squares), np.array(products))


def _seed_weights(num_seeds: int, *, resamples: int, seed: int) -> NDArray[np.float64]:
    """The weight of each seed on the sample and on each resample: (1 + resamples, s)."""
    drawn = resample_counts(seed, SEEDS_NAME, num_seeds, range(resamples)).numpy()
    return np.concatenate([np.ones((1, num_seeds)), drawn.astype(np.float64)])


def accuracies(means: MeanAccuracies, *, confidence: float = 0.95) -> tuple[AccuracyRow, ...]:
    """Accuracy of every model under every condition.

    Raises:
        InputError: `confidence` is not between 0 and 1.

    >>> right = np.array([[[[1, 0], [1, 1]], [[1, 1], [0, 1]]]], dtype=bool)
    >>> cross = CrossEvaluation(("shear",), (0,), right, "doctest")
    >>> for row in accuracies(mean_accuracies(cross, resamples=0)):
    ...     print(row.model, row.condition, row.accuracy.value)
    standard clean 1.0
    standard shear 0.5
    shear clean 0.5
    shear shear 1.0
    """
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    return tuple(
        AccuracyRow(model, condition, means.accuracy(m, c, confidence))
        for m, model in enumerate((STANDARD, *means.candidates))
        for c, condition in enumerate((CLEAN, *means.candidates))
    )
