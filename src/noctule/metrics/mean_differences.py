"""How the means over the corruptions differ between two models on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from noctule.benchmarks import CLEAN, Benchmark
from noctule.metrics.corruption_errors import (
    corruption_error,
    corruption_errors,
    mean_of,
    relative_ce,
)
from noctule.metrics.estimates import Sampled, Samples, resampled_means
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired_results import MeanDifference

METRICS = ("mean_error", "mce", "relative_mce")


class PairedMeans(NamedTuple):
    """Means over images by condition, on the sample and on each resample.

    Attributes:
        difference: error rate of B less that of A, in [−1, 1].
        reference_error: error rate of the reference run, if there is one.
    """

    difference: Mapping[str, Samples]
    reference_error: Mapping[str, Samples] | None


def paired_means(
    a: OutcomeMatrix,
    b: OutcomeMatrix,
    reference: OutcomeMatrix | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> PairedMeans:
    """Bootstrap over images: one resample serves both models, all conditions, the reference.

    Args:
        a, b, reference: the same images and conditions, in the same order.
        seed: of the bootstrap.
        resamples: how many; a single image has none.
    """
    signs = b.wrong.astype(np.float64) - a.wrong
    blocks = [signs] if reference is None else [signs, reference.wrong.astype(np.float64)]
    columns = sparse.hstack([sparse.csr_array(block) for block in blocks], format="csr")
    # The resamples of a single image are all alike: no interval is better than one of width 0.
    means = resampled_means(columns, seed=seed, resamples=resamples if len(signs) > 1 else 0)
    difference, *others = (
        dict(zip(a.conditions, part.T, strict=True))
        for part in np.split(means, len(blocks), axis=1)
    )
    return PairedMeans(difference, others[0] if others else None)


def mean_differences(
    outcomes: Sequence[OutcomeMatrix],
    means: PairedMeans,
    benchmark: Benchmark,
    *,
    no_reference_reason: str,
    confidence: float,
) -> list[MeanDifference]:
    """The differences of all `METRICS`, with their intervals.

    Each is linear in the errors, so that the mean of the differences is the difference of the
    means, on the sample and on every resample.

    Args:
        outcomes: of A and of B.
        means: of the same two.
        benchmark: its conditions are among theirs.
        no_reference_reason: why CE is undefined, if the means have no reference errors.
        confidence: of the intervals.
    """
    reference = means.reference_error
    on_sample = reference and {name: samples[:1] for name, samples in reference.items()}
    values = []
    for one in outcomes:
        rates = {
            name: wrong.mean(keepdims=True)
            for name, wrong in zip(one.conditions, one.wrong.T, strict=True)
        }
        scores = _mean_scores(rates, on_sample, benchmark, no_reference_reason)
        values.append([score.estimate(confidence).value for score in scores])
    both = _mean_scores(means.difference, reference, benchmark, no_reference_reason)
    return [
        MeanDifference(metric, a, b, points.estimate(confidence))
        for metric, a, b, points in zip(METRICS, *values, both, strict=True)
    ]


def _mean_scores(
    errors: Mapping[str, Samples],
    reference: Mapping[str, Samples] | None,
    benchmark: Benchmark,
    why: str,
) -> tuple[Sampled, Sampled, Sampled]:
    """The means over corruptions, in percent, in the order of `METRICS`."""
    ours = corruption_errors(errors, benchmark)
    ces = relative = dict.fromkeys(ours, Sampled(None, why))
    if reference is not None:
        theirs = corruption_errors(reference, benchmark)
        ces = {name: corruption_error(ours[name], theirs[name]) for name in ours}
        relative = dict.fromkeys(ours, Sampled(None, "the clean images were not evaluated"))
        if CLEAN in errors and CLEAN in reference:
            relative = {
                name: relative_ce(ours[name], errors[CLEAN], theirs[name], reference[CLEAN])
                for name in ours
            }
    mean_error = Sampled(100 * np.mean(list(ours.values()), axis=0))
    return mean_error, mean_of(ces, "CE"), mean_of(relative, "relative CE")
