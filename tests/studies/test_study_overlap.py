"""Overlap scores and accuracies of a study: by hand, by brute force, by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from noctule.benchmarks import Benchmark
from noctule.errors import InputError
from noctule.metrics import estimates, score
from noctule.metrics.intervals import share_bounds
from noctule.sampling import Stream, image_keys, key_of, resample_counts, unit_interval
from noctule.studies.accuracy import (
    AccuracyRow,
    CrossEvaluation,
    MeanAccuracies,
    accuracies,
    gains_of_form,
    mean_accuracies,
)
from noctule.studies.matrix import Form, OverlapMatrix
from noctule.studies.overlap import overlap as overlap_of_means

FORMS: tuple[Form, ...] = ("robustness", "accuracy")
Counts = Sequence[Sequence[int]]


def cross_of(correct: NDArray[np.bool_]) -> CrossEvaluation:
    names = tuple("abcdefgh"[: correct.shape[1] - 1])
    return CrossEvaluation(names, tuple(range(len(correct))), correct, "test")


def cross_of_counts(num_images: int, *seeds: Counts) -> CrossEvaluation:
    """So many images right, the first ones, for each model (row) and condition (column)."""
    counts = np.array(seeds)
    return cross_of(np.arange(num_images)[:, None] < counts[:, :, None, :])


def overlap(
    cross: CrossEvaluation,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> OverlapMatrix:
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return overlap_of_means(means, form=form, confidence=confidence)


def accuracies_of(
    cross: CrossEvaluation, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[AccuracyRow, ...]:
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return accuracies(means, confidence=confidence)


def uniforms(name: str, *shape: int) -> NDArray[np.float32]:
    count = math.prod(shape)
    words, _ = Stream(image_keys(key_of("test overlap", name), [0])).words(count)
    values: NDArray[np.float32] = unit_interval(words).numpy().reshape(shape)
    return values


def random_cross(
    name: str, probabilities: Sequence[Sequence[float]], num_images: int, num_seeds: int = 1
) -> CrossEvaluation:
    p = np.array(probabilities)
    drawn = uniforms(name, num_seeds, len(p), num_images, len(p))
    return cross_of(drawn < p[:, None, :])


# clean, a, b; of 20 images
HAND = [
    [10, 4, 6],  # standard:        R = -, .4, .6
    [16, 12, 11],  # trained with a:  R = -, .75, .6875
    [20, 9, 16],  # trained with b:  R = -, .45, .8
]
HELPFUL = [
    [0.8, 0.3, 0.3, 0.4],
    [0.8, 0.7, 0.4, 0.3],
    [0.7, 0.5, 0.6, 0.4],
    [0.8, 0.2, 0.3, 0.8],
]


# Points, by hand


def test_overlap_by_hand() -> None:
    matrix = overlap(cross_of_counts(20, HAND), resamples=0)
    # D_a = .75 − .4 = .35, D_b = .8 − .6 = .2; ½ · [(.6875 − .6) / .2 + (.45 − .4) / .35]
    # = ½ · [7/16 + 1/7] = 65/224
    expected = np.array([[1, 65 / 224], [65 / 224, 1]])
    np.testing.assert_allclose(matrix.raw, expected, rtol=1e-12)
    assert (matrix.names, matrix.form, matrix.source) == (("a", "b"), "robustness", "test")
    assert (matrix.replicates, matrix.intervals(), matrix.undefined) == (None, None, {})
    plain = overlap(cross_of_counts(20, HAND), form="accuracy", resamples=0)
    # D_a = .6 − .2 = .4, D_b = .8 − .3 = .5; ½ · [(.55 − .3) / .5 + (.45 − .2) / .4] = 9/16
    np.testing.assert_allclose(plain.raw, [[1, 0.5625], [0.5625, 1]], rtol=1e-12)
    assert plain.form == "accuracy"


def test_the_cell_of_a_pair_is_where_its_names_say() -> None:
    # Of 10 images; clean always 10, so both forms agree. D_a = .5, D_b = .4, D_c = .8.
    counts = [[10, 1, 2, 0], [10, 6, 4, 0], [10, 1, 6, 4], [10, 0, 2, 8]]
    matrix = overlap(cross_of_counts(10, counts), resamples=0)
    ab = (0.2 / 0.4 + 0 / 0.5) / 2
    ac = (0 / 0.8 + -0.1 / 0.5) / 2
    bc = (0.4 / 0.8 + 0 / 0.4) / 2
    expected = [[1, ab, ac], [ab, 1, bc], [ac, bc, 1]]
    np.testing.assert_allclose(matrix.raw, expected, rtol=1e-12)
    assert matrix.raw[0, 2] < 0 == matrix.scores[0, 2]


def test_seeds_are_averaged_before_ratios_are_formed() -> None:
    first, second = [[8, 2], [8, 6]], [[2, 2], [4, 2]]
    means = mean_accuracies(cross_of_counts(10, first, second), resamples=0)
    # Clean 10 of 20 and 12 of 20, a 4 of 20 and 8 of 20.
    np.testing.assert_allclose(means.values, [[[0.5, 0.2], [0.6, 0.4]]], rtol=1e-12)
    # R(a) − R(std) = .4 / .6 − .2 / .5 = 26.67 points. A mean of each seed's ratios would be
    # ½ · (6/8 + 2/4) − ½ · (2/8 + 2/2) = 0, and a undefined.
    assert overlap_of_means(means).names == ("a",)


@pytest.mark.parametrize("form", FORMS)
def test_the_matrix_is_symmetric_to_the_bit_and_1_on_the_diagonal(form: Form) -> None:
    matrix = overlap(random_cross("symmetry", HELPFUL, 150, 3), form=form, resamples=200)
    assert matrix.names == ("a", "b", "c")
    assert matrix.replicates is not None
    for values in (matrix.raw[None], matrix.replicates):
        assert np.array_equal(values, values.transpose(0, 2, 1))
        assert (np.diagonal(values, axis1=1, axis2=2) == 1.0).all()
        assert not np.isnan(values).any()
    assert matrix.raw[0, 1] not in (0.0, 1.0)


# Intervals, by brute force


def slow_accuracies_of(cross: CrossEvaluation, seed: int, r: int) -> list[list[Fraction]]:
    """Accuracies on resample r, an image and a seed at a time."""
    num_seeds, num_models, num_images, num_conditions = cross.correct.shape
    images = resample_counts(seed, "images", num_images, [r])[0].tolist()
    seeds = resample_counts(seed, "seeds", num_seeds, [r])[0].tolist()
    table = []
    for m in range(num_models):
        row = []
        for c in range(num_conditions):
            right = 0
            for s, times in enumerate(seeds):
                for i, count in enumerate(images):
                    right += times * count * bool(cross.correct[s, m, i, c])
            row.append(Fraction(right, num_seeds * num_images))
        table.append(row)
    return table


def slow_overlap(table: list[list[Fraction]], form: Form, a: int, b: int) -> float:
    def gain(m: int, c: int) -> Fraction:
        if form == "accuracy":
            return table[m][c] - table[0][c]
        if not table[m][0] or not table[0][0]:
            return Fraction(0)
        return table[m][c] / table[m][0] - table[0][c] / table[0][0]

    def half(m: int, c: int) -> float:
        if gain(c, c) > 0:
            return float(gain(m, c) / gain(c, c))
        return math.copysign(math.inf, gain(m, c)) if gain(m, c) else 0.0

    if a == b:
        return 1.0
    both = (half(a, b) + half(b, a)) / 2
    return -math.inf if math.isnan(both) else both


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_intervals_agree_with_a_loop_over_resamples(form: Form, num_seeds: int) -> None:
    name = f"oracle {num_seeds}"
    cross = random_cross(name, HELPFUL, 12 if num_seeds == 1 else 6, num_seeds)
    resamples, confidence = 60, 0.5
    # Six images show no gain by themselves; here the resamples alone decide what is defined.
    means = replace(mean_accuracies(cross, resamples=resamples, seed=5), moments=None)
    matrix = overlap_of_means(means, form=form, confidence=confidence)
    assert len(matrix.names) >= 2
    assert matrix.replicates is not None
    # There are resamples on which training did not help, or this would check little.
    assert np.isinf(matrix.replicates).any()
    places = [1 + cross.candidates.index(name) for name in matrix.names]
    tables = [slow_accuracies_of(cross, 5, r) for r in range(resamples)]
    ends = matrix.intervals()
    assert ends is not None
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            slow = [slow_overlap(table, form, a, b) for table in tables]
            np.testing.assert_allclose(matrix.replicates[:, i, j], slow, rtol=1e-9, atol=1e-12)
            # A quarter of 59 steps is 14.75: the 15th smallest and the 15th largest.
            expected = sorted(slow)[14], sorted(slow)[-15]
            np.testing.assert_allclose(
                [end[i, j] for end in ends], expected, rtol=1e-9, atol=1e-12
            )


def test_accuracies_agree_with_a_loop_over_resamples() -> None:
    cross = random_cross("accuracies", HELPFUL, 8, 2)
    rows = accuracies_of(cross, resamples=41, confidence=0.5, seed=3)
    tables = [slow_accuracies_of(cross, 3, r) for r in range(41)]
    models, conditions = ("standard", *"abc"), ("clean", *"abc")
    assert [row[:2] for row in rows] == [(m, c) for m in models for c in conditions]
    for row in rows:
        m, c = models.index(row.model), conditions.index(row.condition)
        slow = sorted(float(table[m][c]) for table in tables)
        right = int(cross.correct[:, m, :, c].sum())
        # A quarter of 40 steps is 10: the 11th value from either side. The interval over images
        # alone is that of the means over the seeds.
        shares = cross.correct[:, m, :, c].mean(axis=0)[:, None]
        squares = shares.var(axis=0) * 8
        low, high = share_bounds(shares.mean(axis=0), squares, 8, 0.5)
        expected = right / 16, min(slow[10], low.item()), max(slow[30], high.item())
        found = row.accuracy.value, row.accuracy.low, row.accuracy.high
        assert found == pytest.approx(expected, abs=1e-12)


def test_accuracies_of_one_seed_are_those_of_score() -> None:
    cross = random_cross("score", [[0.8, 0.4], [0.7, 0.6]], 50)
    clean, shear = cross.correct[0, 1].T
    ids = [f"{i:03d}" for i in range(50)]
    rank = np.where(np.concatenate([clean, shear]), 1, 2).astype(np.int32)
    table = pa.table(
        {
            "image_id": ids * 2,
            "condition": ["clean"] * 50 + ["shear"] * 50,
            "label_rank": rank,
            "confidence": np.full(100, 0.5, dtype=np.float32),
        }
    )
    plain = {"name": "b", "title": "t", "source": "s", "severities": "full"}
    scores = score(table, Benchmark.from_dict({**plain, "corruptions": ["shear"]}), seed=2)
    rows = accuracies_of(cross, seed=2)[2:]
    for row, expected in zip(rows, scores.conditions, strict=True):
        for end in ("low", "value", "high"):
            theirs = getattr(scores.of("accuracy", expected), end)
            assert getattr(row.accuracy, end) == pytest.approx(theirs, abs=1e-12)


def test_the_seed_chooses_the_resamples_but_not_the_overlap() -> None:
    cross = random_cross("seed", HELPFUL, 100)
    first, again, other = (overlap(cross, resamples=20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.replicates, again.replicates)
    assert not np.array_equal(first.replicates, other.replicates)
    assert np.array_equal(first.raw, other.raw)


def test_the_order_of_images_does_not_matter() -> None:
    cross = random_cross("order", HELPFUL, 300)
    order = np.argsort(uniforms("permutation", 300))
    turned = overlap(cross_of(cross.correct[:, :, order]), resamples=2000)
    matrix = overlap(cross, resamples=2000)
    assert np.array_equal(matrix.raw, turned.raw)
    # The intervals are of other resamples. An end has a Monte Carlo error of .06 standard
    # errors at 2000 resamples, a difference of two .085; the tolerance is 4.7 times that.
    assert matrix.replicates is not None
    error = matrix.replicates.std(axis=0)
    for end, other in zip(matrix.intervals(), turned.intervals(), strict=True):
        assert (np.abs(end - other) <= 0.4 * error).all()
        assert not np.array_equal(end, other)


# Seeds


def test_seeds_that_agree_add_no_uncertainty() -> None:
    one = random_cross("alike", HELPFUL, 40)
    three = cross_of(np.repeat(one.correct, 3, axis=0))
    once, thrice = (mean_accuracies(cross, resamples=100).values for cross in (one, three))
    np.testing.assert_allclose(once, thrice, rtol=0, atol=1e-14)
    means = [overlap(cross, resamples=100, confidence=0.6) for cross in (one, three)]
    np.testing.assert_allclose(means[0].replicates, means[1].replicates, rtol=1e-9)


def test_seeds_are_resampled_for_all_models_together() -> None:
    # All images alike, so only seeds differ; enough of them for a gain to show. In the last
    # seed every model fails under a and b. In the others a's model does well under both and b's
    # under b: T[a, b] = 1, T[b, a] = 0.
    correct = np.zeros((3, 3, 60, 3), dtype=bool)
    correct[..., 0] = True
    correct[:2, 1, :, 1:] = correct[:2, 2, :, 2] = True
    cross, drawn = cross_of(correct), resample_counts(0, "seeds", 3, range(500)).numpy()
    good = drawn[:, :2].sum(axis=1) / 3
    assert set(good.tolist()) == {0, 1 / 3, 2 / 3, 1}
    values = mean_accuracies(cross, resamples=500).values
    for m, c in ((1, 1), (1, 2), (2, 2)):
        np.testing.assert_allclose(values[1:, m, c], good, atol=1e-12)
    # All gains are the share of good seeds, so overlap is 1/2 unless there are none (1 of 27).
    matrix = overlap(cross, resamples=500, confidence=0.9)
    expected = np.where(good == 0, 0.0, 0.5)
    np.testing.assert_allclose(matrix.replicates[:, 0, 1], expected, atol=1e-12)


# Undefined


def test_a_candidate_that_training_did_not_help_is_undefined() -> None:
    # a: 4 of 10 whoever; b and c help.
    counts = [[10, 4, 2, 1], [10, 4, 3, 2], [10, 5, 7, 3], [10, 2, 4, 9]]
    cross = cross_of_counts(10, counts)
    matrix = overlap(cross, resamples=0)
    assert matrix.names == ("b", "c")
    assert dict(matrix.undefined) == {
        "a": "training on it is not shown to help against it: robustness +0.00 points"
    }
    # What is left is what a study without a would have found.
    without = overlap(cross_of(cross.correct[:, [0, 2, 3]][..., [0, 2, 3]]), resamples=30)
    left = overlap(cross, resamples=30)
    assert np.array_equal(left.raw, without.raw)
    assert np.array_equal(left.replicates, without.replicates)


def test_a_gain_whose_interval_reaches_0_is_no_gain() -> None:
    # Of 10 images, training on a mends one, present in 1 − .9¹⁰ = 65 % of the resamples.
    counts = [[10, 4, 2], [10, 5, 2], [10, 4, 9]]
    cross = cross_of_counts(10, counts)
    matrix = overlap(cross, form="accuracy", confidence=0.9)
    assert matrix.names == ("b",)
    assert matrix.raw.tolist() == [[1.0]]
    low, high = (
        float(number) for number in matrix.undefined["a"].rpartition(" CI ")[2].split(" to ")
    )
    assert matrix.undefined["a"].startswith(
        "training on it is not shown to help against it: accuracy +10.00 points, 90 % CI "
    )
    # Σ (d − .1)² = .9; at 90 %, z² = 2.70554 and ln(2 / .1)² = 8.97440: the reach is
    # √(2.70554 · .9 + 8.97440) / √(10² − 10 · 2.70554) = .395492.
    assert (low, high) == pytest.approx((10 - 39.55, 10 + 39.55))
    # Without resamples, and at a confidence of 20 % (tails of 40 %), it stands.
    assert overlap(cross, resamples=0).names == ("a", "b")
    assert overlap(cross, form="accuracy", confidence=0.2).names == ("a", "b")


def test_a_single_image_shows_nothing() -> None:
    correct = np.ones((2, 2, 1, 2), dtype=bool)
    correct[:, 0, :, 1] = False  # the standard model fails under a
    correct[1, 1, :, 1] = False  # and so does the other, with the second seed
    cross = cross_of(correct)
    matrix = overlap(cross)
    # One image shows nothing: of a rate next to nothing, of a gain nothing at all.
    assert (matrix.names, matrix.replicates) == ((), None)
    assert "CI -150.00 to 150.00" in matrix.undefined["a"]
    accuracy = accuracies_of(cross)[3].accuracy
    assert accuracy.value == 0.5
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.high - accuracy.low > 0.8
    assert overlap(cross, resamples=0).raw.tolist() == [[1.0]]


def test_nothing_defined_is_a_matrix_of_reasons() -> None:
    same = [[10, 5, 5, 5, 5, 5]] * 6
    matrix = overlap(cross_of_counts(10, same), resamples=20)
    assert (matrix.names, matrix.raw.shape, len(matrix.undefined)) == ((), (0, 0), 5)
    with pytest.raises(InputError) as caught:
        matrix.check_defined()
    assert "defines no overlap (a: training on it is not shown to help" in str(caught.value)
    # No image of ten differs: 1½ · z² / √(10² − 10 · z²). A clean accuracy of 1 and ½ under it
    # have slopes 1, −½, −1 and ½, of which an image adds 1½ at most.
    assert "+0.00 points, 95 % CI -73.43 to 73.43; b: " in str(caught.value)
    assert "; and 2 more)" in str(caught.value)
    assert "more seeds" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("model", "name"), [(0, "the standard model"), (2, "the model trained with b")]
)
def test_a_model_without_a_clean_image_right_is_named(model: int, name: str) -> None:
    counts = [list(row) for row in HAND]
    counts[model][0] = 0
    with pytest.raises(InputError, match=f"{name} has no clean image right"):
        overlap(cross_of_counts(20, counts))
    assert overlap(cross_of_counts(20, counts), form="accuracy", resamples=0).names


# Resamples on which a denominator fails


def means_with(*resamples: list[list[float]]) -> MeanAccuracies:
    """HAND, 19 times as a resample too, and other resamples."""
    usual = (np.array(HAND) / 20).tolist()
    return MeanAccuracies(("a", "b"), np.array([usual] * 20 + list(resamples)), "by hand")


STD = [0.5, 0.2, 0.3]


@pytest.mark.parametrize(
    ("trained_a", "trained_b", "expected"),
    [
        # Training on b did not help: over 0, what a does to b counts as beyond every number.
        ([0.5, 0.6, 0.4], [0.5, 0.2, 0.3], math.inf),
        ([0.5, 0.6, 0.4], [0.5, 0.2, 0.1], math.inf),
        ([0.5, 0.6, 0.2], [0.5, 0.2, 0.1], -math.inf),
        # a does to b what the standard model does: 0, and half of (.3 − .2) / (.6 − .2).
        ([0.5, 0.6, 0.3], [0.5, 0.3, 0.1], 0.125),
        # Neither helped: both on one side, then on opposite sides, either way round.
        ([0.5, 0.1, 0.4], [0.5, 0.3, 0.2], math.inf),
        ([0.5, 0.1, 0.2], [0.5, 0.3, 0.2], -math.inf),
        ([0.5, 0.1, 0.4], [0.5, 0.1, 0.2], -math.inf),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_failing_denominator_counts_at_the_far_end(
    trained_a: list[float], trained_b: list[float], expected: float, form: Form
) -> None:
    means = means_with([STD, trained_a, trained_b])
    matrix = overlap_of_means(means, form=form, confidence=0.8)
    assert matrix.replicates is not None
    assert matrix.replicates[-1, 0, 1] == pytest.approx(expected)
    assert (np.diagonal(matrix.replicates, axis1=1, axis2=2) == 1).all()
    # One resample of 20 is less than a tail: the ends are those of the other 19.
    for end in matrix.intervals():
        np.testing.assert_allclose(end, matrix.raw)


def test_no_more_than_the_tail_share_of_resamples_may_show_no_gain() -> None:
    no_gain = [STD, [0.5, 0.2, 0.4], [0.5, 0.3, 0.5]]
    # Of 22 resamples the lower tenth ends 2.1 steps up, between the third and the fourth. With
    # two resamples without a gain the third has one; with three it has none.
    usual = (np.array(HAND) / 20).tolist()
    assert overlap_of_means(means_with(usual, *[no_gain] * 2), confidence=0.8).names == (
        "a",
        "b",
    )
    assert overlap_of_means(means_with(*[no_gain] * 3), confidence=0.8).names == ("b",)
    # Gains of 0, 10, 20 and 30 points: a quarter is .75 steps from an end, which is given; and
    # the interval holds the value.
    gains = np.array([HAND] * 5) / 20
    gains[1:, 1, 1] = [0.2, 0.3, 0.4, 0.5]
    four = overlap_of_means(
        MeanAccuracies(("a", "b"), gains, "by hand"), form="accuracy", confidence=0.5
    )
    assert four.undefined["a"].endswith("+40.00 points, 50 % CI 0.00 to 40.00")
    # A gain on every resample does not make up for one that the sample lacks.
    means = means_with()
    means.values[0, 1, 1] = 0.2
    assert overlap_of_means(means).names == ("b",)


def test_a_resample_without_a_clean_image_right_tells_of_no_gain() -> None:
    usual = [STD, [0.5, 0.6, 0.4], [0.5, 0.3, 0.5]]
    no_standard = [[0.0, 0.2, 0.3], *usual[1:]]
    no_a = [usual[0], [0.0, 0.6, 0.4], usual[2]]
    matrix = overlap_of_means(means_with(no_standard, no_a), confidence=0.7)
    # No gain anywhere: 0 over 0. Then none by a only: D_a fails, and b gains on a.
    assert matrix.replicates[-2:, 0, 1].tolist() == [0.0, math.inf]
    # Where it happens often, a candidate is undefined.
    nothing = overlap_of_means(means_with(*[no_standard] * 3), confidence=0.8)
    assert (nothing.names, list(nothing.undefined)) == ((), ["a", "b"])
    often = overlap_of_means(means_with(*[no_a] * 3), confidence=0.8)
    assert (often.names, list(often.undefined)) == (("b",), ["a"])


# Coverage, by simulation

TRUTH = np.array([[0.8, 0.3, 0.4], [0.7, 0.6, 0.5], [0.8, 0.5, 0.7]])


def true_overlap(form: Form) -> float:
    r = TRUTH / TRUTH[:, :1] if form == "robustness" else TRUTH
    gain = r[1:, 1:] - r[0, 1:]
    return float((gain[0, 1] / gain[1, 1] + gain[1, 0] / gain[0, 0]) / 2)


def simulated_coverage(
    name: str, sets: int, seeds: int, images: int, effect: float
) -> NDArray[np.float64]:
    """Share of data sets whose interval holds the true overlap, by form.

    Under half of the conditions an image is as hard for every model, under the others it is
    drawn for each. A seed adds an effect to the accuracies of the trained models, the same
    for both and 0 in the mean.
    """
    own = uniforms(name, sets, seeds, 3, images, 3)
    common = uniforms(name + " common", sets, 1, 1, images, 3)
    hard = uniforms(name + " hard", sets, 1, 1, images, 3) < 0.5
    shift = effect * (2 * uniforms(name + " shift", sets, seeds, 1, 1) - 1)
    p = np.broadcast_to(TRUTH, (sets, seeds, 3, 3)).copy()
    p[:, :, 1, 2:] += shift[..., 0]
    p[:, :, 2, 1:2] += shift[..., 0]
    correct = np.where(hard, common, own) < p[:, :, :, None, :]
    hits = np.zeros(2)
    for one in correct:
        means = mean_accuracies(cross_of(one), resamples=200)
        for f, form in enumerate(FORMS):
            low, high = (end[0, 1] for end in overlap_of_means(means, form=form).intervals())
            hits[f] += low <= true_overlap(form) <= high
    return hits / sets


def test_95_percent_intervals_cover_the_true_overlap_95_percent_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All data sets have the same size and seed, so the same resamples: draw them once.
    monkeypatch.setattr(estimates, "resample_counts", lru_cache(estimates.resample_counts))  # type: ignore[attr-defined]
    coverage = simulated_coverage("coverage", 400, 1, 200, 0.0)
    # √(.95 · .05 / 400) = 1.1 points; three times that on either side.
    assert (np.abs(coverage - 0.95) < 0.033).all(), coverage


def test_intervals_hold_what_seeds_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "resample_counts", lru_cache(estimates.resample_counts))  # type: ignore[attr-defined]
    coverage = simulated_coverage("seeds", 200, 6, 200, 0.25)
    # The spread of six seeds is too small by √(5/6), and their mean follows Student's t with
    # 5 degrees of freedom: P(|t| < 1.96 · √(5/6)) = 86.7 %; images alone gave 26 %.
    # The standard error is √(.867 · .133 / 200) = 2.4 points; three times that below.
    assert (coverage > 0.795).all(), coverage


def test_a_useless_training_is_rarely_shown_to_help() -> None:
    # Rarely right under it, whoever: of 2.5 % of data sets at most the interval lies above 0.
    shown = 0
    right = uniforms("useless", 400, 1, 2, 100, 2) < np.array([[0.9], [0.9]])[:, None]
    right[..., 1] = uniforms("useless too", 400, 1, 2, 100) < 0.03
    for one in right:
        shown += bool(overlap(cross_of(one), form="accuracy", resamples=1).names)
    # The standard error of 2.5 % of 400 is .8 points.
    assert shown / 400 < 0.05


def test_a_gain_in_robustness_has_the_interval_of_its_linear_part() -> None:
    cross = random_cross("linear", [[0.9, 0.4], [0.8, 0.6]], 4000)
    means = mean_accuracies(cross, resamples=400)
    gain = means.gain(0, "robustness", 0.95)
    samples = gains_of_form(means.values, "robustness")[1:, 0, 0]
    assert gain.low is not None
    assert gain.high is not None
    # The spread of 400 resamples is known to 3.5 %; the bootstrap's ends may stick out.
    assert (gain.high - gain.low) / 2 == pytest.approx(1.96 * samples.std(), rel=0.15)


# Input


def test_settings_out_of_range_are_refused() -> None:
    cross = cross_of_counts(20, HAND)
    settings: list[tuple[dict[str, Any], str]] = [
        ({"resamples": -1}, "resamples"),
        ({"confidence": 0.0}, "confidence"),
        ({"confidence": 95.0}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
        ({"form": "robustnes"}, "form"),
    ]
    for setting, where in settings:
        with pytest.raises(InputError) as caught:
            overlap(cross, **setting)
        assert caught.value.where == where
    with pytest.raises(InputError, match="Did you mean 'robustness'"):
        overlap(cross, form="robustnes")
    with pytest.raises(InputError, match=r"95\.0 is out of range"):
        accuracies_of(cross, confidence=95.0)


@pytest.mark.parametrize(
    ("candidates", "seeds", "correct", "what"),
    [
        ((), (0,), np.ones((1, 1, 5, 1), dtype=bool), "is empty or contains a name twice"),
        (("a", "a"), (0,), np.ones((1, 3, 5, 3), dtype=bool), "contains a name twice"),
        (("a",), (0,), np.ones((1, 2, 5, 3), dtype=bool), r"not \(1, 2, images, 2\)"),
        (("a",), (0, 1), np.ones((1, 2, 5, 2), dtype=bool), r"not \(2, 2, images, 2\)"),
        (("a",), (0,), np.ones((2, 5, 2), dtype=bool), "its shape is"),
        (("a",), (0,), np.ones((1, 2, 0, 2), dtype=bool), "has 0 entries"),
        (("a",), (), np.ones((0, 2, 5, 2), dtype=bool), "has 0 entries"),
        (("a",), (0,), np.ones((1, 2, 5, 2)), "of type float64"),
    ],
)
def test_a_cross_evaluation_of_another_form_is_refused(
    candidates: tuple[str, ...], seeds: tuple[int, ...], correct: Any, what: str
) -> None:
    with pytest.raises(InputError, match=what):
        CrossEvaluation(candidates, seeds, correct, "test")
