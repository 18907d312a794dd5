"""Expected calibration error, as a sum over images so that resampling is a matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from noctule.metrics.estimates import (
    Estimate,
    IntervalSettings,
    estimate_within,
    resampled_means,
)
from noctule.metrics.intervals import unseen_images
from noctule.metrics.outcome_matrix import OutcomeMatrix

NUM_BINS = 15
# Confidences are rounded to multiples of this: sums over 2**23 images are then exact in float64
# and independent of their order and of the number of threads.
_GRAIN = 2.0**-30


def bin_gaps(outcomes: OutcomeMatrix) -> sparse.csr_array:
    """Confidence minus correctness of each image, in the column of its confidence bin.

    The bins are the equal-width intervals ((b − 1) / 15, b / 15], b = 1…15; with B_b the images
    in bin b, ECE = Σ_b |B_b| / n · |mean confidence − accuracy| = Σ_b |Σ_{i in B_b} gap_i| / n
    (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017).

    Returns:
        float64 (images, conditions · 15), one entry for each image and condition.
    """
    n_images, n_conditions = outcomes.confidence.shape
    # Edges in float32 too, so that the confidence float32(0.2) lies on the edge 3/15.
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1).astype(np.float32)
    bins = np.searchsorted(edges, outcomes.confidence, side="left") - 1
    columns = np.clip(bins, 0, NUM_BINS - 1) + NUM_BINS * np.arange(n_conditions)
    confidence = np.round(outcomes.confidence.astype(np.float64) / _GRAIN) * _GRAIN
    gaps = confidence - ~outcomes.wrong
    row_ends = np.arange(0, gaps.size + 1, n_conditions)
    shape = (n_images, n_conditions * NUM_BINS)
    return sparse.csr_array((gaps.ravel(), columns.ravel(), row_ends), shape=shape)


def ece_from_means(mean_gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """ECE in [0, 1], (…, conditions), from the means of `bin_gaps`, (…, conditions · 15)."""
    bins = mean_gaps.reshape(*mean_gaps.shape[:-1], -1, NUM_BINS)
    ece: NDArray[np.float64] = np.abs(bins).sum(axis=-1)
    return ece


def calibration_errors(outcomes: OutcomeMatrix, settings: IntervalSettings) -> list[Estimate]:
    """The ECE of each condition, with a bootstrap interval over images.

    The ECE of a sample is biased upwards, and that of a resample even more, so that a
    percentile interval may lie above the value. With g_b the mean gap of bin b and ∗ for a
    resample, the ends are

        low  = ECE − the upper quantile of Σ_b |g_b∗ − g_b|,
        high = ECE + (ECE − the lower quantile of ECE∗):

    as |ECE − true ECE| ≤ Σ_b |g_b − true g_b|, the former holds for calibrated models too; the
    latter is the basic bootstrap's. `unseen_images` are added to both, as for rates.

    Args:
        outcomes: Outcomes of one model.
        settings: Seed, number of resamples, confidence; one resample serves all conditions.
            Without resamples, or of a single image, there are no intervals.
    """
    seed, resamples, confidence = settings
    gaps = bin_gaps(outcomes)
    count = resamples if len(outcomes.image_ids) > 1 else 0
    means = resampled_means(gaps, seed=seed, resamples=count)
    values = ece_from_means(means[:1])[0]
    if not count:
        reason = "there are no resamples, or a single image"
        return [Estimate(value, None, None, reason) for value in values.tolist()]
    tail = (1 - confidence) / 2
    missed = unseen_images(confidence) / len(outcomes.image_ids)
    noise = np.quantile(ece_from_means(means[1:] - means[0]), 1 - tail, axis=0)
    spare = np.maximum(values - np.quantile(ece_from_means(means[1:]), tail, axis=0), 0)
    low = np.maximum(values - np.hypot(noise, missed), 0)
    high = np.minimum(values + np.hypot(spare, missed), 1)
    rows = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    return [estimate_within(*row) for row in rows]
