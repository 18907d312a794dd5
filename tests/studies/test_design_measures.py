from __future__ import annotations

import math

import numpy as np
import pytest

from noctule.errors import InputError
from noctule.studies.design import (
    Cover,
    balance,
    coverage,
    emphasis,
    redundancy,
    score_design,
)
from noctule.studies.matrix import OverlapMatrix

# Shares: a-b .5, a-c 0 (cut off at 0), b-c 1 (cut off at 1).
RAW = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 1.5], [-0.2, 1.5, 1.0]])
MATRIX = OverlapMatrix(("a", "b", "c"), RAW, {"d": "training on it did not help"})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a", (1 + 0.5 + 0) / 3),
        ("b", (0.5 + 1 + 1) / 3),
        ("ac", 1.0),  # b by c: min(1.5, 1)
        ("ab", 1.0),  # c by b
    ],
)
def test_coverage_by_hand(names: str, expected: float) -> None:
    assert coverage(MATRIX, list(names)) == pytest.approx(expected, abs=1e-15)


def test_redundancy_by_hand() -> None:
    assert redundancy(MATRIX, ["a", "c"]) == 0.0  # −.2 is cut off
    assert redundancy(MATRIX, ["c", "b"]) == 1.0  # 1.5 is cut off
    assert redundancy(MATRIX, ["a", "b", "c"]) == pytest.approx((0.5 + 0 + 1) / 3)
    assert redundancy(MATRIX, ["a"]) is None


def test_emphasis_by_hand() -> None:
    # a: 1 + .5, b: .5 + 1, c: 0 + 1; of 4
    assert emphasis(MATRIX, ["a", "b"]).tolist() == [0.375, 0.375, 0.25]
    assert emphasis(MATRIX, ["b", "a"]).tolist() == [0.375, 0.375, 0.25]


def test_balance_by_hand() -> None:
    # w of a alone is 2/3, 1/3, 0: exp(entropy) = (3/2)^(2/3) · 3^(1/3).
    expected = 1.5 ** (2 / 3) * 3 ** (1 / 3) / 3
    assert balance(MATRIX, ["a"]) == pytest.approx(expected, abs=1e-15)
    # w = 3/8, 3/8, 2/8
    expected = math.prod(w**-w for w in (0.375, 0.375, 0.25)) / 3
    assert balance(MATRIX, ["a", "b"]) == pytest.approx(expected, abs=1e-15)


def test_balance_is_1_when_all_count_alike_and_m_of_n_when_m_do() -> None:
    apart = OverlapMatrix(tuple("abcd"), np.eye(4))
    for m in range(1, 5):
        assert balance(apart, list("abcd"[:m])) == pytest.approx(m / 4)


def test_all_scores_of_a_set() -> None:
    scores = score_design(MATRIX, ["b", "a"])
    assert scores.coverage == coverage(MATRIX, ["a", "b"]) == 1.0
    assert scores.redundancy == 0.5
    assert scores.balance == balance(MATRIX, ["a", "b"])
    assert scores.largest_overlap == 0.5
    assert scores.emphasis == {"a": 0.375, "b": 0.375, "c": 0.25}
    # a and b cover themselves, though b and a overlap them too; c by b, 1.5 cut off at 1.
    assert scores.covered_by == {"a": ("a", 1.0), "b": ("b", 1.0), "c": ("b", 1.0)}
    assert scores.undefined == {"d": "training on it did not help"}


def test_a_chosen_one_covers_itself_even_if_an_earlier_one_covers_it_fully() -> None:
    covered = score_design(MATRIX, ["c", "b"]).covered_by
    assert covered == {"a": ("b", 0.5), "b": ("b", 1.0), "c": ("c", 1.0)}


def test_the_largest_overlap_is_not_cut_off_and_a_single_one_has_none() -> None:
    assert score_design(MATRIX, ["a", "b", "c"]).largest_overlap == 1.5
    assert score_design(MATRIX, ["a", "c"]).largest_overlap == 0.0
    alone = score_design(MATRIX, ["a"])
    assert (alone.largest_overlap, alone.redundancy) == (None, None)
    assert alone.covered_by["c"] == Cover(None, 0.0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there is no corruption"),
        (["d"], "the overlap of d is not defined: training on it did not help"),
        (["a", "x"], "unknown candidate 'x'"),
        (["a", "b", "a"], "a occurs twice"),
    ],
)
@pytest.mark.parametrize("measure", [coverage, redundancy, emphasis, balance, score_design])
def test_what_is_not_a_set_of_candidates_is_refused(measure, names, message) -> None:
    with pytest.raises(InputError, match=message):
        measure(MATRIX, names)
