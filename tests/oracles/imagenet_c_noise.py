"""Slow forms of ImageNet-C's noises, from their definitions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from oracles.kernels import Levels, Pixels
from oracles.oracle import Oracle
from oracles.threefry import WordStream


def uniform_of(image: Pixels, noise: WordStream) -> NDArray[np.float64]:
    """The middles of 65,536 equal intervals of (0, 1), in the image's shape."""
    return ((noise.halves(image.size) + 0.5) / 65536).reshape(image.shape)


def gaussian_noise(image: Pixels, *, sigma: float, noise: WordStream) -> Levels:
    return np.clip(image + 255 * sigma * stats.norm.ppf(uniform_of(image, noise)), 0, 255)


def speckle_noise(image: Pixels, *, sigma: float, noise: WordStream) -> Levels:
    return np.clip(image * (1 + sigma * stats.norm.ppf(uniform_of(image, noise))), 0, 255)


def impulse_noise(image: Pixels, *, amount: float, noise: WordStream) -> Levels:
    """As signed numbers, the lowest are black and the highest white."""
    number = noise.halves(image.size).astype(np.uint16).view(np.int16).reshape(image.shape)
    specks = min(round(amount * 32768), 32767)
    result = image.astype(float)
    result[number < specks - 32768] = 0
    result[number > 32767 - specks] = 255
    return result


def shot_noise(image: Pixels, *, photons: int, noise: WordStream) -> Levels:
    """The least count with a cumulative probability that reaches the uniform number."""
    uniform, count = uniform_of(image, noise), np.zeros(image.shape)
    for level in np.unique(image):
        here = image == level
        at_most = stats.poisson.cdf(np.arange(photons), photons * level / 255)
        count[here] = np.searchsorted(at_most, uniform[here], side="left")
    return count / photons * 255


ORACLES: dict[str, Oracle] = {
    "gaussian_noise": Oracle(gaussian_noise),
    "speckle_noise": Oracle(speckle_noise),
    "impulse_noise": Oracle(impulse_noise),
    "shot_noise": Oracle(shot_noise),
}
