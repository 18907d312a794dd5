"""Errors by corruption, relative to a reference model, and their means, with intervals.

One path for the errors of a model and for the differences of two, B − A: both are numbers by
image and condition whose means are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

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

# Differences of error rates below this are rounding: one image in 2**30 weighs more.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class CorruptionErrors:
    """Errors or their differences as fractions, ratios in percent.

    Attributes:
        conditions: Mean over the images by condition.
        errors: E_c by corruption: the mean over the benchmark's severities of it.
        ces: CE by corruption.
        relative_ces: Relative CE by corruption.
        mean_error: Mean of `errors`.
        mce: Mean of `ces`.
        relative_mce: Mean of `relative_ces`.
    """

    conditions: dict[str, Estimate]
    errors: dict[str, Estimate]
    ces: dict[str, Estimate]
    relative_ces: dict[str, Estimate]
    mean_error: Estimate
    mce: Estimate
    relative_mce: Estimate


class ErrorTable(NamedTuple):
    """Numbers by image and condition whose means are error rates, or differences of them.

    Attributes:
        conditions: Names of the columns.
        values: (images, conditions): bool, whether the model errs; or int8, the difference of
            two such.
    """

    conditions: Sequence[str]
    values: NDArray[np.bool_] | NDArray[np.int8]

    @property
    def are_differences(self) -> bool:
        """Whether the values lie in [−1, 1] and not in [0, 1]."""
        return self.values.dtype != np.bool_


ReferenceErrors = Mapping[str, float] | ErrorTable | None
"""The reference's errors by condition, taken as exact; its outcomes on the same images, in the
same order; or none."""


def corruption_errors(
    table: ErrorTable,
    benchmark: Benchmark,
    reference: ReferenceErrors,
    *,
    no_reference_reason: str,
    confidence: float,
) -> CorruptionErrors:
    """All scores that are made of errors, each with its interval.

        CE_c          = 100 · E_c / E_c(ref)
        relative CE_c = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref))

    Hendrycks & Dietterich 2019, section 4. CE is not defined where the reference makes no
    error, relative CE where its error does not rise.

    Args:
        table: Of one model, or of two models' difference.
        benchmark: Its corrupted conditions are in the table and in the reference.
        reference: What CE is relative to.
        no_reference_reason: Why CE is undefined, if there is no reference.
        confidence: Confidence of the intervals.
    """
    bounds_of: _BoundsOf = partial(_share_bounds, confidence=confidence)
    lowest, largest_rise = 0.0, 1.0
    if table.are_differences:
        bounds_of = partial(_difference_bounds, confidence=confidence, largest=1.0)
        lowest, largest_rise = -math.inf, 2.0
    ours = _by_corruption(table, benchmark)
    assert ours.columns is not None
    theirs = None if reference is None else _by_corruption(reference, benchmark)
    if theirs is None:
        ces = relative = _undefined(ours, no_reference_reason)
    else:
        ces = _Ratios("CE", ours, theirs, bounds_of, confidence, 1.0, lowest).estimates()
        if ours.clean is None or theirs.clean is None:
            relative = _undefined(ours, "the clean images were not evaluated")
        else:
            rises = ours.rise(), theirs.rise()
            bounds = partial(_difference_bounds, confidence=confidence, largest=largest_rise)
            ratios = _Ratios("relative CE", *rises, bounds, confidence, largest_rise)
            relative = ratios.estimates()
    return CorruptionErrors(
        conditions=condition_estimates(table, confidence),
        errors=_estimates(ours.means, bounds_of(ours.columns)),
        ces=ces[0],
        relative_ces=relative[0],
        mean_error=_mean_estimate(
            _mean(ours.means.values()), bounds_of(ours.columns.mean(axis=1, keepdims=True))
        ),
        mce=ces[1],
        relative_mce=relative[1],
    )


def corruption_error(error: float, reference: float) -> float:
    """CE in percent, 100 · E_c / E_c(ref); of two rises over the clean error, relative CE.

    >>> corruption_error(0.4, 0.8)
    50.0
    """
    return 100 * (error / reference)


class _Errors(NamedTuple):
    """By corruption, and on clean images if those are known.

    Attributes:
        means: Mean over images and severities by corruption.
        columns: What each image adds to it, (images, corruptions); None for exact errors.
        clean: Mean on clean images.
        clean_column: What each image adds to it.
    """

    means: dict[str, float]
    columns: Array | None
    clean: float | None
    clean_column: Array | None

    def rise(self) -> _Errors:
        """The errors less the clean one, which is known."""
        assert self.clean is not None
        means = {name: mean - self.clean for name, mean in self.means.items()}
        if self.columns is None or self.clean_column is None:
            return _Errors(means, None, None, None)
        return _Errors(means, self.columns - self.clean_column[:, None], None, None)


def _by_corruption(errors: Mapping[str, float] | ErrorTable, benchmark: Benchmark) -> _Errors:
    groups = {
        name: [str(one) for one in benchmark.conditions_of_corruption(name)]
        for name in benchmark.corruptions
    }
    if not isinstance(errors, ErrorTable):
        means = {name: _mean([errors[one] for one in group]) for name, group in groups.items()}
        return _Errors(means, None, errors.get(CLEAN), None)
    names, values = list(errors.conditions), errors.values
    rates = dict(zip(names, condition_means(values).tolist(), strict=True))
    means = {name: _mean([rates[one] for one in group]) for name, group in groups.items()}
    # Sums of at most a few hundred whole numbers: exact in float32.
    members = np.zeros((len(names), len(groups)), np.float32)
    for column, group in enumerate(groups.values()):
        members[[names.index(one) for one in group], column] = 1
    sizes = np.array([len(group) for group in groups.values()], np.float64)
    columns = (values.astype(np.float32) @ members) / sizes
    clean_column = None
    if CLEAN in rates:
        clean_column = values[:, names.index(CLEAN)].astype(np.float64)
    return _Errors(means, columns, rates.get(CLEAN), clean_column)


def condition_means(values: NDArray[np.bool_] | NDArray[np.int8]) -> Array:
    """Means over images, (conditions,), from exact sums."""
    means: Array = values.sum(axis=0, dtype=np.int64) / len(values)
    return means


_BoundsOf = Callable[[Array], Bounds]


def _moments(columns: Array) -> tuple[Array, Array, int]:
    mean = columns.mean(axis=0)
    return mean, ((columns - mean) ** 2).sum(axis=0), len(columns)


def _share_bounds(columns: Array, *, confidence: float) -> Bounds:
    return share_bounds(*_moments(columns), confidence)


def _difference_bounds(columns: Array, *, confidence: float, largest: float) -> Bounds:
    return difference_bounds(*_moments(columns), confidence, largest=largest)


def condition_estimates(table: ErrorTable, confidence: float) -> dict[str, Estimate]:
    """Means over images by condition; rates have Clopper & Pearson's intervals."""
    means, images = condition_means(table.values), len(table.values)
    # Σ (x − mean)² of numbers that are −1, 0 or 1.
    squares = np.count_nonzero(table.values, axis=0) - images * means**2
    bounds = difference_bounds if table.are_differences else share_bounds
    values = dict(zip(table.conditions, means.tolist(), strict=True))
    return _estimates(values, bounds(means, squares, images, confidence))


_Estimates = tuple[dict[str, Estimate], Estimate]
"""By corruption, and their mean."""


class _Ratios(NamedTuple):
    """CE or relative CE.

    Attributes:
        what: Which of them.
        ours: Numerators.
        theirs: Denominators.
        bounds_of: Intervals of means like the numerators.
        confidence: Confidence of the intervals.
        largest: Largest absolute value of what an image adds to a numerator.
        lowest: Lowest value that a ratio can have.
    """

    what: Literal["CE", "relative CE"]
    ours: _Errors
    theirs: _Errors
    bounds_of: _BoundsOf
    confidence: float
    largest: float
    lowest: float = -math.inf

    def estimates(self) -> _Estimates:
        """In percent; what has no value or no interval says why."""
        reasons = {
            name: self._why_undefined(base)
            for name, base in self.theirs.means.items()
            if base <= _ROUNDING
        }
        values = {
            name: corruption_error(value, self.theirs.means[name])
            for name, value in self.ours.means.items()
            if name not in reasons
        }
        places = [place for place, name in enumerate(self.ours.means) if name in values]
        bounds, mean_bounds = self._bounds(places)
        found = _estimates(values, bounds, self._no_interval)
        estimates = {
            name: found[name] if name in found else Estimate(None, None, None, reasons[name])
            for name in self.ours.means
        }
        return estimates, self._mean(estimates, mean_bounds)

    def _bounds(self, places: Sequence[int]) -> tuple[Bounds, Bounds]:
        """Of the ratios at these places, and of their mean."""
        if not places:
            return Bounds(np.empty(0), np.empty(0)), Bounds(np.empty(0), np.empty(0))
        assert self.ours.columns is not None
        over = self.ours.columns[:, places]
        if self.theirs.columns is None:
            factors = 100 / np.array([*self.theirs.means.values()])[places]
            mixed = over @ (factors / factors.sum())
            mean_bounds = self.bounds_of(mixed[:, None])
            return (
                self.bounds_of(over).scaled(factors),
                mean_bounds.scaled(float(factors.mean())),
            )
        ratios = RatioOfMeans(over, self.theirs.columns[:, places], self.largest)
        each, mean = (
            Bounds(np.maximum(100 * one.low, self.lowest), 100 * one.high)
            for one in (ratios.bounds(self.confidence), ratios.mean_bounds(self.confidence))
        )
        return each, mean

    def _why_undefined(self, base: float) -> str:
        if self.what == "CE":
            return f"the reference's error under it is {100 * base:g} %"
        change = f"{100 * base:+.2f}".replace("-", "−")
        return f"the reference's error does not rise under it ({change} points)"

    @property
    def _no_interval(self) -> str:
        if self.what == "CE":
            return "the reference errs under it on too few images for an interval"
        return "the reference's error rises under it on too few images for an interval"

    def _mean(self, estimates: Mapping[str, Estimate], bounds: Bounds) -> Estimate:
        """Not defined unless every one is."""
        undefined = [name for name, one in estimates.items() if one.value is None]
        if undefined:
            reason = f"{self.what} is not defined for {', '.join(undefined)}"
            return Estimate(None, None, None, reason)
        unbounded = [name for name, one in estimates.items() if one.low is None]
        values = [one.value for one in estimates.values() if one.value is not None]
        reason = f"{self.what} has no interval for {', '.join(unbounded)}"
        return _mean_estimate(_mean(values), bounds, reason)


def _undefined(errors: _Errors, reason: str) -> _Estimates:
    undefined = Estimate(None, None, None, reason)
    return dict.fromkeys(errors.means, undefined), undefined


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _estimates(
    values: Mapping[str, float], bounds: Bounds, no_interval: str = ""
) -> dict[str, Estimate]:
    ends = zip(bounds.low.tolist(), bounds.high.tolist(), strict=True)
    return {
        name: estimate_within(value, low, high, no_interval)
        for (name, value), (low, high) in zip(values.items(), ends, strict=True)
    }


def _mean_estimate(value: float, bounds: Bounds, no_interval: str = "") -> Estimate:
    return estimate_within(value, bounds.low.item(), bounds.high.item(), no_interval)
