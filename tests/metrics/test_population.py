"""Intervals for a known, finite set of images of which a part was drawn."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.metrics import score
from noctule.metrics.estimates import Estimate, population_factor
from noctule.metrics.intervals import share_bounds

SPEC = Benchmark(
    name="b",
    title="t",
    source="s",
    corruptions=("shear", "rain"),
    severities=(1, 2),
)
NAMES = [str(one) for one in SPEC.conditions]


@pytest.mark.parametrize("population", [20, 60, 400])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
def test_every_possible_draw_counted(population, share):
    """Without simulation: whatever number of images the model errs on."""
    n = max(2, round(population * share))
    if n == population:
        n -= 1
    wrong = np.arange(n + 1)
    means = wrong / n
    low, high = share_bounds(means, n * means * (1 - means), n, 0.95)
    factor = population_factor(n, population)
    low, high = (means + factor * (end - means) for end in (low, high))
    for errors in range(population + 1):
        truth = errors / population
        held = (low <= truth + 1e-12) & (truth <= high + 1e-12)
        probability = stats.hypergeom.pmf(wrong, population, errors, n)
        assert probability[held].sum() >= 0.942
        # The usual correction alone, √(1 − f), would fall to 0.90 at f = 0.98.


def test_the_factor_lies_between_the_usual_one_and_the_arithmetic_mean():
    for images in (1, 10, 500, 990, 999):
        left = 1 - images / 1000
        assert math.sqrt(left) < population_factor(images, 1000) < (1 + left) / 2
    assert population_factor(1, 10**9) == pytest.approx(1)
    assert population_factor(1000, 1000) == 0


def test_without_errors_the_interval_ends_where_that_many_would_be_missed_too_rarely():
    n, population = 1000, 2000
    high = share_bounds(np.array([0.0]), np.array([0.0]), n, 0.95).high.item()
    end = population * population_factor(n, population) * high
    assert 0.5**end == pytest.approx(0.025, rel=0.01)  # the chance to miss that many errors


def test_only_the_ends_move():
    assert Estimate(0.5, 0.3, 0.9).within_population(0.5) == Estimate(0.5, 0.4, 0.7)
    for one in (Estimate(None, None, None, "why"), Estimate(0.5, None, None, "why")):
        assert one.within_population(0.5) is one


def rows_of(ids, wrong):
    """Outcome rows of images (rows of `wrong`) under all conditions."""
    images, conditions = wrong.shape
    return pa.table(
        {
            "image_id": np.repeat(ids, conditions),
            "condition": NAMES * images,
            "label_rank": np.where(wrong, 2, 1).ravel().astype(np.int32),
        }
    )


@pytest.mark.parametrize(("limit", "rate"), [(20, 0.3), (100, 0.03), (160, 0.3)])
def test_scores_on_limited_data_hold_those_on_all_of_it(limit, rate):
    """The images are those that --limit takes; classes differ in their errors."""
    rng, population, runs = np.random.default_rng(limit), 200, 150
    labels = np.arange(population) % 4
    held = {"error": 0, "mean_error": 0, "mce": 0, "relative_mce": 0}
    defined = dict.fromkeys(held, 0)
    pixels = np.zeros((population, 2, 2, 3), np.uint8)
    whole = open_dataset((pixels, labels))
    rates = rate * np.array([0.4, 0.8, 1.0, 1.8])[labels][:, None] * np.array([0.4, 1, 1, 1, 1])
    common = rng.random((population, 1))
    tables = [np.where(rng.random((population, 5)) < 0.5, common, rng.random((population, 5)))
              < one for one in (rates, np.minimum(2 * rates, 0.9))]  # fmt: skip
    truth = score(
        rows_of(whole.ids, tables[0]), SPEC, reference=rows_of(whole.ids, tables[1]),
        metrics=["error", "ce", "relative_ce"],
    )  # fmt: skip
    for _ in range(runs):
        # The same outcomes for images in another order: another draw of --limit.
        order = rng.permutation(population)
        order = order[np.argsort(labels[order], kind="stable")]
        by_class = order[np.argsort(np.argsort(labels, kind="stable"), kind="stable")]
        subset = open_dataset((pixels, labels), limit=limit)
        chosen = by_class[[int(one) for one in subset.ids]]
        assert (labels[chosen] == subset.labels).all()
        ours, theirs = (rows_of(subset.ids, one[chosen]) for one in tables)
        found = score(
            ours, SPEC, reference=theirs, population=population,
            metrics=["error", "ce", "relative_ce"],
        )  # fmt: skip
        for name in held:
            key = ("condition", NAMES[1], name) if name == "error" else ("benchmark", "b", name)
            one, real = found.estimates[key], truth.estimates[key].value
            if one.low is not None:
                defined[name] += 1
                held[name] += one.low - 1e-9 <= real <= one.high + 1e-9
    for name, count in held.items():
        # 2.5 % of runs in which a nominal 95 % would look worse than this.
        assert count >= stats.binom.ppf(0.01, defined[name], 0.95), name


def test_a_share_of_all_is_stated_in_the_scores():
    rows = rows_of(["a", "b"], np.array([[0, 1, 1, 0, 1], [0, 0, 1, 0, 1]], bool))
    whole = score(rows, SPEC, metrics=["error"])
    part = score(rows, SPEC, metrics=["error"], population=3)
    assert (whole.population, part.population) == (None, 3)
    assert "population" not in whole.to_dict()
    assert part.to_dict()["population"] == 3
    for key, one in part.estimates.items():
        same = whole.estimates[key]
        assert one.value == same.value
        assert same.low <= one.low <= one.high <= same.high
