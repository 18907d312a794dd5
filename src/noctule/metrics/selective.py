"""Selective classification: the area under the risk–coverage curve, image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noctule.metrics.intervals import Array


def risk_coverage_values(
    wrong: NDArray[np.bool_], confidence: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Numbers by image whose mean is the AURC, and whose spread gives its interval.

    With the images in the order of falling confidence,

        AURC = 1/n Σ_k (errors among the first k) / k = 1/n Σ_i wrong_i · w_i,
        w_i = Σ_{k ≥ i} 1 / k

    (Geifman & El-Yaniv 2017; Geifman, Uziel & El-Yaniv 2019). Tied images share the mean of
    their weights: this is the expected AURC if their order is random. The number of an image is
    the AURC plus its influence on it, that is, on its own term and on the weights of others
    (the infinitesimal jackknife): with G_i the share of images at least as confident as i,

        influence_j = wrong_j w_j − AURC + error − 1/n Σ_{i: c_i ≤ c_j} wrong_i / G_i.

    Args:
        wrong: (images, conditions), whether the model errs.
        confidence: (images, conditions), its confidence.

    Returns:
        float64 (images, conditions).
    """
    columns = zip(wrong.T, confidence.T, strict=True)
    return np.stack([_values(*column) for column in columns], axis=1)


def _values(wrong: NDArray[np.bool_], confidence: NDArray[np.float32]) -> Array:
    """The numbers under one condition."""
    images = len(wrong)
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    reach = np.cumsum(sizes)  # how many images are at least as confident
    weights = np.cumsum(1 / np.arange(images, 0, -1))[::-1]
    weight = np.add.reduceat(weights, reach - sizes) / sizes
    errors = np.bincount(group, wrong)
    area = errors @ weight / images
    later = np.cumsum((errors / reach)[::-1])[::-1]
    influence = wrong * weight[group] - area + errors.sum() / images - later[group]
    values: Array = area + influence - influence.mean()
    return values
