"""Corruption errors relative to a reference model, on the sample and on every resample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from noctule.benchmarks import Benchmark
from noctule.metrics.estimates import Sampled, Samples

# Differences of error rates below this are rounding: one image in 2**30 weighs more.
_ROUNDING = 1e-12


def corruption_errors(
    errors: Mapping[str, Samples], benchmark: Benchmark
) -> dict[str, Samples]:
    """E_c by corruption: the mean of the errors at the benchmark's levels of it."""
    return {
        name: np.mean([errors[str(one)] for one in benchmark.conditions_of_corruption(name)], 0)
        for name in benchmark.corruptions
    }


def corruption_error(error: Samples, ref: Samples) -> Sampled:
    """CE = 100 · E_c / E_c(ref), in percent; Hendrycks & Dietterich 2019, section 4.

    Not defined where the reference model makes no errors.

    >>> corruption_error(np.array([0.4]), np.array([0.8])).samples.item()
    50.0
    """
    return _ratio(error, ref, f"the reference's error under it is {100 * ref[0]:g} %", "is 0")


def relative_ce(error: Samples, clean: Samples, ref: Samples, ref_clean: Samples) -> Sampled:
    """Relative CE = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)), in percent.

    Not defined where the reference model errs no more than on clean images. Where that
    happens on some resample only, the ratio is unbounded there and there is no interval.

    >>> one = lambda value: np.array([value])
    >>> round(relative_ce(one(0.4), one(0.2), one(0.8), one(0.4)).samples.item(), 9)
    50.0
    """
    rise = ref - ref_clean
    reason = f"the reference's error does not rise under it ({100 * rise[0]:+.2f} points)"
    return _ratio(error - clean, rise, reason, "does not rise")


def _ratio(value: Samples, base: Samples, reason: str, unbounded_because: str) -> Sampled:
    if base[0] <= _ROUNDING:
        return Sampled(None, reason)
    unbounded = base <= _ROUNDING
    samples = 100 * (value / np.where(unbounded, np.nan, base))
    if unbounded.any():
        share = 100 * unbounded[1:].mean()
        return Sampled(
            samples[:1],
            f"the reference's error {unbounded_because} in {share:.3g} % of the resamples",
        )
    return Sampled(samples)


def mean_of(ces: Mapping[str, Sampled], what: str) -> Sampled:
    """The mean over corruptions; not defined unless every one is.

    Args:
        ces: CE or relative CE by corruption.
        what: which of them, for the reasons.
    """
    undefined = [name for name, ce in ces.items() if ce.samples is None]
    if undefined:
        reasons = {ce.reason for ce in ces.values()}
        if len(undefined) == len(ces) and len(reasons) == 1:
            return Sampled(None, reasons.pop())
        return Sampled(None, f"{what} is not defined for {', '.join(undefined)}")
    points = [ce.samples for ce in ces.values() if ce.samples is not None]
    if unbounded := [name for name, ce in ces.items() if ce.reason]:
        point = np.mean([samples[:1] for samples in points], axis=0)
        return Sampled(point, f"{what} has no interval for {', '.join(unbounded)}")
    return Sampled(np.mean(points, axis=0))
