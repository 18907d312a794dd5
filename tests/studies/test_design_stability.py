from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from noctule.errors import InputError
from noctule.studies.design import stability
from noctule.studies.matrix import OverlapMatrix

INF = float("inf")


def raw(ab: float, ac: float, bc: float) -> list[list[float]]:
    return [[1.0, ab, ac], [ab, 1.0, bc], [ac, bc, 1.0]]


def with_replicates(*replicates: list[list[float]]) -> OverlapMatrix:
    return OverlapMatrix(
        ("a", "b", "c"),
        np.array(raw(0.5, 0.0, 0.6)),
        replicates=np.array(replicates),
        source="study",
    )


def test_how_often_each_is_chosen_by_hand() -> None:
    # The best single one has the largest sum of shares: b (1.7), b, a (1.8), c (2.1).
    replicates = [
        raw(0.3, 0.0, 0.4),
        raw(0.5, 0.1, 0.6),
        raw(0.5, 0.3, 0.1),
        raw(0.0, 0.5, 0.6),
    ]
    result = stability(with_replicates(*replicates), 1)
    assert result.share == {"a": 0.25, "b": 0.5, "c": 0.25}
    assert (result.resamples, result.infeasible) == (4, 0.0)


def test_only_the_first_resamples_are_used() -> None:
    replicates = [raw(0.3, 0.0, 0.4), raw(0.5, 0.1, 0.6), raw(0.5, 0.3, 0.1)]
    result = stability(with_replicates(*replicates), 1, resamples=2)
    assert (result.share, result.resamples) == ({"a": 0.0, "b": 1.0, "c": 0.0}, 2)
    assert stability(with_replicates(*replicates), 1, resamples=99).resamples == 3


def test_infinite_overlap_is_cut_off() -> None:
    # Shares: −∞ is 0, +∞ is 1. Sums: a 1 + 0 + 1, b 1 + 0 + .9, c 1 + 1 + .9: c.
    result = stability(with_replicates(raw(-INF, INF, 0.9)), 1)
    assert result.share == {"a": 0.0, "b": 0.0, "c": 1.0}
    # As conflicts +∞ is one and −∞ is none: under .1 only a and b may go together.
    result = stability(with_replicates(raw(-INF, INF, 0.2)), 2, 0.1)
    assert result.share == {"a": 1.0, "b": 1.0, "c": 0.0}


def test_best_sets_of_equal_coverage_count_alike() -> None:
    # a and b overlap, c and d do; of each pair one is as good as the other, whatever the file.
    pairs = np.array([[1.0, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 1, 0.4], [0, 0, 0.4, 1]])
    # Here d is better than c by a hair that is not rounding: (2.5 + .4) and .401.
    other = pairs.copy()
    other[1, 3] = other[3, 1] = 0.001
    for order in permutations(range(4)):
        names = tuple("abcd"[i] for i in order)
        turned = np.stack([one[np.ix_(order, order)] for one in (pairs, other)])
        matrix = OverlapMatrix(names, pairs, replicates=turned)
        first = stability(matrix, 2, resamples=1)
        assert first.share == {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}
        assert first.tied == 1
        # The second: only b or d adds .001, and only if the other is not chosen: ad and bc.
        both = stability(matrix, 2)
        assert both.share == {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}
        assert both.tied == 1
        assert both.notes == [
            "On 100 % of the resamples several sets are best and have equal weights."
        ]


def test_candidates_that_nothing_tells_apart_share_alike_even_of_very_many_sets() -> None:
    # All 1,287 sets of five of thirteen are best; not all of them are listed.
    names = tuple("abcdefghijklm")
    result = stability(OverlapMatrix(names, np.eye(13), replicates=np.eye(13)[None]), 5)
    assert list(result.share.values()) == pytest.approx([5 / 13] * 13)


def test_a_time_limit_leaves_the_resamples_done() -> None:
    matrix = with_replicates(*[raw(0.3, 0.0, 0.4)] * 50_000)
    result = stability(matrix, 1, resamples=50_000, time_limit_s=1)
    assert 0 < result.resamples < result.requested == 50_000
    assert result.notes == [
        f"The time limit ended it after {result.resamples} of 50000 resamples."
    ]


def test_infeasible_resamples_are_counted_apart() -> None:
    feasible = raw(0.1, 0.9, 0.8)  # under .5 only a and b
    crowded = raw(0.6, 0.7, INF)
    result = stability(with_replicates(crowded, feasible, crowded, crowded), 2, 0.5)
    assert result.share == {"a": 1.0, "b": 1.0, "c": 0.0}
    assert (result.resamples, result.infeasible) == (4, 0.75)


def test_without_a_feasible_resample_there_is_no_share() -> None:
    result = stability(with_replicates(raw(0.6, 0.7, 0.8)), 2, 0.5)
    assert result.share == {"a": None, "b": None, "c": None}
    assert result.infeasible == 1.0


def test_what_cannot_be_answered_is_refused() -> None:
    matrix = with_replicates(raw(0.1, 0.2, 0.3))
    with pytest.raises(InputError, match="study: has no bootstrap resamples"):
        stability(replace(matrix, replicates=None), 1)
    with pytest.raises(InputError, match="study: has no bootstrap resamples"):
        stability(replace(matrix, replicates=np.empty((0, 3, 3))), 1)
    with pytest.raises(InputError, match="resamples: 0 is out of range"):
        stability(matrix, 1, resamples=0)
    with pytest.raises(InputError, match="there are not 4 corruptions"):
        stability(matrix, 4)
    with pytest.raises(InputError, match=r"max_overlap: 0(.0)? is out of range"):
        stability(matrix, 1, 0.0)
