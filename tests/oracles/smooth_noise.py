"""The smoothed noise of spatter in whole numbers, from its docstring, by SciPy's sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from oracles.threefry import WordStream


def noise_of(stream: WordStream, height: int, width: int) -> NDArray[np.int64]:
    """Normal numbers, whole ones up to ±63, from the bytes of 16-bit numbers, low first."""
    halves = stream.halves(-(-height * width // 2))
    chance = (np.stack([halves % 256, halves // 256], axis=1).reshape(-1) + 0.5) / 256
    noise = stats.norm.ppf(chance) * 63 / stats.norm.ppf(255.5 / 256)
    return np.rint(noise[: height * width]).astype(np.int64).reshape(height, width)


def weights_of(sigma_px: float, total: int) -> NDArray[np.int64]:
    """SciPy's taps, rounded, times the largest whole number with a sum of at most `total`."""
    radius = int(4 * sigma_px + 0.5)
    impulse = np.zeros(2 * radius + 1)
    impulse[radius] = 1
    taps = ndimage.gaussian_filter1d(impulse, sigma_px, mode="constant") if radius else impulse
    rounded = [np.floor(taps * (total - less) + 0.5).astype(np.int64) for less in range(50)]
    return next(weights for weights in rounded if weights.sum() <= total)


def smooth_noise(
    stream: WordStream, height: int, width: int, sigma_px: float
) -> NDArray[np.float64]:
    """(height, width), a standard deviation of the noise being 1."""
    noise = noise_of(stream, height, width)
    if sigma_px > 6:
        return ndimage.gaussian_filter(noise / 21.81, sigma_px, mode="nearest")
    across, down = weights_of(sigma_px, 519), weights_of(sigma_px, 8192)
    rows = ndimage.correlate1d(noise, across, axis=1, mode="nearest")
    rows = np.floor(rows / 16 + 0.5).astype(np.int64)
    total = ndimage.correlate1d(rows, down, axis=0, mode="nearest")
    return total * (16 / (21.81 * across.sum() * down.sum()))
