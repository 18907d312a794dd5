"""Two models on the same images: differences, paired tests, and their power.

For an image i and conditions tested together, d_i is the share of them under which only B errs
less the share under which only A does. The difference of the error rates is the mean of d_i.
The images are independent; the conditions of an image are one cluster, however they depend on
each other. The hypothesis is that the error rates are equal, and nothing else: how one model's
errors are clustered need not be how the other's are.

For a single condition the test is the exact McNemar test (Psychometrika 12, 1947), a binomial
test on the images that one model alone gets right. For several it is the score test of
`intervals.difference_p`, which for many images agrees with the McNemar test for clusters of
Durkalski et al. (Statistics in Medicine 22, 2003), z = Σ d_i / √(Σ d_i²).

All differences of a comparison, the mean error and the clean error among them, are one family,
corrected by Holm's method with weights (Scandinavian Journal of Statistics 6, 1979, section 4):
the probability of one or more false findings is at most 1 − confidence. The mean error has as
much weight as all others together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from noctule.metrics.estimates import Estimate, estimate_within
from noctule.metrics.intervals import (
    Array,
    difference_bounds,
    difference_p,
    normal_quantile,
    unseen_images,
)
from noctule.metrics.outcome_matrix import OutcomeMatrix

POWER = 0.8
# A mean difference below this is rounding: one image in 2**30 weighs more.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """How a score of two models differs, B − A; in the unit in which the metric is shown.

    Attributes:
        scope: "clean", "corruption", "condition" or "benchmark".
        name: Name of what is compared.
        metric: Name of the metric.
        unit: Unit of `a`, `b` and `difference`, such as "%"; a difference of it is in points.
        a: Score of A, or None if it is not defined.
        b: Score of B.
        difference: B − A; its interval is for this difference alone.
        spread: Standard deviation over the images of what each adds to the difference. It and
            what follows are None where no test is made.
        only_a_wrong: Number of outcomes (image and severity) that A gets wrong and B right.
        only_b_wrong: Number of outcomes that B gets wrong and A right.
        p_value: p-value of the paired test of equal error rates, in (0, 1].
        p_holm: p-value corrected for all tests of the comparison.
        real: Whether p_holm < 1 − confidence.
        detectable: Where the difference is not real, the smallest one that this number of
            images shows to be real with probability 0.8; None if there is none below 100
            points, or no image on which the models differ.
        images_needed: Where the difference is not real, the number of images that show it to be
            real with probability 0.8 if it is as large as seen here, rounded up to two digits;
            None if there is none.
    """

    scope: str
    name: str
    metric: str
    unit: str
    a: float | None
    b: float | None
    difference: Estimate
    spread: float | None = None
    only_a_wrong: int | None = None
    only_b_wrong: int | None = None
    p_value: float | None = None
    p_holm: float | None = None
    real: bool | None = None
    detectable: float | None = None
    images_needed: int | None = None

    def to_record(self) -> dict[str, Any]:
        """Flat data: the difference is in "difference", "low", "high" and "reason"."""
        record: dict[str, Any] = {}
        for key, value in vars(self).items():
            record |= (
                {key: value.value, **value.to_dict()} if key == "difference" else {key: value}
            )
        record.pop("value")
        return record


def paired_differences(
    a: OutcomeMatrix,
    b: OutcomeMatrix,
    groups: Mapping[str, Sequence[str]],
    *,
    weights: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> tuple[Difference, ...]:
    """Differences that are tested together, each over the conditions of one group.

    Args:
        a, b: Outcomes for the same images and conditions, in the same order.
        groups: Conditions by the name of the group.
        weights: Weight of each group in the correction; by default all have the same.
        confidence: Confidence of the intervals; p-values are compared with 1 − confidence.
    """
    chosen = [1] * len(groups) if weights is None else list(weights)
    tallies = [_tally(a, b, conditions) for conditions in groups.values()]
    adjusted = holm([tally.p_value for tally in tallies], chosen)
    alpha = 1 - confidence
    found = []
    for name, tally, p_holm, weight in zip(groups, tallies, adjusted, chosen, strict=True):
        real = p_holm < alpha
        prospects = None if real else _prospects(tally, alpha * weight / sum(chosen))
        found.append(
            Difference(
                scope="corruption",
                name=name,
                metric="error",
                unit="%",
                a=tally.a_percent,
                b=tally.b_percent,
                difference=_points(tally, confidence),
                spread=100 * tally.spread,
                only_a_wrong=tally.only_a_wrong,
                only_b_wrong=tally.only_b_wrong,
                p_value=tally.p_value,
                p_holm=p_holm,
                real=real,
                detectable=prospects and prospects.detectable_points,
                images_needed=prospects and prospects.images_needed,
            )
        )
    return tuple(found)


class _Tally(NamedTuple):
    a_percent: float
    b_percent: float
    only_a_wrong: int
    only_b_wrong: int
    p_value: float
    conditions: int
    differences: Array

    @property
    def spread(self) -> float:
        """Standard deviation of the images' differences."""
        return float(self.differences.std())


def _tally(a: OutcomeMatrix, b: OutcomeMatrix, conditions: Sequence[str]) -> _Tally:
    columns = [a.conditions.index(condition) for condition in conditions]
    wrong_a, wrong_b = (one.wrong[:, columns] for one in (a, b))
    only_a, only_b = int((wrong_a & ~wrong_b).sum()), int((wrong_b & ~wrong_a).sum())
    differences = (wrong_b.sum(axis=1) - wrong_a.sum(axis=1)) / len(columns)
    if len(columns) == 1:
        p_value = mcnemar_p(only_a, only_b)
    else:
        images = len(differences)
        mean = (only_b - only_a) / (images * len(columns))
        p_value = difference_p(mean, images * float(differences.var()), images)
    percents = 100 * float(wrong_a.mean()), 100 * float(wrong_b.mean())
    return _Tally(*percents, only_a, only_b, p_value, len(columns), differences)


def _points(tally: _Tally, confidence: float) -> Estimate:
    """The difference with its interval, which contains 0 where the test does not reject it.

    For several conditions, interval and test are equivalent. For a single condition the test is
    exact, and where the two disagree the nearer end of the interval is moved to 0.
    """
    images, mean = len(tally.differences), float(tally.differences.mean())
    squares = np.array([images * float(tally.differences.var())])
    ends = difference_bounds(np.array([mean]), squares, images, confidence)
    low, high = ends.low.item(), ends.high.item()
    if tally.conditions == 1:
        if tally.p_value >= 1 - confidence:
            low, high = min(low, 0.0), max(high, 0.0)
        else:
            low, high = (max(low, 0.0), high) if mean > 0 else (low, min(high, 0.0))
    return estimate_within(100 * mean, 100 * low, 100 * high)


def mcnemar_p(only_a_wrong: int, only_b_wrong: int) -> float:
    """The p-value of the exact two-sided McNemar test.

    Args:
        only_a_wrong: Number of images that only A gets wrong.
        only_b_wrong: Number of images that only B gets wrong.

    >>> mcnemar_p(0, 5)  # 2 · (1/2)⁵
    0.0625
    """
    from scipy import stats  # takes a while to import

    fewer, all_of_them = min(only_a_wrong, only_b_wrong), only_a_wrong + only_b_wrong
    return min(1.0, 2 * float(stats.binom.cdf(fewer, all_of_them, 0.5)))


def holm(p_values: Sequence[float], weights: Sequence[int] | None = None) -> list[float]:
    """P-values corrected for multiple tests by Holm's method, in the same order.

    Args:
        p_values: The p-values of one family.
        weights: Positive weights; the larger one is, the less its p-value is corrected. By
            default all are equal.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    >>> holm([0.01, 0.04, 0.03], [2, 1, 1])  # .01 · 4 / 2, then .03 · 2, then .04
    [0.02, 0.06, 0.06]
    """
    chosen = [1] * len(p_values) if weights is None else list(weights)
    order = sorted(range(len(p_values)), key=lambda index: p_values[index] / chosen[index])
    adjusted, highest, remaining = [0.0] * len(p_values), 0.0, sum(chosen)
    for index in order:
        highest = max(highest, min(1.0, remaining / chosen[index] * p_values[index]))
        adjusted[index] = highest
        remaining -= chosen[index]
    return adjusted


def family_weights(others: int) -> list[int]:
    """Weights of the mean error and of all other differences of a comparison."""
    return [max(1, others), *[1] * others]


class _Prospects(NamedTuple):
    detectable_points: float | None
    images_needed: int | None


def _prospects(tally: _Tally, alpha: float) -> _Prospects:
    """The smallest detectable difference, and the images needed to detect the observed one.

    n · δ = √(z_{α/2}² · s² · n + u²) + z_power · s · √n, with δ the difference, s = √(mean of
    d_i²) the spread of the images' differences if the error rates are equal, and u the
    `unseen_images`. α is the level of Holm's first and hardest step. Where δ is not small
    against s, n is slightly too many.
    """
    images = len(tally.differences)
    spread = math.sqrt(float(np.mean(tally.differences**2)))
    if spread == 0:
        return _Prospects(None, None)
    z, missed = normal_quantile(1 - alpha), unseen_images(1 - alpha)

    power = normal_quantile(2 * POWER - 1)

    def detectable(number: float) -> float:
        error = spread * math.sqrt(number)
        return (math.hypot(z * error, missed) + power * error) / number

    points, difference = 100 * detectable(images), abs(float(tally.differences.mean()))
    needed = None
    if difference > _ROUNDING:
        from scipy import optimize

        root = optimize.brentq(lambda number: detectable(number) - difference, 1e-3, 1e18)
        needed = two_digits(float(root))
    return _Prospects(points if points < 100 else None, needed)


def two_digits(number: float) -> int:
    """A positive number rounded up to a whole one of two significant digits.

    >>> two_digits(18_201.5), two_digits(99.2), two_digits(990.1), two_digits(7)
    (19000, 100, 1000, 7)
    """
    whole = math.ceil(number)
    step = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // step) * step
