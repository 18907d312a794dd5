"""Expected calibration error, as a sum over images so that resampling is a matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noctule.metrics.outcome_matrix import OutcomeMatrix

NUM_BINS = 15
# Confidences are taken as multiples of this: sums over 2**23 images are then exact in float64
# and do not depend on their order or on the number of threads.
_GRAIN = 2.0**-30


def bin_gaps(outcomes: OutcomeMatrix, condition: int) -> NDArray[np.float64]:
    """Confidence minus correctness of each image, in the column of its confidence bin.

    The bins are the equal-width intervals ((b − 1) / 15, b / 15], b = 1…15; with B_b the images
    in bin b, ECE = Σ_b |B_b| / n · |mean confidence − accuracy| = Σ_b |Σ_{i in B_b} gap_i| / n
    (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017).

    Args:
        outcomes: of one model.
        condition: column of the condition.

    Returns:
        float64 (images, 15), at most one entry of a row is not 0.
    """
    confidence = outcomes.confidence[:, condition]
    # Edges in float32 too, so that the confidence float32(0.2) lies on the edge 3/15.
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1).astype(np.float32)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)
    correct = ~outcomes.wrong[:, condition]
    gaps = np.zeros((len(confidence), NUM_BINS))
    rounded = np.round(confidence.astype(np.float64) / _GRAIN) * _GRAIN
    gaps[np.arange(len(confidence)), bins] = rounded - correct
    return gaps


def ece_from_means(mean_gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """ECE in [0, 1] from the mean over images of `bin_gaps`; bins are the last axis."""
    ece: NDArray[np.float64] = np.abs(mean_gaps).sum(axis=-1)
    return ece
