"""What a study measured, and its accuracies on the sample and on every resample."""

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
    """Every model of a study under every condition of it, image by image.

    Model 0 is the standard model, condition 0 is clean; model i and condition i belong to
    candidate i - 1. A candidate is a corruption, one name for its full range.

    Attributes:
        candidates: Names of the n candidate corruptions.
        seeds: Of the s replicates of the study.
        correct: bool (s, 1 + n models, images, 1 + n conditions), whether the prediction is
            the label. The same images everywhere; in the order of their sorted ids, their
            resamples are those of `noctule.metrics.score`.
        source: What was measured, for people.

    Raises:
        InputError: No candidate, no image, a name that occurs twice, or another shape.
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


class ImageMoments(NamedTuple):
    """How accuracies vary over images, each the mean over the seeds.

    Attributes:
        num_images: Number of images.
        num_seeds: Number of seeds.
        squares: (1 + n models, 1 + n conditions), sum over the images of (x − mean)².
        products: (n, 4, 4), for each candidate the sums of products of four deviations: its own
            model under it and on clean images, the standard model under it and on clean images.
    """

    num_images: int
    num_seeds: int
    squares: NDArray[np.float64]
    products: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanAccuracies:
    """Accuracies over images and seeds: what overlap and the table of accuracies are made of.

    Intervals over images are by formula: they hold for few images too, and for accuracies near
    0 and 1, where those of the bootstrap are too short. Those of several seeds also hold the
    bootstrap's over images and seeds, and so do those of gains, which overlap divides by on
    every resample.

    Attributes:
        candidates: Names of the n candidate corruptions.
        values: float64 (1 + resamples, 1 + n models, 1 + n conditions), in [0, 1]; the
            sample's first.
        source: What was measured, for people.
        moments: How the accuracies vary over images; None gives the bootstrap's intervals.
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
        """D_b of a candidate (numbered from 0) with its interval; see `study.overlap`.

        The interval is of paired differences. For the form "robustness" they are those of the
        linear part of A_b / A_clean in each model.
        """
        samples = gains_of_form(self.values, form)[:, candidate, candidate]
        if self.moments is None:
            return _widened(samples, None, confidence)
        place = candidate + 1
        own, own_clean, std, std_clean = self.values[0][
            [place, place, 0, 0], [place, 0, place, 0]
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
    """The interval that holds the bootstrap's and this one, as far as they are known."""
    known = [] if ends is None else [(ends.low.item(), ends.high.item())]
    if len(samples) > 1:
        tail = (1 - confidence) / 2
        # The observed value outside of each end: no more than the tail share is left beyond.
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
    # On a resample where a model has no clean image right its robustness is 0 / 0. That is no
    # evidence of a gain, hence none: it counts against D_b being above 0, and a candidate that
    # is defined all the same has at most the tail share of such resamples.
    return np.nan_to_num(gains, nan=0.0)


class AccuracyRow(NamedTuple):
    """One cell of the cross-evaluation.

    Attributes:
        model: "standard", or the candidate it was trained with.
        condition: "clean", or a candidate.
        accuracy: In [0, 1], the mean over images and seeds.
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
        cross: What was measured.
        resamples: Number of resamples, up to 100,000; 0 gives no intervals.
        seed: Seed of the resampling.

    Raises:
        InputError: A setting is not a number or is out of its range.
    """
    seed, resamples, _ = bootstrap_settings(seed, resamples, 0.95)
    num_seeds, count, num_images, _ = cross.correct.shape
    moments = _moments(cross.correct) if resamples else None
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
    return MeanAccuracies(cross.candidates, values, cross.source, moments)


def _moments(correct: NDArray[np.bool_]) -> ImageMoments:
    """Of (seeds, models, images, conditions), one model at a time."""
    images = correct.shape[2]
    standard = correct[:, 0].mean(axis=0)
    squares, products = [standard.var(axis=0) * images], []
    for place in range(1, correct.shape[1]):
        own = correct[:, place].mean(axis=0)
        squares.append(own.var(axis=0) * images)
        four = [own[:, place], own[:, 0], standard[:, place], standard[:, 0]]
        products.append(np.cov(four, ddof=0) * images)
    return ImageMoments(images, len(correct), np.array(squares), np.array(products))


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
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    return tuple(
        AccuracyRow(model, condition, means.accuracy(m, c, confidence))
        for m, model in enumerate((STANDARD, *means.candidates))
        for c, condition in enumerate((CLEAN, *means.candidates))
    )
