"""Paired tests against independent packages, enumeration and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from noctule.benchmarks import Benchmark
from noctule.metrics.estimates import BOOTSTRAP_NAME
from noctule.metrics.mean_differences import MeanDifference, mean_differences, paired_means
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired import (
    SMALLEST_P,
    holm,
    mcnemar_p,
    paired_differences,
    sign_flip_p,
)
from noctule.metrics.paired_results import PairedDifference
from noctule.sampling import resample_counts

Wrong = NDArray[np.bool_]


def matrix(wrong: Mapping[str, Sequence[int] | Wrong]) -> OutcomeMatrix:
    columns = np.stack([np.asarray(one, dtype=bool) for one in wrong.values()], axis=1)
    ids = pa.array([f"{i:06d}" for i in range(len(columns))])
    ranks = np.where(columns, 2, 1).astype(np.int32)
    return OutcomeMatrix(ids, tuple(wrong), ranks, np.ones(ranks.shape, np.float32))


def differences_of(
    a: OutcomeMatrix, b: OutcomeMatrix, groups: Mapping[str, Sequence[str]], resamples: int = 0
) -> tuple[PairedDifference, ...]:
    means = paired_means(a, b, resamples=resamples)
    return paired_differences(a, b, groups, means.difference)


def one_level(only_a: int, only_b: int, images: int) -> PairedDifference:
    """One condition, with so many images that one model alone gets wrong."""
    a, b = (np.zeros(images, dtype=bool) for _ in range(2))
    a[:only_a], b[only_a : only_a + only_b] = True, True
    return differences_of(matrix({"shear": a}), matrix({"shear": b}), {"shear": ["shear"]})[0]


# The tests


@pytest.mark.parametrize(
    "counts", [(0, 0), (0, 1), (3, 3), (3, 4), (0, 9), (12, 31), (31, 12), (900, 1004)]
)
def test_one_level_is_the_exact_mcnemar_test(counts: tuple[int, int]) -> None:
    only_a, only_b = counts
    ours = mcnemar_p(only_a, only_b)
    table = [[50, only_b], [only_a, 20]]
    assert ours == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    if sum(counts):
        assert ours == pytest.approx(stats.binomtest(only_a, sum(counts)).pvalue, rel=1e-9)
    signs = np.repeat([-1, 1, 0], [only_a, only_b, 7])
    assert sign_flip_p(signs) == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_several_levels_agree_with_all_choices_of_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(-3, 5, size=rng.integers(1, 11))
    flips = list(itertools.product([-1, 1], repeat=len(sums)))
    far = [abs(np.dot(flip, sums)) >= abs(sums.sum()) for flip in flips]
    assert sign_flip_p(sums) == pytest.approx(np.mean(far), rel=1e-12)


def test_several_levels_agree_with_scipys_permutation_test() -> None:
    sums = np.array([2, 5, -1, 0, 3, 3, -2, 1, 4])
    found = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(sums) == pytest.approx(found.pvalue, rel=1e-12)


def exact_sign_flip_p(sums: NDArray[np.int64]) -> float:
    """Whole numbers only: how many of the 2ⁿ choices of signs give each sum."""
    ways = {0: 1}
    for size in map(int, np.abs(sums)):
        more: dict[int, int] = {}
        for total, count in ways.items():
            for sign in (-size, size):
                more[total + sign] = more.get(total + sign, 0) + count
        ways = more
    far = sum(count for total, count in ways.items() if abs(total) >= abs(int(sums.sum())))
    return far / 2 ** len(sums)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6, 0.9])
def test_small_probabilities_are_exact(shift: float) -> None:
    rng = np.random.default_rng(1)
    sums = rng.integers(-5, 6, size=250) + (rng.random(250) < shift)
    expected = exact_sign_flip_p(sums)
    assert sign_flip_p(sums) == pytest.approx(expected, rel=1e-5, abs=1e-14)


def test_a_probability_below_the_arithmetics_is_not_nothing() -> None:
    assert sign_flip_p(np.full(500, 3)) == SMALLEST_P  # 2⁻⁴⁹⁹ in truth


def test_of_many_images_it_is_the_clustered_mcnemar_test() -> None:
    # Durkalski et al. 2003: z = Σ S / √(Σ S²). The step between two sums is 2 of a standard
    # deviation of √(Σ S²) = 670, which is halved for continuity.
    sums = np.random.default_rng(2).integers(-5, 6, size=45_000) * np.array([0, 1, 1] * 15_000)
    sums[:1200] = np.abs(sums[:1200])
    z = (abs(sums.sum()) - 0.5) / math.sqrt((sums**2).sum())
    assert 1 < z < 6
    assert sign_flip_p(sums) == pytest.approx(2 * stats.norm.sf(z), rel=0.01)


def test_holm_agrees_with_statsmodels() -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 9, 30):
        p_values = [*rng.random(count) ** 3, 0.01, 0.01]
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values) == pytest.approx(list(expected), rel=1e-12)
    assert holm([]) == []


# Differences by hand


def test_differences_by_hand() -> None:
    a = matrix({"clean": [0, 0, 0, 0], "shear@1": [1, 0, 0, 1], "shear@2": [1, 1, 0, 0]})
    b = matrix({"clean": [0, 0, 1, 1], "shear@1": [1, 0, 1, 0], "shear@2": [0, 0, 0, 0]})
    (shear,) = differences_of(a, b, {"shear": ["shear@1", "shear@2"]})
    # A errs in 4 of 8, B in 2 of 8. S = (−1, −1, +1, −1), so the sum is −2, and of 16 choices
    # of four signs only the 6 with two of each give a sum nearer to 0.
    assert (shear.a_percent, shear.b_percent, shear.points.value) == (50, 25, -25)
    assert (shear.only_a_wrong, shear.only_b_wrong) == (3, 1)
    assert shear.p_value == shear.p_holm == pytest.approx(10 / 16)
    (clean,) = differences_of(a, b, {"clean": ["clean"]})
    assert (clean.points.value, clean.p_value) == (50, 0.5)  # two images: 2 · (1/2)²
    both = differences_of(a, b, {"shear": ["shear@1", "shear@2"], "clean": ["clean"]})
    assert [one.p_holm for one in both] == pytest.approx([1.0, 1.0])


def test_without_a_differing_image_nothing_is_said() -> None:
    same = one_level(0, 0, 50)
    assert (same.p_value, same.real, same.points.value) == (1.0, False, 0.0)
    assert (same.detectable_points, same.images_needed) == (None, None)


def test_levels_that_cancel_are_outcomes_that_differ() -> None:
    a, b = matrix({"x@1": [1], "x@2": [0]}), matrix({"x@1": [0], "x@2": [1]})
    (one,) = differences_of(a, b, {"x": ["x@1", "x@2"]})
    assert (one.only_a_wrong, one.only_b_wrong, one.p_value) == (1, 1, 1.0)


def test_what_could_be_told_by_hand() -> None:
    one = one_level(10, 16, 400)
    # z = 1.959964 + .841621; s = √(26/400) = .254951; z · s = .714270. Points: 100 times
    # .714270 / 20 + 1 / 400. The difference is 6/400: √n = (.714270 + √(.510182 + .06)) / .03
    # = 48.979 and n = 2398.9.
    assert one.detectable_points == pytest.approx(3.8213, abs=1e-4)
    assert one.images_needed == 2400
    a, b = np.zeros((2, 400), dtype=bool)
    a[:10], b[10:26] = True, True
    names = [f"c{i}" for i in range(5)]
    five = differences_of(
        matrix(dict.fromkeys(names, a)),
        matrix(dict.fromkeys(names, b)),
        {name: [name] for name in names},
    )
    # α = .05 / 5: z = 2.575829 + .841621, z · s = .871283, √n = (.871283 + .905060) / .03.
    assert five[0].detectable_points == pytest.approx(4.6064, abs=1e-4)
    assert five[0].images_needed == 3600  # 3506.0
    # The same images at two levels: S is doubled, L too, and the last term is half as large.
    (twice,) = differences_of(
        matrix({"x@1": a, "x@2": a}), matrix({"x@1": b, "x@2": b}), {"x": ["x@1", "x@2"]}
    )
    assert twice.detectable_points == pytest.approx(3.6963, abs=1e-4)


def test_a_real_difference_needs_no_more_images_and_equal_errors_none() -> None:
    real = one_level(1, 30, 400)
    assert (real.real, real.detectable_points, real.images_needed) == (True, None, None)
    equal = one_level(8, 8, 400)
    assert equal.images_needed is None
    assert equal.detectable_points == pytest.approx(100 * (2.801585 * 0.2 / 20 + 1 / 400))
    assert one_level(1, 2, 3).detectable_points is None  # 100 · 2.8 / √3 is above 100


# Intervals


def test_an_interval_has_the_width_of_the_paired_normal_one() -> None:
    rng = np.random.default_rng(4)
    a = rng.random((2000, 2)) < 0.4
    b = a ^ (rng.random((2000, 2)) < 0.1)
    names = ["x@1", "x@2"]
    one, two = (matrix(dict(zip(names, wrong.T, strict=True))) for wrong in (a, b))
    (found,) = differences_of(one, two, {"x": names}, resamples=4000)
    d = b.mean(axis=1) - a.mean(axis=1)
    half = 100 * 1.96 * d.std() / math.sqrt(2000)
    assert found.points.value == pytest.approx(100 * d.mean())
    assert found.points.low is not None
    assert found.points.high is not None
    # An end has a Monte Carlo error of .034 standard errors, .017 of the half width. Unpaired,
    # the half width would be 1.9 times as large.
    ends = (found.points.low, found.points.high)
    expected = (100 * d.mean() - half, 100 * d.mean() + half)
    assert ends == pytest.approx(expected, abs=0.08 * half)


def test_means_over_corruptions_agree_with_the_formulas_on_every_resample() -> None:
    rng = np.random.default_rng(5)
    n, resamples = 120, 300
    names = ["clean", "shear", "rain"]
    chances = {"a": (0.2, 0.5, 0.6), "b": (0.15, 0.45, 0.7), "ref": (0.3, 0.7, 0.8)}
    wrong = {key: rng.random((n, 3)) < chance for key, chance in chances.items()}
    a, b, ref = (matrix(dict(zip(names, one.T, strict=True))) for one in wrong.values())
    means = paired_means(a, b, ref, seed=7, resamples=resamples)
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": names[1:]}
    )
    found = mean_differences(
        (a, b), means, benchmark, no_reference_reason="none", confidence=0.9
    )
    counts = resample_counts(7, BOOTSTRAP_NAME, n, range(resamples)).numpy()
    errors = {
        key: np.concatenate([one.mean(axis=0)[None], counts @ one / n])
        for key, one in wrong.items()
    }

    def scores(key: str) -> list[NDArray[np.float64]]:
        (clean, *rest), (ref_clean, *ref_rest) = errors[key].T, errors["ref"].T
        ces = [100 * e / r for e, r in zip(rest, ref_rest, strict=True)]
        relative = [
            100 * (e - clean) / (r - ref_clean) for e, r in zip(rest, ref_rest, strict=True)
        ]
        return [100 * np.mean(rest, axis=0), np.mean(ces, axis=0), np.mean(relative, axis=0)]

    for mean, of_a, of_b in zip(found, scores("a"), scores("b"), strict=True):
        assert (mean.a_percent, mean.b_percent) == pytest.approx((of_a[0], of_b[0]))
        difference = of_b - of_a
        low, high = np.quantile(difference[1:], [0.05, 0.95])
        points = mean.points
        assert (points.value, points.low, points.high) == pytest.approx(
            (difference[0], low, high)
        )


def test_means_without_a_reference_or_clean_images_say_why() -> None:
    a, b = matrix({"shear": [0, 1]}), matrix({"shear": [1, 1]})
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": ["shear"]}
    )

    def found(reference: OutcomeMatrix | None) -> list[MeanDifference]:
        means = paired_means(a, b, reference, resamples=0)
        return mean_differences(
            (a, b), means, benchmark, no_reference_reason="because", confidence=0.95
        )

    error, mce, relative = found(None)
    assert (error.a_percent, error.b_percent, error.points.value) == (50, 100, 50)
    for undefined in (mce, relative):
        assert (undefined.a_percent, undefined.points.reason) == (None, "because")
    _, mce, relative = found(a)
    assert (mce.a_percent, mce.b_percent, mce.points.value) == (100, 200, 100)
    assert "clean images were not evaluated" in str(relative.points.reason)


# Simulations


def correlated(
    rng: np.random.Generator, images: int, chances: Sequence[float], share: float
) -> Wrong:
    """(images, columns): wrong with these chances; columns share an image's luck."""
    own, common = rng.random((images, len(chances))), rng.random((images, 1))
    shares = rng.random((images, len(chances))) < share
    return np.where(shares, common, own) < np.asarray(chances)


@pytest.mark.parametrize("levels", [1, 5])
def test_models_that_are_alike_are_rarely_told_apart(levels: int) -> None:
    rng = np.random.default_rng(6)
    data_sets, images, corruptions = 500, 150, 4
    groups = {f"c{c}": [f"c{c}@{level}" for level in range(levels)] for c in range(corruptions)}
    names = [name for group in groups.values() for name in group]
    chances = np.tile(np.linspace(0.2, 0.6, levels), corruptions)
    single = family = 0
    for _ in range(data_sets):
        # All conditions share much of an image's luck with a model, and the models agree on
        # half of the images.
        wrong_a, wrong_b = (correlated(rng, images, chances, share=0.8) for _ in range(2))
        alike = rng.random(images) < 0.5
        wrong_b[alike] = wrong_a[alike]
        a, b = (matrix(dict(zip(names, one.T, strict=True))) for one in (wrong_a, wrong_b))
        found = differences_of(a, b, groups)
        single += sum(one.p_value < 0.05 for one in found)
        family += any(one.real for one in found)
    # Standard errors: of 2000 tests, .5 points (a little more, as they are correlated); of 500
    # families, 1 point. McNemar's test is exact and so conservative with few images.
    assert 0.01 < single / (data_sets * corruptions) < 0.067
    assert family / data_sets < 0.083


def test_models_of_equal_errors_but_other_shape_are_rarely_told_apart() -> None:
    # No difference of the mean, yet S is not symmetric: +3 half as often as −1 and −2 together.
    rng = np.random.default_rng(7)
    found = [
        sign_flip_p(rng.choice([3, -1, -2, 0], size=400, p=[0.1, 0.1, 0.1, 0.7]))
        for _ in range(2000)
    ]
    # The standard error of 5 % of 2000 is .5 points.
    assert 0.033 < np.mean(np.array(found) < 0.05) < 0.067


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # All data sets at once, as if they were corruptions of three levels: one resample serves
    # them all.
    rng = np.random.default_rng(8)
    groups = {f"x{i}": [f"x{i}@{level}" for level in (1, 2, 3)] for i in range(2000)}
    chances = [0.2, 0.3, 0.5, 0.25, 0.4, 0.5]  # a difference of .05 over the levels
    a, b = {}, {}
    for names in groups.values():
        wrong = correlated(rng, 200, chances, share=0.6).T
        a |= dict(zip(names, wrong[:3], strict=True))
        b |= dict(zip(names, wrong[3:], strict=True))
    found = differences_of(matrix(a), matrix(b), groups, resamples=1000)
    ends = [(one.points.low, one.points.high) for one in found]
    hits = [low <= 5.0 <= high for low, high in ends if low is not None and high is not None]
    assert len(hits) == 2000
    # The standard error of a coverage over 2000 data sets is .49 points; a percentile interval
    # from 200 images falls short by some .5 points.
    assert 0.93 < np.mean(hits) < 0.965


@pytest.mark.parametrize("several", [False, True])
def test_the_advised_number_of_images_gives_80_percent_power(several: bool) -> None:
    rng = np.random.default_rng(9)
    levels = 3 if several else 1
    names = [f"x@{level}" for level in range(levels)]
    a, b = (np.zeros((300, levels), dtype=bool) for _ in range(2))
    a[:20, 0], b[20:52, 0] = True, True
    a[60:70, :], b[70:83, :] = True, True
    one, two = (matrix(dict(zip(names, wrong.T, strict=True))) for wrong in (a, b))
    (pilot,) = differences_of(one, two, {"x": names})
    assert pilot.images_needed is not None
    sums = b.sum(axis=1) - a.sum(axis=1)
    found = [
        sign_flip_p(rng.choice(sums, size=pilot.images_needed)) < 0.05 for _ in range(1000)
    ]
    # The standard error of 80 % of 1000 is 1.3 points; rounding up may add 2.
    assert 0.765 < np.mean(found) < 0.855


def test_the_least_difference_that_can_be_told_is_told_with_80_percent_power() -> None:
    rng = np.random.default_rng(10)
    pilot = one_level(60, 60, 2000)
    assert pilot.detectable_points is not None
    ratio = pilot.detectable_points / 100 / 0.06  # of 6 % of the images that differ
    chances = [0.06 * (1 + ratio) / 2, 0.06 * (1 - ratio) / 2, 0.94]
    found = [
        sign_flip_p(rng.choice([1, -1, 0], size=2000, p=chances)) < 0.05 for _ in range(1000)
    ]
    assert 0.765 < np.mean(found) < 0.84
