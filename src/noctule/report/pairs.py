"""The overlap of every two candidates of a study."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

from noctule.report.formatting import UNDEFINED, number
from noctule.studies.matrix import OverlapMatrix

NO_BOUND = "the interval has no bound where its end is missing"


class Pair(NamedTuple):
    """The overlap of two candidates; what is not defined or has no bound is None.

    Attributes:
        score: Score of 0 or more, as published.
        raw: Score before it is cut off at 0.
        low, high: Ends of the interval of `raw`.
        reason: Why something is None.
    """

    a: str
    b: str
    score: float | None
    raw: float | None
    low: float | None
    high: float | None
    reason: str | None


def pairs_of(matrix: OverlapMatrix) -> list[Pair]:
    """Every two candidates once: the defined ones in the study's order, then the others.

    >>> import numpy as np
    >>> matrix = OverlapMatrix(("a", "b"), np.array([[1.0, -0.5], [-0.5, 1.0]]), {"c": "why"})
    >>> for pair in pairs_of(matrix):
    ...     print(pair.a, pair.b, pair.score, pair.raw, pair.reason)
    a b 0.0 -0.5 there are no resamples
    a c None None c: why
    b c None None c: why
    """
    index = {name: i for i, name in enumerate(matrix.names)}
    scores, bounds = matrix.scores, matrix.intervals()
    pairs = []
    for a, b in combinations((*matrix.names, *matrix.undefined), 2):
        if whys := [f"{one}: {matrix.undefined[one]}" for one in (a, b) if one not in index]:
            pairs.append(Pair(a, b, None, None, None, None, "; ".join(whys)))
            continue
        at = index[a], index[b]
        reason: str | None
        low, high, reason = None, None, "there are no resamples"
        if bounds is not None:
            ends = (float(bound[at]) for bound in bounds)
            low, high = (end if math.isfinite(end) else None for end in ends)
            reason = NO_BOUND if None in (low, high) else None
        pairs.append(Pair(a, b, float(scores[at]), float(matrix.raw[at]), low, high, reason))
    return pairs


def pair_interval(pair: Pair) -> str:
    """The interval of a pair; an end may have no bound."""
    if pair.low is None and pair.high is None:
        return UNDEFINED
    ends = ("no bound" if end is None else number(end, 2) for end in (pair.low, pair.high))
    return " to ".join(ends)
