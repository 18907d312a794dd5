import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from noctule.benchmarks import Benchmark, Reference
from noctule.errors import InputError
from noctule.metrics import COLUMNS, Estimate, Scores, estimates, score
from noctule.sampling import resample_counts
from outcome_rows import outcome_rows

Ranks = Mapping[str, Sequence[int] | NDArray[np.int64]]


def benchmark(*corruptions: str, severities: object = "full") -> Benchmark:
    plain = {"name": "b", "title": "t", "source": "s", "severities": severities}
    return Benchmark.from_dict({**plain, "corruptions": list(corruptions)})


def rows_of(ranks: Ranks, confidences: Mapping[str, Any] | None = None) -> pa.Table:
    """Rows with these ranks of the label by condition; confidence .5 unless given."""
    tables = []
    for condition, values in ranks.items():
        confidence = (confidences or {}).get(condition, 0.5)
        ids = [f"{i:05d}" for i in range(len(values))]
        tables.append(outcome_rows(ids, condition, ranks=values, confidences=confidence))
    return pa.concat_tables(tables)


def published(**errors: float) -> Reference:
    return Reference(model="AlexNet", domain="d", source="table 1", errors=errors)


def by_corruption(scores: Scores, metric: str) -> list[float | None]:
    return [scores.of(metric, name).value for name in scores.corruptions]


def random_ranks(rng: np.random.Generator, n: int, **error: float) -> dict[str, Any]:
    return {name: np.where(rng.random(n) < p, 2, 1) for name, p in error.items()}


def shuffled(rows: pa.Table) -> pa.Table:
    return rows.take(np.random.default_rng(1).permutation(len(rows)))


# Points, by hand


def test_scores_by_hand() -> None:
    ranks = {
        "clean": [1, 1, 1, 2],  # error 1/4
        "shear": [1, 2, 3, 6],  # error 3/4, top-5 error 1/4
        "rain": [5, 6, 7, 8],  # error 1, top-5 error 3/4
    }
    reference = published(clean=0.5, shear=0.75, rain=1.0)
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    assert scores.conditions == tuple(ranks)
    assert [scores.of("error", name).value for name in ranks] == [0.25, 0.75, 1.0]
    assert [scores.of("accuracy", name).value for name in ranks] == [0.75, 0.25, 0.0]
    assert by_corruption(scores, "top5_error") == [0.25, 0.75]
    assert scores.num_images == 4
    # CE shear: 100 · .75 / .75 = 100; rain: 100 · 1 / 1 = 100.
    assert by_corruption(scores, "ce") == [100.0, 100.0]
    assert scores.of("mce").value == 100.0
    # Relative, shear: 100 · (.75 − .25) / (.75 − .5) = 200; rain: 100 · .75 / .5 = 150.
    assert by_corruption(scores, "relative_ce") == [200.0, 150.0]
    assert by_corruption(scores, "error") == [0.75, 1.0]
    assert scores.of("relative_mce").value == 175.0
    assert scores.of("mean_error").value == 0.875
    assert scores.reference == "AlexNet (table 1), whose errors are taken as exact"
    assert scores.no_reference_reason is None


def test_the_error_of_a_corruption_is_the_mean_over_its_severities() -> None:
    ranks = {"clean": [1, 1], "shear@2": [1, 2], "shear@5": [2, 2]}  # 0, 1/2, 1
    errors = {"clean": 0.1, "shear@2": 0.3, "shear@5": 0.5}
    reference = published(**errors)
    scores = score(rows_of(ranks), benchmark("shear", severities=[2, 5]), reference=reference)
    assert scores.of("error", "shear").value == 0.75
    # 100 · (1/2 + 1) / (.3 + .5), a ratio of sums.
    assert scores.of("ce", "shear").value == pytest.approx(187.5)
    # 100 · (.75 − 0) / (.4 − .1); a mean of the severities' ratios would be 100 · (2.5 + 2.5)
    # / 2.
    assert scores.of("relative_ce", "shear").value == pytest.approx(250.0)
    errors["shear@5"] = 0.7
    again = score(
        rows_of(ranks), benchmark("shear", severities=[2, 5]), reference=published(**errors)
    )
    # 100 · .75 / (.5 − .1); a mean of ratios would be 100 · (.5 / .2 + 1 / .6) / 2 = 208.33.
    assert again.of("relative_ce", "shear").value == pytest.approx(187.5)


def test_a_resnet50_scores_the_published_mean_ratio() -> None:
    # Clean error .239 against AlexNet's .435; with every error .2 higher than clean, CE_c is
    # 100 · .2 / (E_c(AlexNet) − .435): for shear 20 / .222, for hue 20 / .249.
    n = 1000
    ranks = {
        "clean": [2] * 239 + [1] * 761,
        "shear": [2] * 439 + [1] * 561,
        "hue": [2] * 439 + [1] * 561,
    }
    reference = published(clean=0.435, shear=0.657, hue=0.684)
    scores = score(rows_of(ranks), benchmark("shear", "hue"), reference=reference, resamples=0)
    assert scores.num_images == n
    assert scores.of("relative_ce", "shear").value == pytest.approx(20 / 0.222)
    assert scores.of("relative_mce").value == pytest.approx((20 / 0.222 + 20 / 0.249) / 2)


def test_without_clean_rows_only_relative_ce_is_undefined() -> None:
    ranks = {"shear": [1, 2, 3, 6], "rain": [5, 6, 7, 8]}
    reference = published(clean=0.5, shear=0.6, rain=0.8)
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    assert not scores.has_clean
    # 100 · .75 / .6 and 100 · 1 / .8; a ratio of means would be 100 · .875 / .7, the same here.
    assert by_corruption(scores, "ce") == pytest.approx([125.0, 125.0])
    undefined = Estimate(None, None, None, "the clean images were not evaluated")
    assert scores.of("relative_mce") == scores.of("relative_ce", "shear") == undefined
    with_clean = rows_of({"clean": [1, 1, 1, 2], **ranks})
    partly = with_clean.slice(1)  # one image's clean row is missing: an error, not "no clean"
    with pytest.raises(InputError, match="clean"):
        score(partly, benchmark("shear", "rain"), reference=reference)


def test_mce_is_a_mean_of_ratios_and_not_a_ratio_of_means() -> None:
    ranks = {"clean": [1, 1, 1, 1], "shear": [1, 1, 1, 2], "rain": [2, 2, 2, 2]}
    reference = published(clean=0.1, shear=0.5, rain=0.8)
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    # (100 · .25 / .5 + 100 · 1 / .8) / 2 = 87.5, where 100 · 1.25 / 1.3 = 96.2.
    assert scores.of("mce").value == pytest.approx(87.5)


def test_ce_is_undefined_where_the_reference_never_errs() -> None:
    ranks = {"clean": [1, 1], "shear": [1, 2], "rain": [2, 2]}
    reference = published(clean=0.0, shear=0.0, rain=0.5)
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    shear = scores.of("ce", "shear")
    assert (shear.value, shear.reason) == (None, "the reference's error under it is 0 %")
    assert scores.of("ce", "rain").value == 200.0
    assert scores.of("mce") == Estimate(None, None, None, "CE is not defined for shear")


def test_a_mean_that_is_undefined_names_the_corruptions_even_if_it_is_all_of_them() -> None:
    ranks = {"clean": [1, 1], "shear": [1, 2], "rain": [2, 2]}
    reference = published(clean=0.5, shear=0.0, rain=0.0)
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    assert scores.of("mce").reason == "CE is not defined for shear, rain"
    assert scores.of("relative_mce").reason == "relative CE is not defined for shear, rain"
    assert scores.of("relative_ce", "shear").reason == (
        "the reference's error does not rise under it (−50.00 points)"
    )


def test_a_mean_over_the_five_severities_serves_as_their_reference() -> None:
    severities = {f"shear@{severity}": [1, 2] for severity in range(1, 6)}
    reference = published(clean=0.1, shear=0.4)
    rows = rows_of({"clean": [1, 1], **severities})
    scores = score(rows, benchmark("shear", severities=[1, 2, 3, 4, 5]), reference=reference)
    assert scores.of("mce").value == pytest.approx(125.0)  # 100 · .5 / .4
    with pytest.raises(InputError, match=r"lack shear@1, shear@2$"):
        score(rows, benchmark("shear", severities=[1, 2]), reference=reference)


# Calibration


def test_calibration_error_by_hand() -> None:
    # Bins of width 1/15: .65 and .66 share ((9/15, 10/15]); .95 is in ((14/15, 15/15]).
    confidence = [0.65, 0.66, 0.95, 0.95]
    ranks = [1, 2, 1, 2]
    rows = rows_of({"clean": ranks, "shear": ranks}, {"clean": confidence})
    ece = score(rows, benchmark("shear"), resamples=0).of("ece", "clean").value
    # |(.65 + .66) − 1| / 4 + |(.95 + .95) − 1| / 4 = .0775 + .225
    assert ece == pytest.approx(0.3025, abs=1e-7)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    # .2 = 3/15 exactly; in bin 3 with .19 the gaps cancel: |(.19 − 0) + (.2 − 1) + …|.
    confidence = [0.2, 0.19, 0.21]
    rows = rows_of({"clean": [1, 2, 2], "shear": [1, 1, 1]}, {"clean": confidence})
    ece = score(rows, benchmark("shear"), resamples=0).of("ece", "clean").value
    # bin 3 holds .2 (right) and .19 (wrong): |.39 − 1| = .61; bin 4 holds .21 (wrong): .21
    assert ece == pytest.approx((0.61 + 0.21) / 3, abs=1e-7)


def slow_ece(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> float:
    total = 0.0
    for b in range(1, 16):
        low, high = np.float32((b - 1) / 15), np.float32(b / 15)
        inside = [i for i, c in enumerate(confidence) if low < c <= high]
        if inside:
            mean_confidence = math.fsum(float(confidence[i]) for i in inside) / len(inside)
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(mean_confidence - accuracy)
    return total


def test_calibration_error_agrees_with_a_slow_loop() -> None:
    rng = np.random.default_rng(2)
    edges = np.arange(1, 16) / 15
    confidence = np.concatenate([rng.random(300), edges, edges, [1e-9, 1.0]]).astype(np.float32)
    ranks = rng.integers(1, 3, len(confidence))
    rows = rows_of({"clean": ranks, "shear": ranks}, {"shear": confidence})
    shear = score(rows, benchmark("shear"), resamples=0).of("ece", "shear")
    assert shear.value == pytest.approx(slow_ece(confidence, ranks == 1), abs=1e-9)


# Intervals


def test_calibration_intervals_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    n, resamples = 60, 40
    ranks = random_ranks(rng, n, clean=0.2, shear=0.6)
    confidence = (1 - 0.9 * rng.random(n) ** 2).astype(np.float32)
    rows = rows_of(ranks, {"clean": confidence})
    clean = score(rows, benchmark("shear"), resamples=resamples, seed=3).of("ece", "clean")

    def gaps(images: list[int]) -> list[float]:
        """Σ (confidence − right) / n of each bin."""
        sums = [0.0] * 15
        for i in images:
            number = math.ceil(15 * float(confidence[i])) - 1
            sums[number] += (float(confidence[i]) - (ranks["clean"][i] == 1)) / n
        return sums

    own = gaps(list(range(n)))
    drawn = [
        gaps([i for i, times in enumerate(counts) for _ in range(times)])
        for counts in resample_counts(3, estimates.BOOTSTRAP_NAME, n, range(resamples)).tolist()
    ]
    value = sum(map(abs, own))
    noise = [sum(abs(x - y) for x, y in zip(one, own, strict=True)) for one in drawn]
    eces = [sum(map(abs, one)) for one in drawn]
    missed = 1.959964**2 / n
    low = value - math.hypot(np.quantile(noise, 0.975), missed)
    high = value + math.hypot(max(0, value - np.quantile(eces, 0.025)), missed)
    assert clean.value == pytest.approx(value, abs=1e-7)
    assert (clean.low, clean.high) == pytest.approx((max(low, 0), high), abs=1e-6)


@pytest.mark.parametrize(("images", "gap"), [(20, 0.0), (200, 0.0), (200, 0.1)])
def test_calibration_intervals_hold_the_truth(images: int, gap: float) -> None:
    rng = np.random.default_rng(4)
    held = []
    for _ in range(60):
        confidence = 0.3 + 0.7 * rng.beta(2, 1, images)
        right = rng.random(images) < confidence - gap  # calibrated, or overconfident by `gap`
        rows = rows_of(
            {"clean": np.where(right, 1, 2), "shear": [1] * images}, {"clean": confidence}
        )
        clean = score(rows, benchmark("shear"), resamples=100).of("ece", "clean")
        assert clean.low is not None
        assert clean.high is not None
        assert clean.low <= clean.value <= clean.high
        held.append(clean.low <= gap <= clean.high)
    # The standard error of 95 % of 60 is 2.8 points; a percentile interval holds 0 never.
    assert np.mean(held) > 0.93 - 0.056


@pytest.mark.parametrize("wrong", [0, 1, 3, 17, 59, 60])
def test_rates_have_exact_intervals(wrong: int) -> None:
    n = 60
    ranks = np.where(np.arange(n) < wrong, 6, 1)  # neither the first nor among the first five
    scores = score(rows_of({"clean": ranks, "shear": ranks}), benchmark("shear"), resamples=0)
    expected = proportion_confint(wrong, n, method="beta")
    for metric in ("error", "top5_error"):
        for name in ("clean", "shear", None):
            one = scores.of(metric, name)
            assert (one.low, one.high) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    accuracy = scores.of("accuracy", "clean")
    right = proportion_confint(n - wrong, n, method="beta")
    assert (accuracy.low, accuracy.high) == pytest.approx(right, abs=1e-12)


def test_four_of_four_right_do_not_show_an_error_of_0() -> None:
    rows = rows_of({"clean": [1, 1, 1, 1], "shear": [1, 1, 1, 1]})
    error = score(rows, benchmark("shear")).of("error", "shear")
    # An error rate of p gives no error with probability (1 − p)⁴, 2.5 % at 1 − .025^(1/4).
    assert (error.value, error.low) == (0.0, 0.0)
    assert error.high == pytest.approx(1 - 0.025 ** (1 / 4))


def test_intervals_are_paired_over_images() -> None:
    rng = np.random.default_rng(5)
    luck = rng.random(400)
    rows = rows_of({"clean": np.where(luck < 0.3, 2, 1), "shear": np.where(luck < 0.7, 2, 1)})
    theirs = random_ranks(rng, 400, clean=0.3, shear=0.7)

    def width(one: Estimate) -> float:
        assert one.low is not None
        assert one.high is not None
        return one.high - one.low

    # The same outcomes as the reference's: 100, and that the models differ on no image of 400
    # says more than two models with the same errors on different images do.
    same = score(rows, benchmark("shear"), reference=shuffled(rows))
    other = score(rows, benchmark("shear"), reference=rows_of(theirs))
    for one, apart in (
        (same.of("mce"), other.of("mce")),
        (same.of("relative_mce"), other.of("relative_mce")),
    ):
        assert one.value == 100.0
        assert 0 < width(one) < 0.5 * width(apart)
    # The same outcomes as on clean images: no rise is seen, though errors vary. Of n = 400, a
    # share δ = 3.84 / √(400² − 3.84 · 400) may rise or fall unseen; in percent of a rise of .2.
    clean = rows_of({"clean": np.where(luck < 0.3, 2, 1), "shear": np.where(luck < 0.3, 2, 1)})
    flat = score(clean, benchmark("shear"), reference=published(clean=0.4, shear=0.6))
    z2 = 1.959964**2
    half = 500 * z2 / math.sqrt(400**2 - z2 * 400)
    assert (flat.of("relative_mce").low, flat.of("relative_mce").high) == pytest.approx(
        (-half, half)
    )


def test_a_published_reference_is_exact() -> None:
    ranks = random_ranks(np.random.default_rng(6), 100, clean=0.2, shear=0.5, rain=0.6)
    errors = {"clean": 0.2, "shear": 0.5, "rain": 0.8}
    scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=published(**errors))
    for name in scores.corruptions:
        one = scores.of("error", name)
        for ce, error in zip(
            dataclasses.astuple(scores.of("ce", name))[:3],
            dataclasses.astuple(one)[:3],
            strict=True,
        ):
            assert ce == pytest.approx(100 * error / errors[name])
        assert one.low < one.value < one.high


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    rows = rows_of(random_ranks(np.random.default_rng(7), 200, clean=0.3, shear=0.5))
    narrow, wide = (
        score(rows, benchmark("shear"), confidence=confidence).of("error", "clean")
        for confidence in (0.5, 0.99)
    )
    # Normal approximation: .674 and 2.576 standard errors of √(p(1 − p) / n) on either side.
    assert narrow.value is not None
    error = math.sqrt(narrow.value * (1 - narrow.value) / 200)
    for one, quantile in ((narrow, 0.674), (wide, 2.576)):
        assert one.high - one.low == pytest.approx(2 * quantile * error, rel=0.2)


def test_the_seed_chooses_the_resamples() -> None:
    rows = rows_of(random_ranks(np.random.default_rng(8), 200, clean=0.3, shear=0.5))
    first, again, other = (
        score(rows, benchmark("shear"), seed=seed, resamples=7) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.of("ece", "clean").value == other.of("ece", "clean").value
    assert first.of("ece", "clean") != other.of("ece", "clean")
    assert first.of("error", "clean") == other.of(
        "error", "clean"
    )  # by a formula: nothing is resampled


def test_large_samples_are_resampled_in_groups_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rows_of(random_ranks(np.random.default_rng(9), 50, clean=0.3, shear=0.5))
    together = score(rows, benchmark("shear"), resamples=101)
    monkeypatch.setattr(estimates, "_GROUP_ELEMENTS", 350)  # 7 at a time
    assert score(rows, benchmark("shear"), resamples=101) == together


# Joining


def test_the_order_of_rows_and_other_conditions_do_not_matter() -> None:
    rng = np.random.default_rng(10)
    ranks = random_ranks(rng, 60, clean=0.2, shear=0.5, rain=0.4, hue=0.9)
    confidences = {name: rng.random(60).astype(np.float32) for name in ranks}
    rows = rows_of(ranks, confidences)
    expected = score(rows.slice(0, 180), benchmark("shear", "rain"), reference=rows)
    mixed = shuffled(rows).select(list(COLUMNS)[::-1])
    assert score(mixed, benchmark("shear", "rain"), reference=shuffled(rows)) == expected


def test_rows_are_joined_by_id_not_by_position() -> None:
    # Image 0 is wrong under clean only; listed in another order under shear.
    clean, shear = rows_of({"clean": [2, 1]}), rows_of({"shear": [1, 2]})
    turned = shear.take([1, 0])
    reference = published(clean=0.1, shear=0.2)
    for other in (shear, turned):
        rows = pa.concat_tables([clean, other])
        scores = score(rows, benchmark("shear"), reference=reference, resamples=500)
        assert scores.of("relative_mce").value == 0.0
        # Two images of which one rises and one falls; as two are at most z² images, the
        # interval holds every rise from −1 to 1, of .1 the reference's.
        assert (scores.of("relative_mce").low, scores.of("relative_mce").high) == pytest.approx(
            (-1000, 1000)
        )


def drop(rows: pa.Table, *places: int) -> pa.Table:
    return rows.take([i for i in range(len(rows)) if i not in places])


FULL = rows_of({"clean": [1, 1, 1], "shear": [1, 2, 2]})


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (FULL.slice(0, 0), "no outcome rows"),
        (rows_of({"hue": [1]}), "no outcome rows"),
        (rows_of({"clean": [1, 1]}), "'shear' has no row for image '00000', and 2 of 2"),
        (drop(FULL, 4, 5), "'shear' has no row for image '00001', and 2 of 3"),
        (drop(FULL, 2), "'clean' has no row for image '00002', and 1 of 3"),
        (pa.concat_tables([FULL, FULL[3:4]]), "'shear' has 2 rows for image '00000'"),
        (drop(pa.concat_tables([FULL, FULL[3:4]]), 4), "'shear' has 2 rows for image '00000'"),
    ],
)
def test_missing_and_double_rows_are_refused(rows: pa.Table, what: str) -> None:
    with pytest.raises(InputError, match=what):
        score(rows, benchmark("shear"))


def test_a_reference_run_must_have_the_same_images_and_conditions() -> None:
    fewer = rows_of({"clean": [1, 1], "shear": [1, 2]})
    with pytest.raises(
        InputError, match="the reference run lacks 1 of 3 images, first '00002'"
    ):
        score(FULL, benchmark("shear"), reference=fewer)
    with pytest.raises(InputError, match="this run lacks 1 of 3 images, first '00002'"):
        score(fewer, benchmark("shear"), reference=FULL)
    with pytest.raises(InputError, match="errors of AlexNet lack shear"):
        score(FULL, benchmark("shear"), reference=published(clean=0.1))


# Undefined


def test_without_a_reference_there_is_no_ce_and_the_reason_is_given() -> None:
    scores = score(FULL, benchmark("shear"), no_reference_reason="because")
    undefined = Estimate(None, None, None, "because")
    assert scores.of("relative_ce", "shear") == scores.of("relative_mce") == undefined
    assert (scores.reference, scores.no_reference_reason) == (None, "because")
    assert scores.of("mean_error").value == pytest.approx(2 / 3)
    bare = score(FULL, benchmark("shear"))
    assert "no reference errors" in str(bare.of("relative_mce").reason)


@pytest.mark.parametrize("error", [0.3, 0.25])
def test_ce_is_undefined_where_the_reference_does_not_rise(error: float) -> None:
    rows = rows_of({"clean": [1, 1], "shear": [1, 2], "rain": [2, 2]})
    reference = published(clean=0.3, shear=error, rain=0.8)
    scores = score(rows, benchmark("shear", "rain"), reference=reference)
    assert scores.of("relative_ce", "shear").value is None
    assert "does not rise" in str(scores.of("relative_ce", "shear").reason)
    assert scores.of("relative_ce", "rain").value == pytest.approx(200.0)
    assert scores.of("relative_mce") == Estimate(
        None, None, None, "relative CE is not defined for shear"
    )


def test_rounding_is_not_a_rise() -> None:
    # The mean of .1 at three severities is .10000000000000002, so the rise would be 1.4e-17.
    names = ["shear@1", "shear@2", "shear@3"]
    errors = {"clean": 0.1, **dict.fromkeys(names, 0.1)}
    rows = rows_of({"clean": [1, 1], **{name: [2, 2] for name in names}})
    reference = published(**errors)
    scores = score(rows, benchmark("shear", severities=[1, 2, 3]), reference=reference)
    assert scores.of("relative_mce").value is None


def test_ce_has_no_interval_where_the_reference_errs_on_too_few_images() -> None:
    n = 400
    rows = rows_of({"clean": [1] * n, "shear": [2] * 40 + [1] * (n - 40)})

    def found(errors: int) -> Scores:
        theirs = {"clean": [1] * n, "shear": [2] * errors + [1] * (n - errors)}
        return score(rows, benchmark("shear"), reference=rows_of(theirs))

    # k of n images: k² > z² · k + z⁴ from k = 7 on.
    few, enough = found(6), found(7)
    for metric in ("ce", "relative_ce"):
        one = few.of(metric, "shear")
        assert (one.value, one.low, one.high) == (pytest.approx(4000 / 6), None, None)
        assert "on too few images for an interval" in str(one.reason)
    assert few.of("mce") == Estimate(
        few.of("ce", "shear").value, None, None, "CE has no interval for shear"
    )
    assert few.of("relative_mce").reason == "relative CE has no interval for shear"
    for one in (enough.of("mce"), enough.of("relative_mce"), enough.of("ce", "shear")):
        assert one.low is not None
        assert 0 < one.low < 4000 / 7 < one.high


def test_no_resamples_and_single_images_have_no_calibration_interval() -> None:
    single = rows_of({"clean": [1], "shear": [2]})
    for scores in (
        score(single, benchmark("shear")),
        score(FULL, benchmark("shear"), resamples=0),
    ):
        assert scores.has_clean
        assert (scores.of("ece", "clean").low, scores.of("ece", "clean").high) == (None, None)
        assert "no resamples" in str(scores.of("ece", "clean").reason)
    # A single image says something, if little, of a rate: p ≤ .975, as 1 − p ≥ .025.
    error = score(single, benchmark("shear")).of("error", "shear")
    assert (error.low, error.high) == (pytest.approx(0.025), 1.0)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"resamples": -1}, "resamples"),
        ({"resamples": 10**9}, "resamples"),
        ({"resamples": 10.0}, "resamples"),
        ({"seed": -1}, "seed"),
        ({"confidence": 0.0}, "confidence"),
        ({"confidence": 95.0}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as caught:
        score(FULL, benchmark("shear"), **settings)
    assert caught.value.where == where


# Views


def test_the_views_hold_every_number_at_full_precision() -> None:
    rng = np.random.default_rng(11)
    ranks = random_ranks(rng, 70, clean=0.1, shear=0.2, rain=0.9)
    reference = published(clean=0.3, shear=0.2, rain=0.8)
    scores: Scores = score(rows_of(ranks), benchmark("shear", "rain"), reference=reference)
    tree = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    records = scores.to_records()
    assert tree["scores"] == records
    for record in records:
        found = scores.estimates[record["scope"], record["name"], record["metric"]]
        assert [record[key] for key in found.to_dict()] == [*found.to_dict().values()]
    assert scores.of("relative_ce", "shear").value is None
    # By condition 7 metrics, of clean without the rise; by corruption and over both, 6.
    assert len(records) == len(scores.estimates) == 3 * 7 - 1 + 3 * 6
    keys = [(record["scope"], record["name"], record["metric"]) for record in records]
    assert len(set(keys)) == len(keys)
    assert ("condition", "shear", "error") in keys
    assert ("corruption", "rain", "ce") in keys
    assert ("corruption", "rain", "relative_ce") in keys
    assert ("benchmark", "b", "mce") in keys
    assert ("benchmark", "b", "relative_mce") in keys
