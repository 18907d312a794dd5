"""Overlap scores from a cross-evaluation, on the sample and on every resample at once."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import choice, real_number
from noctule.errors import InputError
from noctule.studies.accuracy import (
    CrossEvaluation,
    MeanAccuracies,
    gains_of_form,
    mean_accuracies,
)
from noctule.studies.matrix import Form, OverlapMatrix
from noctule.studies.spec import STANDARD

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
    undefined: training on it is not shown to help against it. Without intervals (no resamples)
    only the first counts. The papers know no undefined scores.

    The interval of D_b is that of paired differences over the images, as in `noctule compare`,
    widened where the bootstrap's is wider (see `MeanAccuracies`). Intervals of the overlap are
    percentile bootstrap intervals over images and, where there are several, over seeds (see
    `mean_accuracies`). With one seed they say nothing of how seeds differ: another
    training run of the same study may well lie outside.

    Args:
        cross: The study's outcomes.
        form: Of R.
        resamples: Number of bootstrap resamples, up to 100,000; 0 gives no intervals.
        confidence: Confidence of the intervals, and of the one that D_b must keep above 0.
        seed: Seed of the resampling.

    Raises:
        InputError: A model has no clean image right (form "robustness"), or a setting is out
            of its range.

    >>> right = np.zeros((1, 3, 4, 3), dtype=bool)
    >>> right[..., 0] = True                          # clean
    >>> right[0, 1, :, 1] = right[0, 2, :, 2] = True  # each model on its own corruption
    >>> right[0, 2, :1, 1] = True                     # rain also helps a little against shear
    >>> cross = CrossEvaluation(("shear", "rain"), (0,), right, "doctest")
    >>> overlap(cross, resamples=0).raw.tolist()
    [[1.0, 0.125], [0.125, 1.0]]
    """
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return overlap_of_means(means, form=form, confidence=confidence)


def overlap_of_means(
    means: MeanAccuracies, *, form: Form = "robustness", confidence: float = 0.95
) -> OverlapMatrix:
    """`overlap` from accuracies that are averaged already; raises the same."""
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    form = choice(form, "form", get_args(Form))
    _check_clean_accuracies(means, form)
    gains = gains_of_form(means.values, form)
    reasons = {
        name: reason
        for place, name in enumerate(means.candidates)
        if (reason := _why_undefined(means, place, form, confidence))
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


def _check_clean_accuracies(means: MeanAccuracies, form: Form) -> None:
    if form != "robustness":
        return
    clean = means.values[0, :, 0]
    for name, accuracy in zip((STANDARD, *means.candidates), clean, strict=True):
        if accuracy == 0:
            raise _no_clean_accuracy(name)


def _why_undefined(
    means: MeanAccuracies, candidate: int, form: Form, confidence: float
) -> str | None:
    gain = means.gain(candidate, form, confidence)
    value, low, interval = gain.value or 0.0, gain.low, ""
    if gain.low is not None and gain.high is not None:
        ends = f"{100 * gain.low:.2f} to {100 * gain.high:.2f}"
        interval = f", {100 * confidence:g} % CI {ends}"
    if value > _ROUNDING and (low is None or low > _ROUNDING):
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
