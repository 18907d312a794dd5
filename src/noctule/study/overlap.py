"""Overlap scores from a cross-evaluation, on the sample and on every resample at once."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from noctule.errors import InputError, unknown_name
from noctule.study.accuracy import (
    CrossEvaluation,
    MeanAccuracies,
    check_confidence,
    mean_accuracies,
)
from noctule.study.matrix import Form, OverlapMatrix
from noctule.study.spec import STANDARD

# Differences of robustness below this are rounding: that of 50,000 images and several seeds
# comes in steps above 1e-11.
_ROUNDING = 1e-12


def overlap(
    cross: CrossEvaluation,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> OverlapMatrix:
    """The overlap of every two candidates.

    With A_c(m) the accuracy of model m under c, the mean over images and seeds, and

        R(m, c) = A_c(m) / A_clean(m)                       form "robustness", or
        R(m, c) = A_c(m)                                    form "accuracy"
        D_b     = R(m_b, b) - R(std, b)                     what training on b helps against b
        raw     = ½ · [(R(m_a, b) - R(std, b)) / D_b + (R(m_b, a) - R(std, a)) / D_a]

    a ratio of means, not a mean over images or seeds of ratios. "robustness" is Laugros,
    Caplier & Ospici, "Using the Overlapping Score to Improve Corruption Benchmarks", 2021;
    "accuracy" is their arXiv 2107.12052. The published score is `OverlapMatrix.scores`.

    A candidate b whose D_b is not above 0, or has an interval that reaches down to 0, is
    undefined: training on it did not help against it. Without intervals (no resamples, or a
    single image) only the first counts. The papers know no undefined scores.

    Intervals are percentile intervals over images and, where there are several, over seeds
    (see `mean_accuracies`). With one seed they say nothing of how seeds differ: another
    training run of the same study may well lie outside.

    Args:
        cross: the study's outcomes.
        form: of R.
        resamples: bootstrap resamples; 0 gives no intervals.
        confidence: of the intervals, and of the one that D_b must keep above 0.
        seed: of the resampling.

    Raises:
        InputError: a model has no clean image right (form "robustness"), or a setting is out
            of its range.

    >>> right = np.zeros((1, 3, 4, 3), dtype=bool)
    >>> right[..., 0] = True                          # clean
    >>> right[0, 1, :, 1] = right[0, 2, :, 2] = True  # each model on its own corruption
    >>> right[0, 2, :1, 1] = True                     # rain also helps a little against shear
    >>> overlap(CrossEvaluation(("shear", "rain"), (0,), right, "doctest")).raw.tolist()
    [[1.0, 0.125], [0.125, 1.0]]
    """
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return overlap_of_means(means, form=form, confidence=confidence)


def overlap_of_means(
    means: MeanAccuracies, *, form: Form = "robustness", confidence: float = 0.95
) -> OverlapMatrix:
    """`overlap` from accuracies that are averaged already; raises the same."""
    check_confidence(confidence)
    if form not in get_args(Form):
        raise unknown_name("form", form, get_args(Form), where="form")
    gains = _gains(means, form)
    own_gains = np.diagonal(gains, axis1=1, axis2=2)
    reasons = {
        name: reason
        for name, samples in zip(means.candidates, own_gains.T, strict=True)
        if (reason := _why_undefined(samples, form, confidence))
    }
    kept = [i for i, name in enumerate(means.candidates) if name not in reasons]
    raw = _raw_overlap(gains[:, kept][:, :, kept])
    return OverlapMatrix(
        tuple(means.candidates[i] for i in kept),
        raw[0],
        reasons,
        form,
        raw[1:] if len(raw) > 1 else None,
        confidence,
        means.source,
    )


def _gains(means: MeanAccuracies, form: Form) -> NDArray[np.float64]:
    """R(m_a, b) - R(std, b) on each resample: (1 + resamples, a, b)."""
    values = means.values
    if form == "robustness":
        clean = values[:, :, :1]
        for name, accuracy in zip((STANDARD, *means.candidates), clean[0, :, 0], strict=True):
            if accuracy == 0:
                raise _no_clean_accuracy(name)
        values = values / np.where(clean > 0, clean, np.nan)
    gains = values[:, 1:, 1:] - values[:, :1, 1:]
    # On a resample where a model has no clean image right its robustness is 0 / 0. That is no
    # evidence of a gain, hence none: it counts against D_b being above 0, and a candidate that
    # is defined all the same has at most the tail share of such resamples.
    return np.nan_to_num(gains, nan=0.0)


def _why_undefined(own_gain: NDArray[np.float64], form: Form, confidence: float) -> str | None:
    value, resampled = own_gain[0], own_gain[1:]
    tail = (1 - confidence) / 2
    interval = ""
    low = value
    if len(resampled):
        # The observed value outside of each end: no more than the tail share is left beyond.
        low = np.quantile(resampled, tail, method="lower")
        high = np.quantile(resampled, 1 - tail, method="higher")
        interval = f", {100 * confidence:g} % CI {100 * low:.2f} to {100 * high:.2f}"
    if min(value, low) > _ROUNDING:
        return None
    what = "training on it is not shown to help against it"
    return f"{what}: {form} {100 * value:+.2f} points{interval}"


def _raw_overlap(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw overlap from the gains of defined candidates, both (1 + resamples, n, n).

    A quantile stays honest only if a resample whose denominator fails counts at the far end
    and not, its sign turned, at the near one. Each candidate has at most the tail share of
    such resamples, and each of them counts as follows.
    """
    denominators = np.diagonal(gains, axis1=1, axis2=2)[:, None, :]
    fails = denominators <= _ROUNDING
    # A numerator over what has shrunk to nothing: beyond every number, on its own side. A
    # numerator of 0 stays 0: a model that does as the standard one does gains nothing,
    # whatever the denominator.
    beyond = np.where(np.abs(gains) <= _ROUNDING, 0.0, np.copysign(np.inf, gains))
    halves = np.where(fails, beyond, gains / np.where(fails, 1.0, denominators))
    with np.errstate(invalid="ignore"):
        raw = (halves + halves.transpose(0, 2, 1)) / 2
    # inf - inf: both denominators fail at once, and on opposite sides. It counts at the low
    # end, so that no overlap is claimed on its strength. The high end may then leave out more
    # than its share, but by no more than these resamples: at most the tail share.
    raw[np.isnan(raw)] = -np.inf
    # A corruption overlaps wholly with itself, on every resample.
    diagonal = np.arange(gains.shape[1])
    raw[:, diagonal, diagonal] = 1.0
    return raw


def _no_clean_accuracy(model: str) -> InputError:
    name = "the standard model" if model == STANDARD else f"the model trained with {model}"
    return InputError(
        f"{name} has no clean image right, so its robustness is 0 / 0",
        where="overlap",
        remedy="Train longer or test on more images; or use the form 'accuracy'.",
    )
