"""Intervals and tests for means over images; closed forms, no resampling.

Images are the independent units. What an image contributes to a score is a number: 0 or 1 for a
single condition, a share for a mean over conditions, a difference for a paired comparison. Few
images, or few errors, are not enough to estimate the variance of that number: four of four
correct images do not show that errors never occur. Every interval here therefore allows for
images that the sample may have missed. `unseen_images` is their number: if the model errs on
none of n images, it may err on up to ln(2 / α) / n of all images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

SMALLEST_P = 1e-12
"""Smaller p-values are reported as this one."""


class Bounds(NamedTuple):
    """Ends of intervals, one for each column; NaN where there is no interval."""

    low: Array
    high: Array

    def scaled(self, factor: float | Array) -> Bounds:
        """The bounds of `factor` times the estimate; the factor is positive."""
        return Bounds(factor * self.low, factor * self.high)


def normal_quantile(confidence: float) -> float:
    """z: a standard normal number lies in ±z with this probability."""
    return -float(special.ndtri((1 - confidence) / 2))


def unseen_images(confidence: float) -> float:
    """The number of images of one kind that the sample may have missed.

    ln(2 / α) is the number expected in the sample such that it holds none of them with
    probability α / 2 (the "rule of three": 3.7 at 95 %). z² is larger at confidences above
    94 %, and keeps the coverage right for counts of a few images too.

    >>> round(unseen_images(0.95), 2), round(unseen_images(0.5), 2)
    (3.84, 1.39)
    """
    return max(normal_quantile(confidence) ** 2, math.log(2 / (1 - confidence)))


def share_bounds(mean: Array, squares: Array, num_images: int, confidence: float) -> Bounds:
    """Intervals for means over images of shares, numbers in [0, 1].

    The exact interval of Clopper & Pearson (Biometrika 26, 1934) with the effective number of
    images, as Korn & Graubard do for clustered samples (Survey Methodology 24, 1998): n divided
    by the design effect, the variance of the shares in units of p · (1 − p). `unseen_images` is
    added to both sides of that ratio, so that few errors do not make it small by chance. For a
    single condition the design effect is 1: the interval is that of Clopper & Pearson.

    Args:
        mean: Mean of each column, in [0, 1].
        squares: Sum over the images of (share − mean)².
        num_images: Number of images.
        confidence: Confidence of the intervals.

    >>> low, high = share_bounds(np.array([0.0]), np.array([0.0]), 4, 0.95)
    >>> round(low.item(), 4), round(high.item(), 4)  # 1 − .025 ** (1 / 4)
    (0.0, 0.6024)
    """
    tail = (1 - confidence) / 2
    missed = unseen_images(confidence) ** 2 / normal_quantile(confidence) ** 2
    binary = num_images * mean * (1 - mean)
    effective = num_images * (binary + missed) / (squares + missed)
    wrong, right = effective * mean, effective * (1 - mean)
    low = np.where(wrong > 0, special.betaincinv(np.maximum(wrong, 1e-300), right + 1, tail), 0)
    high = np.where(
        right > 0, special.betaincinv(wrong + 1, np.maximum(right, 1e-300), 1 - tail), 1
    )
    return Bounds(np.minimum(low, mean), np.maximum(high, mean))


def difference_bounds(
    mean: Array,
    squares: Array,
    num_images: int,
    confidence: float,
    *,
    largest: float | Array = 1.0,
    limits: tuple[float, float] | None = None,
) -> Bounds:
    """Intervals for means over images of differences, numbers in [−largest, largest].

    They hold every δ that is not rejected by the test of `difference_p`,

        n² · (mean − δ)² ≤ z² · Σ (d_i − δ)² + (unseen_images · largest)²,

    a score test: the variance is that about δ. The last term is what images of the largest
    difference may add that the sample has missed; it is of no account where many images differ.

    Args:
        mean: Mean of each column.
        squares: Sum over the images of (d_i − mean)².
        num_images: Number of images.
        confidence: Confidence of the intervals.
        largest: Largest difference that an image can have.
        limits: Range of the mean; by default [−largest, largest].
    """
    lowest, highest = (-largest, largest) if limits is None else limits
    z, missed = normal_quantile(confidence), unseen_images(confidence) * largest
    scale = num_images**2 - z**2 * num_images
    # With z² images or fewer, no δ is rejected.
    reach = np.sqrt((z**2 * squares + missed**2) / scale) if scale > 0 else np.inf
    return Bounds(np.maximum(mean - reach, lowest), np.minimum(mean + reach, highest))


def difference_p(
    mean: float, squares: float, num_images: int, at: float = 0.0, *, largest: float = 1.0
) -> float:
    """Two-sided p-value of the hypothesis that the mean over all images is `at`.

    1 − the smallest confidence at which `difference_bounds` leaves `at` out. It holds for equal
    means whatever else differs: how the differences of an image are spread, or clustered.

    Args:
        mean: Mean over the images of numbers in [−largest, largest].
        squares: Sum over the images of (number − mean)².
        num_images: Number of images.
        at: Mean to be tested.
        largest: Largest difference that an image can have.

    Returns:
        p in [SMALLEST_P, 1].

    >>> round(difference_p(0.07, 7 - 100 * 0.07**2, 100), 3)  # 7 of 100 differ, all one way
    0.038
    """
    distance = (num_images * (mean - at)) ** 2
    about = squares + num_images * (mean - at) ** 2

    def excess(log_p: float) -> float:
        confidence = -math.expm1(log_p)
        missed = unseen_images(confidence) * largest
        return normal_quantile(confidence) ** 2 * about + missed**2 - distance

    from scipy import optimize  # takes a while to import

    least, most = math.log(SMALLEST_P), math.log1p(-1e-9)
    if excess(most) >= 0:
        return 1.0
    if excess(least) <= 0:
        return SMALLEST_P
    return math.exp(float(optimize.brentq(excess, least, most, xtol=1e-12)))


class RatioOfMeans(NamedTuple):
    """Ratios of two means over images, θ = mean(x) / mean(y), one for each column.

    Attributes:
        over: x by image, (images, columns).
        under: y by image, likewise; its means are positive.
        largest_over: Largest absolute value that x can have.
        largest_under: Largest absolute value that y can have.
    """

    over: Array
    under: Array
    largest_over: float = 1.0
    largest_under: float = 1.0

    @property
    def values(self) -> Array:
        """θ on the sample."""
        ratio: Array = self.over.mean(axis=0) / self.under.mean(axis=0)
        return ratio

    def bounds(self, confidence: float) -> Bounds:
        """Fieller's intervals (Journal of the Royal Statistical Society B 16, 1954).

        They hold every θ for which the test of `difference_p` does not reject that x − θ y has
        mean 0: a quadratic inequality in θ. Where the same test does not show the mean of y to
        be above 0, θ has no bound, and there is no interval.
        """
        z2 = normal_quantile(confidence) ** 2
        missed = unseen_images(confidence)
        top, base = self.over.sum(axis=0), self.under.sum(axis=0)

        def product(one: Array, other: Array) -> Array:
            summed: Array = np.einsum("ic,ic->c", one, other)
            return summed

        a = base**2 - z2 * product(self.under, self.under) - (missed * self.largest_under) ** 2
        b = top * base - z2 * product(self.over, self.under)
        c = top**2 - z2 * product(self.over, self.over) - (missed * self.largest_over) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            root = np.sqrt(np.where(a > 0, b**2 - a * c, np.nan))
            return Bounds((b - root) / a, (b + root) / a)

    def mean_bounds(self, confidence: float) -> Bounds:
        """The interval of the mean of the ratios; NaN where one of them has none.

        The distances from each ratio to the ends of its interval, combined as the method of
        variance estimates recovery combines them for a sum (Zou & Donner, Statistics in
        Medicine 27, 2008; with correlations Zou 2009): d = √(dᵀ ρ d) / columns. ρ is the
        correlation of the ratios' linear parts (x − θ y) / mean(y) over images, with missed
        images that count in every column.
        """
        bounds, values = self.bounds(confidence), self.values
        base = self.under.mean(axis=0)
        linear = (self.over - values * self.under) / base
        missed = unseen_images(confidence) / normal_quantile(confidence)
        reach = missed * np.hypot(self.largest_over, values * self.largest_under) / base
        covariance = linear.T @ linear + np.outer(reach, reach)
        spread = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(spread, spread)
        down, up = (
            np.sqrt(np.maximum(0.0, d @ correlation @ d)) / len(d)
            for d in (values - bounds.low, bounds.high - values)
        )
        return Bounds(values.mean() - down, values.mean() + up)
