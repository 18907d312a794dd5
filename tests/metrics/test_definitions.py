"""Every metric against a slow reference, and how often its interval holds the truth."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from noctule import InputError
from noctule.benchmarks import Benchmark
from noctule.metrics import METRICS, Metric, metric, score
from noctule.metrics.means import ImageValues, mean_estimates
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.scores import image_values
from noctule.metrics.selective import risk_coverage_values
from noctule.plugins import PluginError
from noctule.report.scores import render
from outcome_rows import outcome_rows

BENCHMARK = Benchmark.from_dict(
    {"name": "b", "title": "t", "source": "s", "corruptions": ["shear", "rain"]}
)


def rows_of(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    ids = [f"{i:04d}" for i in range(n)]
    tables = []
    for name in ("clean", "shear", "rain"):
        wrong = rng.random(n) < {"clean": 0.1, "shear": 0.4, "rain": 0.6}[name]
        confidence = np.round(rng.uniform(0.2, 1, n), 1)
        losses = rng.exponential(1, n)
        predictions = wrong.astype(int)
        tables.append(
            outcome_rows(
                ids, name, 0, predictions, confidences=confidence, losses=losses
            )
        )  # fmt: skip
    return pa.concat_tables(tables)


@pytest.mark.parametrize("one", METRICS.values(), ids=lambda one: one.name)
def test_every_metric_has_a_row_wherever_it_is_defined(one: Metric) -> None:
    scores = score(rows_of(60), BENCHMARK, reference=rows_of(60, 1), resamples=20)
    names = {
        "condition": ["shear", "rain"] + ["clean"] * (not one.needs_clean),
        "corruption": ["shear", "rain"],
        "benchmark": ["b"],
    }
    wanted = {
        (scope, name, one.name_in(scope)) for scope in one.scopes for name in names[scope]
    }
    of_metric = {key for key in scores.estimates if key[2] in (one.name, one.mean_name)}
    assert of_metric == wanted
    for key in wanted:
        found = scores.estimates[key]
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        if one.kind != "ratio":
            assert one.low <= found.low
            assert found.high <= one.high
    assert one.compute.__doc__
    assert one.title.lower() in one.formula.lower()


def test_the_loss_by_hand() -> None:
    tables = [
        outcome_rows(["a", "b"], name, 0, 0, losses=losses)
        for name, losses in (("clean", [0, 1]), ("shear", [1, 2]), ("rain", [2.5, 4.5]))
    ]
    scores = score(pa.concat_tables(tables), BENCHMARK)
    assert [scores.of("nll", name).value for name in scores.conditions] == [0.5, 1.5, 3.5]
    assert scores.of("nll").value == scores.of("mean_nll").value == 2.5
    few = scores.of("nll", "shear")
    assert (few.low, few.high, few.reason) == (
        None, None, "there are too few images for an interval",
    )  # fmt: skip


@pytest.mark.parametrize("loss", [-0.5, math.nan, math.inf])
def test_an_impossible_loss_is_named(loss: float) -> None:
    tables = [
        outcome_rows(["a", "b"], name, 0, 0, losses=[1.0, loss if name == "rain" else 1.0])
        for name in ("clean", "shear", "rain")
    ]
    with pytest.raises(InputError, match="under 'rain' image 'b' has a loss that is no number"):
        score(pa.concat_tables(tables), BENCHMARK)


def test_the_error_rise_is_paired() -> None:
    scores = score(rows_of(60), BENCHMARK)
    for name in ("shear", "rain"):
        values = [scores.of("error", one).value for one in (name, "clean")]
        assert scores.of("error_rise", name).value == pytest.approx(values[0] - values[1])  # type: ignore[operator]
    bare = score(rows_of(60).slice(60), BENCHMARK).of("error_rise", "rain")
    assert (bare.value, bare.reason) == (None, "the clean images were not evaluated")


# Selective accuracy: three formulas that have nothing in common but their result.


def area_by_order(wrong: NDArray[np.bool_], order: Any) -> float:
    """Mean of the error among the first k, for k = 1…n."""
    ordered = [bool(wrong[i]) for i in order]
    return sum(sum(ordered[:k]) / k for k in range(1, len(ordered) + 1)) / len(ordered)


def area_over_all_orders(wrong: NDArray[np.bool_], confidence: NDArray[np.float32]) -> float:
    """The mean over every order in which confidence does not rise."""
    n = len(wrong)
    orders = [
        order
        for order in itertools.permutations(range(n))
        if all(confidence[i] >= confidence[j] for i, j in itertools.pairwise(order))
    ]
    return sum(area_by_order(wrong, order) for order in orders) / len(orders)


def area_by_thresholds(wrong: NDArray[np.bool_], confidence: NDArray[np.float32]) -> float:
    """Tied images one by one, each with the share of errors in its group."""
    total, seen, errors = 0.0, 0, 0.0
    for threshold in sorted(set(confidence.tolist()), reverse=True):
        group = wrong[confidence == np.float32(threshold)]
        for step in range(1, len(group) + 1):
            total += (errors + group.mean() * step) / (seen + step)
        seen, errors = seen + len(group), errors + group.sum()
    return total / seen


def aurc(wrong: Any, confidence: Any) -> float:
    wrong, confidence = np.asarray(wrong, bool), np.asarray(confidence, np.float32)
    return float(risk_coverage_values(wrong[:, None], confidence[:, None]).mean())


def test_the_area_by_hand() -> None:
    # Risks 0, 1/2, 1/3; the other way round 0, 0, 1/3 and 1, 1/2, 1/3.
    assert aurc([0, 1, 0], [0.9, 0.8, 0.7]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert aurc([0, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx(1 / 9)
    assert aurc([1, 0, 0], [0.9, 0.8, 0.7]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert aurc([1, 1], [0.9, 0.8]) == 1
    assert aurc([0], [0.9]) == 0
    # All tied: confidence says nothing, and every risk is the error rate.
    assert aurc([1, 0, 0, 1, 0], [0.5] * 5) == pytest.approx(2 / 5)


def test_tied_images_are_in_random_order() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 4, 6):
        for _ in range(8):
            wrong = rng.random(n) < 0.5
            confidence = rng.choice([0.3, 0.6, 0.9], n).astype(np.float32)
            expected = area_over_all_orders(wrong, confidence)
            assert aurc(wrong, confidence) == pytest.approx(expected, abs=1e-12)
            assert area_by_thresholds(wrong, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_of_many_images(ties: bool) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(500).astype(np.float32)
    confidence = np.round(confidence, 1 if ties else 6).astype(np.float32)
    wrong = rng.random(500) < 0.3
    found = aurc(wrong, confidence)
    assert found == pytest.approx(area_by_thresholds(wrong, confidence), abs=1e-12)
    shuffle = rng.permutation(500)
    assert aurc(wrong[shuffle], confidence[shuffle]) == pytest.approx(found, abs=1e-12)


def test_the_influence_of_an_image_is_that_of_leaving_it_out() -> None:
    """With many images, the jackknife's pseudo-values are the infinitesimal one's."""
    rng = np.random.default_rng(2)
    n = 400
    confidence = rng.random(n).astype(np.float32)
    wrong = rng.random(n) > confidence
    values = risk_coverage_values(wrong[:, None], confidence[:, None])[:, 0]
    whole = aurc(wrong, confidence)
    left_out = [
        n * whole - (n - 1) * aurc(np.delete(wrong, i), np.delete(confidence, i))
        for i in range(n)
    ]
    assert np.corrcoef(values, left_out)[0, 1] > 0.995
    assert values.std() == pytest.approx(np.std(left_out), rel=0.05)


# How often the intervals hold

Draw = Callable[[np.random.Generator, int], OutcomeMatrix]


def matrix(wrong: Any, confidence: Any, loss: Any) -> OutcomeMatrix:
    ids = pa.array([f"{i:06d}" for i in range(len(wrong))])
    columns = {
        "label_rank": np.where(wrong, 2, 1)[:, None],
        "confidence": np.asarray(confidence, np.float32)[:, None],
        "loss": np.asarray(loss, np.float32)[:, None],
    }
    return OutcomeMatrix(ids, ("shear",), columns)


def calibrated(rng: np.random.Generator, n: int) -> OutcomeMatrix:
    confidence = rng.beta(5, 1, n)
    wrong = rng.random(n) > confidence
    return matrix(wrong, confidence, rng.exponential(np.where(wrong, 3.0, 0.1)))


def unrelated(rng: np.random.Generator, n: int) -> OutcomeMatrix:
    return matrix(rng.random(n) < 0.05, np.round(rng.random(n), 1), rng.lognormal(0, 1, n))


def inverse(rng: np.random.Generator, n: int) -> OutcomeMatrix:
    confidence = rng.random(n)
    return matrix(rng.random(n) < 0.5 * confidence, confidence, rng.exponential(1, n))


@pytest.mark.parametrize("draw", [calibrated, unrelated, inverse])
@pytest.mark.parametrize("name", ["nll", "aurc"])
def test_intervals_hold_the_truth(name: str, draw: Draw) -> None:
    rng = np.random.default_rng(3)
    spec = Benchmark.from_dict({**BENCHMARK.to_dict(), "corruptions": ["shear"]})
    one = METRICS[name]
    truth = image_values(one, draw(rng, 1_000_000)).values.mean()
    for images in (20, 100, 1000):
        held = []
        for _ in range(300):
            found = mean_estimates(one, image_values(one, draw(rng, images)), spec, 0.95)
            low, high = found["condition", "shear"].low, found["condition", "shear"].high
            assert low is not None
            assert high is not None
            held.append(low <= truth <= high)
        # The standard error of 95 % of 300 is 1.3 points. Of 20 images three are wrong, which
        # is too few to show how large a loss can be.
        least = 0.86 if (images, name) == (20, "nll") else 0.93
        assert np.mean(held) >= least - 0.02, images


def test_differences_of_two_models_have_intervals_of_their_own() -> None:
    a, b = (ImageValues(["shear"], rng_values(seed), 0.0, math.inf) for seed in (1, 2))
    both = b.less(a)
    assert (both.low, both.high) == (-math.inf, math.inf)
    (low,), (high,) = both.bounds(both.values.astype(np.float64), 0.95)
    assert low < both.values.mean() < high
    same = a.less(a)
    assert same.bounds(same.values.astype(np.float64), 0.95) == (0, 0)


def rng_values(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).exponential(1, (50, 1)).astype(np.float32)


# A metric of the user's own


@pytest.fixture
def margin() -> Iterator[Metric]:
    @metric(title="doubt", mean_name="mean_doubt", columns=("confidence",), formula="1 − doubt")
    def doubt(outcomes: OutcomeMatrix) -> NDArray[Any]:
        """What confidence leaves."""
        return 1 - outcomes.confidence

    yield METRICS["doubt"]
    METRICS._entries.pop("doubt")
    METRICS._aliases.pop("mean_doubt")
    METRICS._origins.pop("doubt")


def test_a_metric_of_ones_own_is_a_row_like_any_other(margin: Metric) -> None:
    scores = score(rows_of(60), BENCHMARK, metrics=["error", "doubt"])
    assert METRICS["mean_doubt"] is margin
    table = list(csv.DictReader(io.StringIO(render(scores, "csv", title="t"))))
    assert {row["metric"] for row in table} == {"error", "mean_error", "doubt", "mean_doubt"}
    assert scores.of("doubt", "rain").low is not None
    with pytest.raises(
        InputError, match="two entries of the kind metric are named 'mean_error'"
    ):

        @metric(title="x", formula="x", mean_name="mean_error")
        def another(outcomes: OutcomeMatrix) -> None:
            """Nothing."""


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda values: values[:, :1], r"an array of shape \(60, 1\) .* expected \(60, 3\)"),
        (lambda values: values.astype(str), "type <U"),
        (lambda values: np.where(values > 0.5, np.nan, values), "of 180 numbers as NaN"),
        (lambda values: 5 * np.ones_like(values), "from 5 to 5, outside of its range, 0 to 1"),
        (lambda values: values.nosuch, "raises AttributeError"),
    ],
)
def test_a_metric_that_returns_something_else_is_named(
    margin: Metric, compute: Callable[[NDArray[Any]], Any], message: str
) -> None:
    METRICS._entries["doubt"] = replace(margin, compute=lambda of: compute(of.confidence))
    with pytest.raises(PluginError, match=f"test_definitions.* metric 'doubt' .*{message}"):
        score(rows_of(60), BENCHMARK, metrics=["doubt"])


def test_a_metric_of_another_kind_that_returns_something_else_is_named(margin: Metric) -> None:
    METRICS._entries["doubt"] = replace(margin, kind="direct", compute=lambda *_: [0.5] * 3)
    with pytest.raises(PluginError, match="'doubt' must return a list of 3 Estimates"):
        score(rows_of(60), BENCHMARK, metrics=["doubt"])
    METRICS._entries["doubt"] = replace(
        margin, kind="ratio", columns=("label_rank",), compute=lambda _: 3
    )
    with pytest.raises(PluginError, match="'doubt' returned int, expected CorruptionMeans"):
        score(rows_of(60), BENCHMARK, metrics=["doubt"], reference=rows_of(60, 1))


def test_the_description_of_a_metric_is_checked(margin: Metric) -> None:
    unknown: Any = "sum"
    with pytest.raises(ValueError, match="kind must be"):
        replace(margin, kind=unknown)
    with pytest.raises(ValueError, match="digits must be"):
        replace(margin, digits=-1)


def test_an_unknown_metric_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'top5_error'"):
        score(rows_of(60), BENCHMARK, metrics=["top_5_error"])
