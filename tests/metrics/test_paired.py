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
from noctule.comparison import metric_differences
from noctule.metrics import METRICS
from noctule.metrics.intervals import SMALLEST_P, difference_bounds, difference_p
from noctule.metrics.means import ImageValues, ReferenceErrors
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired import Difference, holm, mcnemar_p, paired_differences
from noctule.metrics.scores import KnownReference

Wrong = NDArray[np.bool_]


def matrix(wrong: Mapping[str, Sequence[int] | Wrong]) -> OutcomeMatrix:
    columns = np.stack([np.asarray(one, dtype=bool) for one in wrong.values()], axis=1)
    ids = pa.array([f"{i:06d}" for i in range(len(columns))])
    ranks = np.where(columns, 2, 1).astype(np.int32)
    return OutcomeMatrix(ids, tuple(wrong), {"label_rank": ranks})


def differences_of(
    a: OutcomeMatrix, b: OutcomeMatrix, groups: Mapping[str, Sequence[str]]
) -> tuple[Difference, ...]:
    return paired_differences(a, b, groups)


def one_severity(only_a: int, only_b: int, images: int) -> Difference:
    """One condition, with so many images that one model alone gets wrong."""
    a, b = (np.zeros(images, dtype=bool) for _ in range(2))
    a[:only_a], b[only_a : only_a + only_b] = True, True
    return differences_of(matrix({"shear": a}), matrix({"shear": b}), {"shear": ["shear"]})[0]


# The tests


@pytest.mark.parametrize(
    "counts", [(0, 0), (0, 1), (3, 3), (3, 4), (0, 9), (12, 31), (31, 12), (900, 1004)]
)
def test_one_severity_is_the_exact_mcnemar_test(counts: tuple[int, int]) -> None:
    only_a, only_b = counts
    ours = mcnemar_p(only_a, only_b)
    table = [[50, only_b], [only_a, 20]]
    assert ours == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    if sum(counts):
        assert ours == pytest.approx(stats.binomtest(only_a, sum(counts)).pvalue, rel=1e-9)


def p_of(differences: NDArray[np.float64] | list[float], at: float = 0.0) -> float:
    values = np.asarray(differences, dtype=np.float64)
    squares = float(((values - values.mean()) ** 2).sum())
    return difference_p(float(values.mean()), squares, len(values), at)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at", [0.0, 0.1, -0.3])
def test_test_and_interval_are_two_views_of_one_thing(seed: int, at: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([-1, -0.4, 0, 0, 0, 0.2, 0.6], size=30 + 40 * seed)
    p_value = p_of(values, at)
    if 1e-11 < p_value < 0.99:
        squares = np.array([((values - values.mean()) ** 2).sum()])
        ends = difference_bounds(np.array([values.mean()]), squares, len(values), 1 - p_value)
        assert min(abs(end.item() - at) for end in ends) < 1e-7


def test_several_conditions_by_hand() -> None:
    # D = 3, Σ d² = 3.5. At p = .2488, z = 1.153345 and ln(2 / p) = 2.084253, so that
    # z² · Σ d² + ln(2 / p)² = 4.6557 + 4.3441 = 8.9998.
    values = [1.0, 1.0, 1.0, 0.5, -0.5] + [0.0] * 25
    assert p_of(values) == pytest.approx(0.2488, abs=2e-4)


def test_of_many_images_it_is_the_clustered_mcnemar_test() -> None:
    # Durkalski et al. 2003: z = Σ S / √(Σ S²).
    sums = np.random.default_rng(2).integers(-5, 6, size=45_000) * np.array([0, 1, 1] * 15_000)
    sums[:1200] = np.abs(sums[:1200])
    z = abs(sums.sum()) / math.sqrt((sums**2).sum())
    assert 1 < z < 6
    assert p_of(sums / 5) == pytest.approx(2 * stats.norm.sf(z), rel=0.03)


@pytest.mark.parametrize("differences", [[0.0], [0.0] * 50, [-0.5, 0.5] * 9])
def test_what_says_nothing_has_a_p_of_1(differences: list[float]) -> None:
    assert p_of(differences) == 1.0


@pytest.mark.parametrize("images", [1, 2, 3, 4])
def test_a_handful_of_images_shows_nothing(images: int) -> None:
    assert p_of([1.0] * images) > 0.05


def test_a_p_value_is_never_0() -> None:
    assert p_of([1.0] * 500) == SMALLEST_P


def closed_holm(p_values: Sequence[float], weights: Sequence[int]) -> list[float]:
    """Closed testing: each hypothesis by its hardest intersection, by weighted Bonferroni."""
    places = range(len(p_values))
    subsets = [
        subset for size in range(1, len(p_values) + 1)
        for subset in itertools.combinations(places, size)
    ]  # fmt: skip

    def bonferroni(subset: tuple[int, ...]) -> float:
        total = sum(weights[place] for place in subset)
        return min(1.0, min(p_values[place] * total / weights[place] for place in subset))

    return [
        max(bonferroni(subset) for subset in subsets if place in subset) for place in places
    ]


def test_weighted_holm_is_the_closed_procedure() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        count = int(rng.integers(1, 8))
        p_values = [float(p) for p in rng.random(count) ** 3]
        weights = [int(weight) for weight in rng.integers(1, 6, size=count)]
        assert holm(p_values, weights) == pytest.approx(closed_holm(p_values, weights))


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
    # A errs in 4 of 8, B in 2 of 8. d = (−1, −1, +1, −1) / 2: D² = 1, Σ d² = 1 and even at
    # p = .9, z² + ln(2 / p)² = .0158 + .6376; at p = .6 it is .275 + 1.450 > 1.
    assert (shear.a, shear.b, shear.difference.value) == (50, 25, -25)
    assert (shear.only_a_wrong, shear.only_b_wrong) == (3, 1)
    assert shear.p_value == shear.p_holm
    assert 0.6 < shear.p_value < 0.9
    assert shear.spread == pytest.approx(100 * math.sqrt(3) / 4)  # of ½ with these signs
    (clean,) = differences_of(a, b, {"clean": ["clean"]})
    assert (clean.difference.value, clean.p_value) == (50, 0.5)  # two images: 2 · (1/2)²
    both = differences_of(a, b, {"shear": ["shear@1", "shear@2"], "clean": ["clean"]})
    assert [one.p_holm for one in both] == pytest.approx([1.0, 1.0])


def test_without_a_differing_image_nothing_is_said() -> None:
    same = one_severity(0, 0, 50)
    assert (same.p_value, same.real, same.difference.value) == (1.0, False, 0.0)
    assert (same.detectable, same.images_needed) == (None, None)


def test_severities_that_cancel_are_outcomes_that_differ() -> None:
    a, b = matrix({"x@1": [1], "x@2": [0]}), matrix({"x@1": [0], "x@2": [1]})
    (one,) = differences_of(a, b, {"x": ["x@1", "x@2"]})
    assert (one.only_a_wrong, one.only_b_wrong, one.p_value) == (1, 1, 1.0)


def test_what_could_be_told_by_hand() -> None:
    one = one_severity(10, 16, 400)
    # z = 1.959964 and .841621; s = √(26/400) = .254951, z² = 3.841459. With s √n = 5.099020:
    # (√(9.993896² + 3.841459²) + 4.291442) / 400 = .037496.
    assert one.detectable == pytest.approx(3.7496, abs=1e-4)
    # The difference is 6/400 = .015. At n = 2310, s √n = 12.2536: (√(24.0166² + 3.8415²) +
    # 10.3129) / n = .014994; at 2300 .015027.
    assert one.images_needed == 2400
    a, b = np.zeros((2, 400), dtype=bool)
    a[:10], b[10:26] = True, True
    names = [f"c{i}" for i in range(5)]
    five = differences_of(
        matrix(dict.fromkeys(names, a)),
        matrix(dict.fromkeys(names, b)),
        {name: [name] for name in names},
    )
    # α = .05 / 5: z = 2.575829: (√(13.134206² + 6.634897²) + 4.291442) / 400 = .047516.
    assert five[0].detectable == pytest.approx(4.7516, abs=1e-4)
    weighted = paired_differences(
        matrix({"x": a, "y": a}), matrix({"x": b, "y": b}), {"x": ["x"], "y": ["y"]},
        weights=[1, 4],
    )  # fmt: skip
    assert weighted[0].detectable == pytest.approx(five[0].detectable)


def test_a_real_difference_needs_no_more_images_and_equal_errors_none() -> None:
    real = one_severity(1, 30, 400)
    assert (real.real, real.detectable, real.images_needed) == (True, None, None)
    equal = one_severity(8, 8, 400)
    assert equal.images_needed is None
    assert equal.detectable == pytest.approx(
        100 * (math.hypot(1.959964 * 4, 3.841459) + 0.841621 * 4) / 400, rel=1e-6
    )
    assert one_severity(1, 2, 3).detectable is None  # 100 · 2.8 / √3 is above 100


# Intervals


def test_an_interval_has_the_width_of_the_paired_normal_one() -> None:
    rng = np.random.default_rng(4)
    a = rng.random((2000, 2)) < 0.4
    b = a ^ (rng.random((2000, 2)) < 0.1)
    names = ["x@1", "x@2"]
    one, two = (matrix(dict(zip(names, wrong.T, strict=True))) for wrong in (a, b))
    (found,) = differences_of(one, two, {"x": names})
    d = b.mean(axis=1) - a.mean(axis=1)
    half = 100 * 1.96 * d.std() / math.sqrt(2000)
    assert found.difference.value == pytest.approx(100 * d.mean())
    ends = (found.difference.low, found.difference.high)
    # Unseen images add 2 % to the half width here. Unpaired, it would be 1.9 times as large.
    expected = (100 * d.mean() - half, 100 * d.mean() + half)
    assert ends == pytest.approx(expected, abs=0.04 * half)


def test_interval_and_exact_test_agree_on_0() -> None:
    for images, total in itertools.product((20, 100, 2000), (5, 6, 7, 10, 20, 100)):
        for only_a in range(min(images, total) // 2 + 1):
            if total > images:
                continue
            one = one_severity(only_a, total - only_a, images)
            low, high = one.difference.low, one.difference.high
            assert low is not None
            assert high is not None
            assert low <= (one.difference.value or 0) <= high
            assert low <= 0 if one.p_value >= 0.05 else low >= 0, (images, total, only_a)


def test_mean_differences_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(5)
    names = ["clean", "shear", "rain"]
    chances = {"a": (0.2, 0.5, 0.6), "b": (0.15, 0.45, 0.7), "ref": (0.3, 0.7, 0.8)}
    wrong = {key: rng.random((300, 3)) < chance for key, chance in chances.items()}
    a, b, ref = (matrix(dict(zip(names, one.T, strict=True))) for one in wrong.values())
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": names[1:]}
    )
    reference = KnownReference(ImageValues(names, ref.wrong))
    found = [
        metric_differences(METRICS[name], (a, b), benchmark, reference, 0.9)["benchmark", "b"]
        for name in ("ce", "relative_ce")
    ]
    errors = {key: one.mean(axis=0) for key, one in wrong.items()}

    def scores(key: str) -> tuple[float, float]:
        (clean, *rest), (ref_clean, *ref_rest) = errors[key], errors["ref"]
        ces = [100 * e / r for e, r in zip(rest, ref_rest, strict=True)]
        relative = [
            100 * (e - clean) / (r - ref_clean) for e, r in zip(rest, ref_rest, strict=True)
        ]
        return float(np.mean(ces)), float(np.mean(relative))

    for mean, of_a, of_b in zip(found, scores("a"), scores("b"), strict=True):
        assert (mean.a, mean.b) == pytest.approx((of_a, of_b))
        assert mean.difference.value == pytest.approx(of_b - of_a)
        assert mean.difference.low < mean.difference.value < mean.difference.high


def test_means_without_a_reference_or_clean_images_say_why() -> None:
    a, b = matrix({"shear": [0, 1]}), matrix({"shear": [1, 1]})
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": ["shear"]}
    )

    def found(reference: ReferenceErrors) -> list[Difference]:
        known = KnownReference(reference, why_none="because")
        return [
            metric_differences(METRICS[name], (a, b), benchmark, known, 0.95)["benchmark", "b"]
            for name in ("ce", "relative_ce")
        ]

    mce, relative = found(None)
    for undefined in (mce, relative):
        assert (undefined.a, undefined.difference.reason) == (None, "because")
    mce, relative = found(ImageValues(a.conditions, a.wrong))
    assert (mce.a, mce.b, mce.difference.value) == (100, 200, 100)
    assert "clean images were not evaluated" in str(relative.difference.reason)


# Simulations


def correlated(
    rng: np.random.Generator, images: int, chances: Sequence[float], share: float
) -> Wrong:
    """(images, columns): wrong with these chances; columns share an image's luck."""
    own, common = rng.random((images, len(chances))), rng.random((images, 1))
    shares = rng.random((images, len(chances))) < share
    return np.where(shares, common, own) < np.asarray(chances)


@pytest.mark.parametrize("severities", [1, 5])
def test_models_that_are_alike_are_rarely_told_apart(severities: int) -> None:
    rng = np.random.default_rng(6)
    data_sets, images, corruptions = 500, 150, 4
    groups = {
        f"c{c}": [f"c{c}@{severity}" for severity in range(severities)]
        for c in range(corruptions)
    }
    names = [name for group in groups.values() for name in group]
    chances = np.tile(np.linspace(0.2, 0.6, severities), corruptions)
    single = family = 0
    for _ in range(data_sets):
        # All conditions share much of an image's luck with a model, and the models agree on
        # half of the images.
        wrong_a, wrong_b = (correlated(rng, images, chances, share=0.8) for _ in range(2))
        group_equal = rng.random(images) < 0.5
        wrong_b[group_equal] = wrong_a[group_equal]
        a, b = (matrix(dict(zip(names, one.T, strict=True))) for one in (wrong_a, wrong_b))
        found = differences_of(a, b, groups)
        single += sum(one.p_value < 0.05 for one in found)
        family += any(one.real for one in found)
    # Standard errors: of 2000 tests, .5 points (a little more, as they are correlated); of 500
    # families, 1 point. McNemar's test is exact and so conservative with few images.
    assert 0.01 < single / (data_sets * corruptions) < 0.067
    assert family / data_sets < 0.083


def chance_of_finding(
    rng: np.random.Generator, values: Sequence[float], chances: Sequence[float], images: int
) -> float:
    """How often images with these differences are found to differ on average."""
    drawn = (rng.choice(values, size=images, p=chances) for _ in range(2000))
    return float(np.mean([p_of(one) < 0.05 for one in drawn]))


@pytest.mark.parametrize("images", [20, 100, 400])
@pytest.mark.parametrize(
    ("values", "chances"),
    [
        ([0.6, -0.2, -0.4, 0], [0.1, 0.1, 0.1, 0.7]),
        ([1, -0.2, 0], [0.02, 0.1, 0.88]),  # rare images where all goes wrong
        ([1, -0.2, 0], [0.1, 0.5, 0.4]),
        ([1, -1 / 15], [1 / 16, 15 / 16]),
    ],
)
def test_equal_errors_of_another_shape_are_rarely_told_apart(
    images: int, values: list[float], chances: list[float]
) -> None:
    assert np.dot(values, chances) == pytest.approx(0)
    # The standard error of 5 % of 2000 is .5 points.
    assert chance_of_finding(np.random.default_rng(7), values, chances, images) < 0.065


@pytest.mark.parametrize("images", [20, 100, 1000])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_equal_errors_clustered_in_another_way_are_rarely_told_apart(
    images: int, rate: float
) -> None:
    # A errs on all five severities of an image or on none, B on each as it comes.
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(1000):
        a = np.repeat(rng.random((images, 1)) < rate, 5, axis=1)
        b = rng.random((images, 5)) < rate
        found += p_of((b.sum(axis=1) - a.sum(axis=1)) / 5) < 0.05
    # The standard error of 5 % of 1000 is .7 points; a test of exchangeable models finds up to
    # 70 % here.
    assert found / 1000 < 0.07


@pytest.mark.parametrize("several", [False, True])
def test_the_advised_number_of_images_gives_80_percent_power(several: bool) -> None:
    rng = np.random.default_rng(9)
    severities = 3 if several else 1
    names = [f"x@{severity}" for severity in range(severities)]
    a, b = (np.zeros((300, severities), dtype=bool) for _ in range(2))
    a[:20, 0], b[20:52, 0] = True, True
    a[60:70, :], b[70:83, :] = True, True
    one, two = (matrix(dict(zip(names, wrong.T, strict=True))) for wrong in (a, b))
    (pilot,) = differences_of(one, two, {"x": names})
    assert pilot.images_needed is not None
    sums = b.sum(axis=1) - a.sum(axis=1)
    found = []
    for _ in range(1000):
        drawn = rng.choice(sums, size=pilot.images_needed)
        if several:
            found.append(p_of(drawn / severities) < 0.05)
        else:
            found.append(mcnemar_p(int((drawn < 0).sum()), int((drawn > 0).sum())) < 0.05)
    # The standard error of 80 % of 1000 is 1.3 points; rounding up may add 2.
    assert 0.765 < np.mean(found) < 0.86


def test_the_least_difference_that_can_be_told_is_told_with_80_percent_power() -> None:
    pilot = one_severity(60, 60, 2000)
    assert pilot.detectable is not None
    ratio = pilot.detectable / 100 / 0.06  # of 6 % of the images that differ
    chances = [0.06 * (1 + ratio) / 2, 0.06 * (1 - ratio) / 2, 0.94]
    found = chance_of_finding(np.random.default_rng(10), [1, -1, 0], chances, 2000)
    assert 0.765 < found < 0.84
