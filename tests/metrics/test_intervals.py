"""Intervals against independent packages and slow references, and how often they hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from noctule.benchmarks import Benchmark
from noctule.metrics import METRICS
from noctule.metrics.intervals import (
    Bounds,
    RatioOfMeans,
    difference_bounds,
    difference_p,
    share_bounds,
    unseen_images,
)
from noctule.metrics.means import Estimates, ImageValues, ratio_estimates

Array = NDArray[np.float64]
NUMBERS = (20, 100, 1000)
RATES = (0.01, 0.05, 0.5, 0.95, 0.99)
KINDS = ("independent", "identical", "some images")


def moments(values: Array) -> tuple[Array, Array, int]:
    """Of columns: mean, sum of squares about it, number of images."""
    return values.mean(axis=0), values.var(axis=0) * len(values), len(values)


# Oracles


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("images", [1, 4, 37])
def test_a_rate_has_clopper_and_pearsons_interval(images: int, confidence: float) -> None:
    for wrong in range(images + 1):
        flags = (np.arange(images) < wrong)[:, None].astype(np.float64)
        low, high = share_bounds(*moments(flags), confidence)
        expected = proportion_confint(wrong, images, alpha=1 - confidence, method="beta")
        assert (low.item(), high.item()) == pytest.approx(expected, abs=1e-12)


def slow_share_bounds(shares: Array, confidence: float) -> tuple[float, float]:
    """Korn & Graubard by bisection on tail probabilities, as the beta distribution's."""
    n, m = len(shares), shares.mean()
    missed = (unseen_images(confidence) / stats.norm.ppf((1 + confidence) / 2)) ** 2
    effect = (sum((one - m) ** 2 for one in shares) + missed) / (n * m * (1 - m) + missed)
    size, tail = n / effect, (1 - confidence) / 2
    # P(X ≥ k | p) of a binomial count is P(Beta(k, n − k + 1) ≤ p), for any real k.
    low = optimize.brentq(
        lambda p: stats.beta.cdf(p, size * m, size - size * m + 1) - tail, 0, 1
    )
    high = optimize.brentq(
        lambda p: stats.beta.sf(p, size * m + 1, size - size * m) - tail, 0, 1
    )
    return low, high


def test_a_mean_over_conditions_has_the_effective_number_of_images() -> None:
    rng = np.random.default_rng(1)
    for conditions in (2, 5, 40):
        shares = (rng.random((60, conditions)) < 0.2).mean(axis=1)
        low, high = share_bounds(*moments(shares[:, None]), 0.95)
        expected = slow_share_bounds(shares, 0.95)
        assert (low.item(), high.item()) == pytest.approx(expected, rel=1e-6)
    # Of many images it is the normal interval of a mean.
    shares = (rng.random((200_000, 5)) < 0.3).mean(axis=1)
    low, high = share_bounds(*moments(shares[:, None]), 0.95)
    half = 1.959964 * shares.std() / math.sqrt(len(shares))
    assert (low.item(), high.item()) == pytest.approx(
        (shares.mean() - half, shares.mean() + half), abs=0.02 * half
    )


def test_a_ratio_holds_what_the_test_of_a_difference_does_not_reject() -> None:
    rng = np.random.default_rng(2)
    luck = rng.random(150)
    over = (luck < 0.3).astype(np.float64)
    under = (np.where(rng.random(150) < 0.5, luck, rng.random(150)) < 0.5).astype(np.float64)
    low, high = RatioOfMeans(over[:, None], under[:, None]).bounds(0.95)

    def log_p(theta: float) -> float:
        mixed = over - theta * under
        squares = float(mixed.var() * len(mixed))
        largest = math.hypot(1, theta)  # of an image that only one of the models gets wrong
        p_value = difference_p(float(mixed.mean()), squares, len(mixed), largest=largest)
        return math.log(p_value / 0.05)

    theta = over.mean() / under.mean()
    expected = optimize.brentq(log_p, 0.2, theta), optimize.brentq(log_p, theta, 3)
    assert (low.item(), high.item()) == pytest.approx(expected, rel=1e-6)


def test_a_mean_of_ratios_of_many_images_is_the_delta_methods() -> None:
    rng = np.random.default_rng(3)
    luck = rng.random((20_000, 1))
    shared = rng.random((20_000, 6)) < 0.5
    flags = np.where(shared, luck, rng.random((20_000, 6))) < [0.2, 0.3, 0.4, 0.6, 0.7, 0.8]
    over, under = np.split(flags.astype(np.float64), 2, axis=1)
    low, high = RatioOfMeans(over, under).mean_bounds(0.95)
    base, ratios = under.mean(axis=0), over.mean(axis=0) / under.mean(axis=0)
    linear = ((over - ratios * under) / base).mean(axis=1)
    half = 1.959964 * linear.std() / math.sqrt(len(linear))
    assert (low.item(), high.item()) == pytest.approx(
        (ratios.mean() - half, ratios.mean() + half), abs=0.03 * half
    )


def test_intervals_widen_with_confidence_and_hold_the_value() -> None:
    rng = np.random.default_rng(4)
    shares = (rng.random((50, 3, 4)) < 0.1).mean(axis=2)
    for kind in ("share", "difference"):
        before: Bounds | None = None
        for confidence in (0.5, 0.8, 0.9, 0.95, 0.999):
            if kind == "share":
                ends = share_bounds(*moments(shares), confidence)
            else:
                ends = difference_bounds(*moments(shares - shares[:, ::-1]), confidence)
            if before is not None:
                assert (ends.low <= before.low).all()
                assert (ends.high >= before.high).all()
            before = ends


# How often they hold


def lucks(rng: np.random.Generator, shape: tuple[int, int, int], kind: str) -> Array:
    """Uniform numbers (data sets, images, columns), correlated over the columns."""
    own, common = rng.random(shape), rng.random((*shape[:2], 1))
    if kind == "independent":
        return own
    if kind == "identical":
        return np.broadcast_to(common, shape)
    return np.where(rng.random((*shape[:2], 1)) < 0.3, common, own)


def coverage(ends: Bounds, truth: float) -> float:
    return float(((ends.low - 1e-12 <= truth) & (truth <= ends.high + 1e-12)).mean())


@pytest.mark.parametrize("images", NUMBERS)
@pytest.mark.parametrize("rate", RATES)
def test_rates_and_their_means_and_differences_are_held(images: int, rate: float) -> None:
    rng = np.random.default_rng(5)
    data_sets = 1000 if images < 1000 else 300
    # The standard error of 95 % of 1000 is .7 points, of 300 1.3 points.
    least = 0.93 - (0.0 if images < 1000 else 0.02)
    single = (rng.random((images, 5000)) < rate).astype(np.float64)
    assert coverage(share_bounds(*moments(single), 0.95), rate) >= 0.94
    for kind in KINDS:
        shape = data_sets, images, 5
        a, b = ((lucks(rng, shape, one) < rate).mean(axis=2).T for one in (kind, KINDS[0]))
        assert coverage(share_bounds(*moments(a), 0.95), rate) >= least, kind
        assert coverage(difference_bounds(*moments(b - a), 0.95), 0.0) >= least, kind


def scores(
    metric: str, values: NDArray[np.bool_], reference: NDArray[np.bool_] | None
) -> Estimates:
    names = ["clean", "shear", "rain", "hue"]
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": names[1:]}
    )
    exact = {"clean": 0.2, "shear": 0.6, "rain": 0.6, "hue": 0.6}
    return ratio_estimates(
        METRICS[metric],
        ImageValues(names, values),
        benchmark,
        exact if reference is None else ImageValues(names, reference),
        no_reference_reason="",
        confidence=0.95,
    )


@pytest.mark.parametrize("images", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_rows", [True, False])
def test_ratios_are_held(images: int, kind: str, with_rows: bool) -> None:
    """CE and mCE, relative ones too, by the reference's rows and by its exact errors."""
    rng = np.random.default_rng(6)
    hits: dict[str, list[bool]] = {}
    data_sets = 60
    for rate in RATES:
        chances = np.array([rate / 2, rate, rate, rate, 0.2, 0.6, 0.6, 0.6])
        flags = lucks(rng, (data_sets, images, 8), kind) < chances
        truths = {"ce": rate / 0.6, "relative_ce": rate / 2 / 0.4}
        for one, (name, truth) in itertools.product(flags, truths.items()):
            found = scores(name, one[:, :4], one[:, 4:] if with_rows else None)
            for scope, estimate in found.items():
                if scope[1] not in ("shear", "b"):
                    continue
                if estimate.low is not None and estimate.high is not None:
                    inside = estimate.low <= 100 * truth <= estimate.high
                    hits.setdefault(f"{name} of {scope[1]}", []).append(inside)
    for name, held in hits.items():
        # The standard error of 95 % of 300 is 1.3 points.
        assert np.mean(held) >= 0.93 - 0.02, name
    assert min(map(len, hits.values())) > (200 if images > 20 or not with_rows else 30)
