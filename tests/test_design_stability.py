from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noctule.design import stability
from noctule.errors import InputError
from noctule.study.matrix import OverlapMatrix

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
    with pytest.raises(InputError, match="study: holds no bootstrap resamples"):
        stability(replace(matrix, replicates=None), 1)
    with pytest.raises(InputError, match="study: holds no bootstrap resamples"):
        stability(replace(matrix, replicates=np.empty((0, 3, 3))), 1)
    with pytest.raises(InputError, match="resamples: is 0"):
        stability(matrix, 1, resamples=0)
    with pytest.raises(InputError, match="4 corruptions are asked for"):
        stability(matrix, 4)
    with pytest.raises(InputError, match="largest overlap allowed is 0"):
        stability(matrix, 1, 0.0)
