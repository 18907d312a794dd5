"""A number with its interval, and the paired bootstrap the interval comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from noctule.sampling import resample_counts

BOOTSTRAP_NAME = "images"
# Replicates are drawn in groups of about this many multiplicities, to bound the memory.
_GROUP_ELEMENTS = 1_000_000
# For many dense columns: of so many multiplicities, by so many columns at once.
_DENSE_GROUP_ELEMENTS = 10_000_000
_DENSE_COLUMNS = 128
_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class Estimate:
    """A number with an interval; what is not defined is None, never 0 or NaN.

    Attributes:
        value: the estimate, or None if it is not defined.
        low: lower end of the interval, or None if there is no interval.
        high: upper end of the interval, or None if there is no interval.
        reason: why there is no value or no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, at full precision."""
        return asdict(self)


Samples = NDArray[np.float64]
"""A statistic on the sample first, then on each resample: (1 + resamples,)."""


@dataclass(frozen=True)
class Sampled:
    """A statistic on its way to an estimate.

    Attributes:
        samples: its values, or None if it is not defined.
        reason: why it is not defined, or why its values make no interval.
    """

    samples: Samples | None
    reason: str | None = None

    def estimate(self, confidence: float) -> Estimate:
        """With the percentile interval that holds the share `confidence` of the resamples."""
        if self.samples is None:
            return Estimate(None, None, None, self.reason)
        value = float(self.samples[0])
        if self.reason is not None:
            return Estimate(value, None, None, self.reason)
        if len(self.samples) == 1:
            return Estimate(value, None, None, "there are no resamples, or a single image")
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.samples[1:], [tail, 1 - tail])
        return Estimate(value, float(low), float(high))


def resampled_means(
    values: sparse.csr_array, *, seed: int, resamples: int
) -> NDArray[np.float64]:
    """Means over images, on the sample and on bootstrap resamples of it.

    Args:
        values: float64 (images, columns); one resample serves all columns.
        seed: of the resampling; replicates depend on it and on the number of images only.
        resamples: how many.

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


def resampled_rates(
    flags: NDArray[np.bool_], *, seed: int, resamples: int
) -> NDArray[np.float64]:
    """Shares of images with a flag: as `resampled_means`, for very many columns.

    A dense product in float32, which is exact: every partial sum is a whole number, and at most
    the number of images.

    Args:
        flags: bool (images, columns); one resample serves all columns.
        seed: of the resampling, as for `resampled_means`.
        resamples: how many.

    Returns:
        float64 (1 + resamples, columns), the sample's shares first; the same numbers, to the
        last bit, as `resampled_means` gives.
    """
    n_images, n_columns = flags.shape
    exact = np.float32 if n_images < _EXACT_IN_FLOAT32 else np.float64
    sums = np.empty((1 + resamples, n_columns))
    sums[0] = flags.sum(axis=0)
    for group in _groups(range(resamples), n_images, _DENSE_GROUP_ELEMENTS):
        counts = np.empty((len(group), n_images), exact)
        for part in _groups(group, n_images, _GROUP_ELEMENTS):
            counts[part.start - group.start :][: len(part)] = _counts(seed, n_images, part)
        for start in range(0, n_columns, _DENSE_COLUMNS):
            columns = slice(start, start + _DENSE_COLUMNS)
            product = counts @ flags[:, columns].astype(exact)
            sums[1 + group.start : 1 + group.stop, columns] = product
    rates: NDArray[np.float64] = sums / n_images
    return rates


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
