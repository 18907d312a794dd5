"""A number with its interval, and the bootstrap for intervals that have no formula."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from noctule.arguments import real_number, seed_number, whole_number
from noctule.sampling import resample_counts

BOOTSTRAP_NAME = "images"
# Replicates are drawn in groups of about this many multiplicities, to bound the memory.
_GROUP_ELEMENTS = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A number with an interval; what is not defined is None, never 0 or NaN.

    Attributes:
        value: The number, or None if it is not defined.
        low: Lower end of the interval, or None if there is no interval.
        high: Upper end of the interval, or None if there is no interval.
        reason: Why there is no value or no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, at full precision."""
        return asdict(self)

    def scaled(self, factor: float) -> Estimate:
        """The estimate in another unit; the factor is positive."""
        value, low, high = (
            None if one is None else factor * one for one in (self.value, self.low, self.high)
        )
        return Estimate(value, low, high, self.reason)

    def within_population(self, factor: float) -> Estimate:
        """The estimate with an interval whose ends are `factor` times as far from it."""
        if self.value is None or self.low is None or self.high is None:
            return self
        low, high = (self.value + factor * (end - self.value) for end in (self.low, self.high))
        return Estimate(self.value, low, high, self.reason)


def population_factor(images: int, population: int) -> float:
    """How much shorter intervals are that hold the score on a known, finite set of images.

    If a share f of a set was drawn at random, the usual correction of a standard error is
    √(1 − f) (Cochran, Sampling Techniques, 1977). It is too small where few images err: if the
    sample holds no error, K errors in the set were missed with probability up to (1 − f)ᴷ, so
    that the interval ends at ln(2 / α) / −ln(1 − f) errors. That is f / −ln(1 − f) times the
    usual end. This is the logarithmic mean of 1 and 1 − f, never below their geometric mean,
    √(1 − f), and hence serves for all scores.

    Args:
        images: Number of images evaluated.
        population: Number of images they were drawn from, at random.

    >>> population_factor(5000, 50000)
    0.9491221581029903
    >>> population_factor(50000, 50000)
    0.0
    """
    if images >= population:
        return 0.0
    share = images / population
    return share / -math.log1p(-share)


def estimate_within(value: float, low: float, high: float, no_interval: str = "") -> Estimate:
    """An estimate with its interval; ends that are NaN are no interval, for the reason given.

    The interval holds the value, which may lie a rounding error outside of its computed ends.
    """
    if math.isnan(low) or math.isnan(high):
        return Estimate(value, None, None, no_interval)
    return Estimate(value, min(low, value), max(high, value))


MAX_RESAMPLES = 100_000


class IntervalSettings(NamedTuple):
    """Settings of the intervals.

    Attributes:
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples.
        confidence: Confidence of the intervals.
    """

    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95


def bootstrap_settings(seed: Any, resamples: Any, confidence: Any) -> IntervalSettings:
    """The settings as plain numbers.

    Raises:
        InputError: One of them is not a number or is out of its range.
    """
    return IntervalSettings(
        seed_number(seed),
        whole_number(resamples, "resamples", low=0, high=MAX_RESAMPLES),
        real_number(confidence, "confidence", low=0, high=1, open_ends=True),
    )


Replicates = NDArray[np.float64]
"""A statistic on the sample first, then on each resample: (1 + resamples,)."""


def resampled_means(
    values: sparse.csr_array, *, seed: int, resamples: int
) -> NDArray[np.float64]:
    """Means over images, on the sample and on bootstrap resamples of it.

    Args:
        values: float64 (images, columns); one resample serves all columns.
        seed: Seed of the resampling; replicates depend on it and on the number of images only.
        resamples: Number of resamples.

    Returns:
        float64 (1 + resamples, columns), the sample's means first.
    """
    n_images = values.shape[0]
    columns = values.T.tocsr()
    sums = [columns @ np.ones((n_images, 1))]
    for group in _groups(range(resamples), n_images, _GROUP_ELEMENTS):
        counts = _counts(seed, n_images, group)
        sums.append(columns @ counts.T.astype(np.float64, order="C"))
    means: NDArray[np.float64] = np.concatenate(sums, axis=1).T / n_images
    return means


def _groups(replicates: range, n_images: int, elements: int) -> Iterator[range]:
    step = max(1, elements // n_images)
    for start in range(replicates.start, replicates.stop, step):
        yield range(start, min(start + step, replicates.stop))


def _counts(seed: int, n_images: int, replicates: range) -> NDArray[np.int32]:
    with _one_torch_thread():
        counts: NDArray[np.int32] = resample_counts(
            seed, BOOTSTRAP_NAME, n_images, replicates
        ).numpy()
    return counts


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    # Hundreds of operations of a millisecond: on a busy machine two threads wait for each
    # other in every one of them, and take several times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
