"""Means over images of numbers by image and condition, and their ratios to a reference's.

One path for the scores of a model and for the differences of two, B − A.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN, Benchmark
from noctule.metrics.estimates import Estimate, estimate_within
from noctule.metrics.intervals import (
    Array,
    Bounds,
    RatioOfMeans,
    difference_bounds,
    share_bounds,
)
from noctule.metrics.registry import Metric, Scope

# Differences of error rates below this are rounding: one image in 2**30 weighs more.
_ROUNDING = 1e-12
_TOO_FEW = "there are too few images for an interval"
NO_CLEAN = "the clean images were not evaluated"
Values = NDArray[np.bool_] | NDArray[np.int8] | NDArray[np.float32] | NDArray[np.float64]
Estimates = dict[tuple[Scope, str], Estimate]
"""By scope, and name of the condition, corruption or benchmark."""


class ImageValues(NamedTuple):
    """Numbers by image and condition whose means are wanted.

    Attributes:
        conditions: Names of the columns.
        values: (images, conditions): shares are bool, or numbers in [low, high].
        low, high: Range of the numbers.
    """

    conditions: Sequence[str]
    values: Values
    low: float = 0.0
    high: float = 1.0

    def less(self, other: ImageValues) -> ImageValues:
        """The differences to other values, of the same images and conditions."""
        kind = np.int8 if self.values.dtype == np.bool_ else np.float64
        found = self.values.astype(kind) - other.values.astype(kind)
        return ImageValues(self.conditions, found, self.low - self.high, self.high - self.low)

    def bounds(self, columns: Array, confidence: float) -> Bounds:
        """Intervals for the means of columns that are means of these values.

        Shares have `share_bounds`, all others `difference_bounds`; where the range is infinite,
        an image that the sample has missed may be as far from the mean as any that it holds.
        """
        mean = columns.mean(axis=0)
        squares = ((columns - mean) ** 2).sum(axis=0)
        if self.values.dtype == np.bool_:
            return share_bounds(mean, squares, len(columns), confidence)
        largest: float | Array = max(abs(self.low), abs(self.high))
        if largest == math.inf:
            largest = np.abs(columns - mean).max(axis=0)
        low, high = difference_bounds(
            mean,
            squares,
            len(columns),
            confidence,
            largest=largest,
            limits=(self.low, self.high),
        )
        finite = np.isfinite(low) & np.isfinite(high)
        return Bounds(np.where(finite, low, np.nan), np.where(finite, high, np.nan))


ReferenceErrors = Mapping[str, float] | ImageValues | None
"""The reference's errors by condition, taken as exact; its outcomes on the same images, in the
same order; or none."""


def mean_estimates(
    metric: Metric, table: ImageValues, benchmark: Benchmark, confidence: float
) -> Estimates:
    """The means by condition and, if the metric has them there, by corruption and over all."""
    columns = table.values.astype(np.float64)
    bounds = table.bounds(columns, confidence)
    found: Estimates = {}
    for name, one in _estimates(table.conditions, columns.mean(axis=0), bounds).items():
        if name != CLEAN or not metric.needs_clean:
            found["condition", name] = one
    if not metric.mean_name:
        return found
    ours = corruption_means(table, benchmark)
    assert ours.columns is not None
    means = np.array([*ours.means.values()])
    bounds = table.bounds(ours.columns, confidence)
    for name, one in _estimates(ours.means, means, bounds).items():
        found["corruption", name] = one
    bounds = table.bounds(ours.columns.mean(axis=1, keepdims=True), confidence)
    found["benchmark", benchmark.name] = _mean_estimate(_mean(means.tolist()), bounds, _TOO_FEW)
    return found


def ratio_estimates(
    metric: Metric,
    errors: ImageValues,
    benchmark: Benchmark,
    reference: ReferenceErrors,
    *,
    no_reference_reason: str,
    confidence: float,
) -> Estimates:
    """The ratios to a reference by corruption, and their mean, in percent.

    Not defined where the reference makes no error (CE), or its error does not rise (relative
    CE).

    Args:
        metric: CE or relative CE.
        errors: Errors of one model, or the differences of two models' errors.
        benchmark: Its corrupted conditions are among those of the errors and the reference.
        reference: What the errors are relative to.
        no_reference_reason: Why there is none, if there is none.
        confidence: Confidence of the intervals.
    """
    ours = corruption_means(errors, benchmark)
    if reference is None:
        return _undefined(benchmark, no_reference_reason)
    tops, bases = (metric(one) for one in (ours, corruption_means(reference, benchmark)))
    for one in (tops, bases):
        if not isinstance(one, CorruptionMeans | None):
            raise metric.error(
                f"returned {type(one).__name__}, expected CorruptionMeans or None"
            )
    if tops is None or bases is None:
        return _undefined(benchmark, NO_CLEAN)
    each, mean = _Ratios(metric.title, tops, bases, confidence).estimates()
    found: Estimates = {("corruption", name): one for name, one in each.items()}
    return found | {("benchmark", benchmark.name): mean}


def corruption_error(error: float, reference: float) -> float:
    """CE in percent, 100 · E_c / E_c(ref); of two rises over the clean error, relative CE.

    >>> corruption_error(0.4, 0.8)
    50.0
    """
    return 100 * (error / reference)


class CorruptionMeans(NamedTuple):
    """Means by corruption, and on clean images if those are known.

    Attributes:
        means: Mean over images and severities by corruption.
        columns: What each image adds to it, (images, corruptions); None if means are exact.
        table: Values that the columns are means of, or their kind and range alone.
        clean: Mean on clean images.
        clean_column: What each image adds to it.
        is_rise: Whether these are rises over the clean images.
    """

    means: dict[str, float]
    columns: Array | None
    table: ImageValues | None
    clean: float | None
    clean_column: Array | None
    is_rise: bool = False

    def rise(self) -> CorruptionMeans | None:
        """The means less the clean one, if that is known."""
        if self.clean is None:
            return None
        means = {name: mean - self.clean for name, mean in self.means.items()}
        if self.columns is None or self.clean_column is None or self.table is None:
            return CorruptionMeans(means, None, None, None, None, is_rise=True)
        size = self.table.high - self.table.low
        table = ImageValues((), np.empty(0, np.int8), -size, size)  # for its range
        columns = self.columns - self.clean_column[:, None]
        return CorruptionMeans(means, columns, table, None, None, is_rise=True)


def corruption_means(
    values: Mapping[str, float] | ImageValues, benchmark: Benchmark
) -> CorruptionMeans:
    """Means over the severities of each corruption of a benchmark."""
    groups = {
        name: [str(one) for one in benchmark.conditions_of_corruption(name)]
        for name in benchmark.corruptions
    }
    if not isinstance(values, ImageValues):
        means = {name: _mean([values[one] for one in group]) for name, group in groups.items()}
        return CorruptionMeans(means, None, None, values.get(CLEAN), None)
    names, numbers = list(values.conditions), values.values
    if numbers.dtype in (np.bool_, np.int8):  # sums of whole numbers are exact
        rates = numbers.sum(axis=0, dtype=np.int64) / len(numbers)
        columns = _group_means(names, numbers.astype(np.float32), groups.values())
    else:
        rates = numbers.mean(axis=0, dtype=np.float64)
        columns = _group_means(names, numbers.astype(np.float64), groups.values())
    rate_of = dict(zip(names, rates.tolist(), strict=True))
    means = {name: _mean([rate_of[one] for one in group]) for name, group in groups.items()}
    clean_column = None
    if CLEAN in rate_of:
        clean_column = numbers[:, names.index(CLEAN)].astype(np.float64)
    return CorruptionMeans(means, columns, values, rate_of.get(CLEAN), clean_column)


def _group_means(
    names: Sequence[str],
    values: NDArray[np.float32] | NDArray[np.float64],
    groups: Collection[Sequence[str]],
) -> Array:
    """Means of groups of columns, (images, groups)."""
    members = np.zeros((len(names), len(groups)), values.dtype)
    for column, group in enumerate(groups):
        members[[names.index(one) for one in group], column] = 1
    means: Array = (values @ members) / np.array([len(group) for group in groups], np.float64)
    return means


class _Ratios(NamedTuple):
    """Ratios of errors, or of rises of errors, by corruption.

    Attributes:
        title: Title of the metric.
        ours: Numerators.
        theirs: Denominators.
        confidence: Confidence of the intervals.
    """

    title: str
    ours: CorruptionMeans
    theirs: CorruptionMeans
    confidence: float

    def estimates(self) -> tuple[dict[str, Estimate], Estimate]:
        """By corruption and their mean, in percent; what has no value or interval says why."""
        undefined = {
            name: Estimate(None, None, None, self._why_undefined(base))
            for name, base in self.theirs.means.items()
            if base <= _ROUNDING
        }
        values = {
            name: corruption_error(value, self.theirs.means[name])
            for name, value in self.ours.means.items()
            if name not in undefined
        }
        columns = [index for index, name in enumerate(self.ours.means) if name in values]
        if not columns:
            return undefined, self._mean(undefined, Bounds(np.empty(0), np.empty(0)))
        bounds, mean_bounds = self._bounds(columns)
        found = _estimates(values, [*values.values()], bounds, self._no_interval)
        estimates = {name: found.get(name) or undefined[name] for name in self.ours.means}
        return estimates, self._mean(estimates, mean_bounds)

    def _bounds(self, columns: Sequence[int]) -> tuple[Bounds, Bounds]:
        """Intervals of the ratios in these columns, and of their mean."""
        table = self.ours.table
        assert self.ours.columns is not None
        assert table is not None
        over = self.ours.columns[:, columns]
        if self.theirs.columns is None:
            factors = 100 / np.array([*self.theirs.means.values()])[columns]
            mixed = over @ (factors / factors.sum())
            mean_bounds = table.bounds(mixed[:, None], self.confidence)
            return (
                table.bounds(over, self.confidence).scaled(factors),
                mean_bounds.scaled(float(factors.mean())),
            )
        ratios = RatioOfMeans(over, self.theirs.columns[:, columns], table.high)
        lowest = 0.0 if table.low == 0 else -math.inf
        each, mean = (
            Bounds(np.maximum(100 * one.low, lowest), 100 * one.high)
            for one in (ratios.bounds(self.confidence), ratios.mean_bounds(self.confidence))
        )
        return each, mean

    def _why_undefined(self, base: float) -> str:
        if not self.ours.is_rise:
            return f"the reference's error under it is {100 * base:g} %"
        change = f"{100 * base:+.2f}".replace("-", "−")
        return f"the reference's error does not rise under it ({change} points)"

    @property
    def _no_interval(self) -> str:
        what = "error rises" if self.ours.is_rise else "errs"
        whose = "the reference's" if self.ours.is_rise else "the reference"
        return f"{whose} {what} under it on too few images for an interval"

    def _mean(self, estimates: Mapping[str, Estimate], bounds: Bounds) -> Estimate:
        """Not defined unless every one is."""
        undefined = [name for name, one in estimates.items() if one.value is None]
        if undefined:
            reason = f"{self.title} is not defined for {', '.join(undefined)}"
            return Estimate(None, None, None, reason)
        unbounded = [name for name, one in estimates.items() if one.low is None]
        values = [one.value for one in estimates.values() if one.value is not None]
        reason = f"{self.title} has no interval for {', '.join(unbounded)}"
        return _mean_estimate(_mean(values), bounds, reason)


def _undefined(benchmark: Benchmark, reason: str) -> Estimates:
    undefined = Estimate(None, None, None, reason)
    found: Estimates = {("corruption", name): undefined for name in benchmark.corruptions}
    return found | {("benchmark", benchmark.name): undefined}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _estimates(
    names: Iterable[str],
    values: Iterable[float],
    bounds: Bounds,
    no_interval: str = _TOO_FEW,
) -> dict[str, Estimate]:
    rows = zip(names, values, bounds.low.tolist(), bounds.high.tolist(), strict=True)
    return {
        name: estimate_within(float(value), low, high, no_interval)
        for name, value, low, high in rows
    }


def _mean_estimate(value: float, bounds: Bounds, no_interval: str) -> Estimate:
    return estimate_within(value, bounds.low.item(), bounds.high.item(), no_interval)
