"""Relative corruption errors, on the sample and on every resample at once."""

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


def relative_ce(error: Samples, clean: Samples, ref: Samples, ref_clean: Samples) -> Sampled:
    """CE = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)), in percent.

    Not defined where the reference model errs no more than on clean images. Where that
    happens on some resample only, the ratio is unbounded there and there is no interval.

    >>> one = lambda value: np.array([value])
    >>> round(relative_ce(one(0.4), one(0.2), one(0.8), one(0.4)).samples.item(), 9)
    50.0
    """
    rise = ref - ref_clean
    if rise[0] <= _ROUNDING:
        return Sampled(
            None, f"the reference's error does not rise under it ({100 * rise[0]:+.2f} points)"
        )
    unbounded = rise <= _ROUNDING
    samples = 100 * ((error - clean) / np.where(unbounded, np.nan, rise))
    if unbounded.any():
        share = 100 * unbounded[1:].mean()
        return Sampled(
            samples[:1],
            f"the reference's error does not rise in {share:.3g} % of the resamples",
        )
    return Sampled(samples)


def mean_ce(ces: Mapping[str, Sampled]) -> Sampled:
    """mCE, the mean over corruptions; not defined unless every CE is."""
    undefined = [name for name, ce in ces.items() if ce.samples is None]
    if undefined:
        reasons = {ce.reason for ce in ces.values()}
        if len(undefined) == len(ces) and len(reasons) == 1:
            return Sampled(None, reasons.pop())
        return Sampled(None, f"CE is not defined for {', '.join(undefined)}")
    points = [ce.samples for ce in ces.values() if ce.samples is not None]
    if unbounded := [name for name, ce in ces.items() if ce.reason]:
        point = np.mean([samples[:1] for samples in points], axis=0)
        return Sampled(point, f"CE has no interval for {', '.join(unbounded)}")
    return Sampled(np.mean(points, axis=0))
