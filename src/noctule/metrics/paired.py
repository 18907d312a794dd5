"""Two models on the same images: differences, exact paired tests, and what they could tell.

For an image i and a corruption at L levels, S_i is the number of levels at which only B errs
less the number at which only A does. The difference of the error rates is the mean of S_i / L.

The test is exact and two-sided. If the models are alike, swapping them on any image changes
nothing, so each S_i is as likely as −S_i: p is the probability, over all choices of signs, of
a sum at least as far from 0 as the one seen (Fisher, The Design of Experiments, 1935, section
21). The levels of an image are one cluster: they change sign together, however they depend on
each other. At one level this is the exact McNemar test (Psychometrika 12, 1947): a binomial
test on the images that one model alone gets right. For many images it agrees with the McNemar
test for clusters of Durkalski et al. (Statistics in Medicine 22, 2003), z = Σ S_i / √(Σ S_i²),
whose variance is that of the signs; but it is no approximation, which for few images is poor.

Many tests are corrected by Holm's method (Scandinavian Journal of Statistics 6, 1979): the
chance of even one false finding among them is at most 1 − confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

from noctule.metrics.estimates import Sampled, Samples
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired_results import PairedDifference

POWER = 0.8
SMALLEST_P = 1e-12
"""Probabilities of sums are exact to far better than this; one below it is given as this."""


def paired_differences(
    a: OutcomeMatrix,
    b: OutcomeMatrix,
    groups: Mapping[str, Sequence[str]],
    difference: Mapping[str, Samples],
    *,
    confidence: float = 0.95,
) -> tuple[PairedDifference, ...]:
    """Differences that are tested together, each over the conditions of one group.

    Args:
        a, b: the same images and conditions, in the same order.
        groups: conditions by the name of what they are levels of.
        difference: `PairedMeans.difference`.
        confidence: of the intervals; 1 − confidence is what p is held against.
    """
    tallies = {name: _tally(a, b, conditions) for name, conditions in groups.items()}
    adjusted = holm([tally.p_value for tally in tallies.values()])
    alpha = 1 - confidence
    found = []
    for (name, tally), p_holm in zip(tallies.items(), adjusted, strict=True):
        samples = 100 * np.mean([difference[condition] for condition in groups[name]], axis=0)
        real = p_holm < alpha
        prospects = None if real else _prospects(tally, alpha / len(groups))
        found.append(
            PairedDifference(
                name,
                tally.a_percent,
                tally.b_percent,
                Sampled(samples).estimate(confidence),
                tally.only_a_wrong,
                tally.only_b_wrong,
                tally.p_value,
                p_holm,
                real,
                prospects and prospects.detectable_points,
                prospects and prospects.images_needed,
            )
        )
    return tuple(found)


class _Tally(NamedTuple):
    a_percent: float
    b_percent: float
    only_a_wrong: int
    only_b_wrong: int
    p_value: float
    levels: int
    sums: NDArray[np.int64]


def _tally(a: OutcomeMatrix, b: OutcomeMatrix, conditions: Sequence[str]) -> _Tally:
    places = [a.conditions.index(condition) for condition in conditions]
    wrong_a, wrong_b = (one.label_rank[:, places] > 1 for one in (a, b))
    only_a, only_b = int((wrong_a & ~wrong_b).sum()), int((wrong_b & ~wrong_a).sum())
    sums = wrong_b.sum(axis=1, dtype=np.int64) - wrong_a.sum(axis=1, dtype=np.int64)
    p_value = mcnemar_p(only_a, only_b) if len(places) == 1 else sign_flip_p(sums)
    percents = 100 * float(wrong_a.mean()), 100 * float(wrong_b.mean())
    return _Tally(*percents, only_a, only_b, p_value, len(places), sums)


def mcnemar_p(only_a_wrong: int, only_b_wrong: int) -> float:
    """The exact McNemar test, two-sided: of how many images each model alone gets wrong.

    >>> mcnemar_p(0, 5)  # 2 · (1/2)⁵
    0.0625
    """
    fewer, all_of_them = min(only_a_wrong, only_b_wrong), only_a_wrong + only_b_wrong
    return min(1.0, 2 * float(stats.binom.cdf(fewer, all_of_them, 0.5)))


def sign_flip_p(sums: NDArray[np.int64]) -> float:
    """The exact probability, over all signs of S_i, of a sum as far from 0 as theirs.

    The distribution of the sum is found from its characteristic function, the product of
    cos(S_i · t), by a Fourier transform as long as the sum has values.

    Args:
        sums: S_i, integers, for each image.

    Returns:
        p in [SMALLEST_P, 1]; 1 where every S_i is 0.

    >>> round(sign_flip_p(np.array([2, 1, 1, 0])), 9)  # 4 or −4, of 8 choices of signs
    0.25
    """
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    total, reach = abs(int(sums.sum())), int(sizes @ counts)
    if total == 0:
        return 1.0
    length = fft.next_fast_len(2 * reach + 1, real=True)
    angles = 2 * np.pi / length * np.arange(length // 2 + 1)
    characteristic = np.ones_like(angles)
    for size, count in zip(sizes, counts, strict=True):
        # cos ** count, exact near 1 too: there a rounding of the cosine is raised to the power.
        with np.errstate(divide="ignore"):
            log = np.log1p(-(np.sin(size * angles) ** 2)) / 2
        sign = np.where(np.cos(size * angles) < 0, (-1.0) ** int(count), 1.0)
        characteristic *= sign * np.exp(count * log)
    probabilities = fft.irfft(characteristic, length)
    return float(np.clip(2 * probabilities[total : reach + 1].sum(), SMALLEST_P, 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for there being several, by Holm's method; in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


class _Prospects(NamedTuple):
    detectable_points: float | None
    images_needed: int | None


def _prospects(tally: _Tally, alpha: float) -> _Prospects:
    """What these images could tell, and how many could tell what was seen.

    n · δ = (z_{α/2} + z_power) · s · √n + 1 / L, with δ the difference and s = √(mean of
    (S_i / L)²) the spread of the images' differences if the models are alike. α is the level of
    Holm's first and hardest step. The last term is for continuity: sums of S_i of all choices
    of signs are 2 apart. Where δ is not small against s, n is slightly too many.
    """
    images = len(tally.sums)
    spread = math.sqrt(float(np.mean((tally.sums / tally.levels) ** 2)))
    if spread == 0:
        return _Prospects(None, None)
    width = spread * float(stats.norm.isf(alpha / 2) + stats.norm.ppf(POWER))
    points = 100 * (width / math.sqrt(images) + 1 / (images * tally.levels))
    difference = abs(float(tally.sums.mean())) / tally.levels
    needed = None
    if difference:
        root = width + math.sqrt(width**2 + 4 * difference / tally.levels)
        needed = (root / (2 * difference)) ** 2
    return _Prospects(
        points if points < 100 else None, None if needed is None else two_digits(needed)
    )


def two_digits(number: float) -> int:
    """A positive number rounded up to a whole one of two significant digits.

    >>> two_digits(18_201.5), two_digits(99.2), two_digits(990.1), two_digits(7)
    (19000, 100, 1000, 7)
    """
    whole = math.ceil(number)
    step = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // step) * step
