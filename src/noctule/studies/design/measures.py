"""Scores of a set of corruptions: coverage, redundancy and balance.

These scores are noctule's own. B is the set, C the candidates whose overlap is defined, and
Ō = min(overlap score, 1), `OverlapMatrix.shares`. Candidates in `OverlapMatrix.undefined` are
not in C and cannot be in B. Sums are exact up to one rounding (`math.fsum`), so that results do
not depend on the order of the candidates or of the set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctule.errors import InputError, unknown_name
from noctule.studies.matrix import OverlapMatrix


class Cover(NamedTuple):
    """The coverage of one candidate by a set of corruptions.

    Attributes:
        by: Corruption of the set with the largest overlap: the candidate itself if it is in the
            set, otherwise the alphabetically first of equal ones; None if none overlaps it.
        share: Ō of the candidate and this corruption, in [0, 1].
    """

    by: str | None
    share: float


@dataclass(frozen=True)
class DesignScores:
    """The scores of a set of corruptions as a benchmark.

    Attributes:
        coverage: Coverage in (0, 1], see `coverage`.
        redundancy: Redundancy in [0, 1], see `redundancy`; None for a single corruption.
        balance: Balance in (0, 1], see `balance`.
        largest_overlap: Largest overlap score of a pair, not bounded above; None for a single
            corruption.
        emphasis: Weight of each candidate, in [0, 1], with sum 1; see `emphasis`.
        covered_by: Coverage of each candidate.
        undefined: Reason for each candidate whose overlap is undefined and that is not included
            in the scores.
    """

    coverage: float
    redundancy: float | None
    balance: float
    largest_overlap: float | None
    emphasis: Mapping[str, float]
    covered_by: Mapping[str, Cover]
    undefined: Mapping[str, str]


def coverage(matrix: OverlapMatrix, names: Sequence[str]) -> float:
    """Mean over c in C of max over b in B of Ō(b, c), in (0, 1].

    It measures how well robustness to B represents robustness to all candidates.

    Raises:
        InputError: There is no name, a duplicate, or one whose overlap is unknown or undefined.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> coverage(m, ["a"]), coverage(m, ["a", "b"])
    (0.75, 1.0)
    """
    shares = matrix.shares[positions(matrix, names)].max(axis=0)
    return math.fsum(shares) / len(shares)


def redundancy(matrix: OverlapMatrix, names: Sequence[str]) -> float | None:
    """Mean of Ō(b, b′) over unordered pairs in B, in [0, 1]; None for a single corruption.

    Raises:
        InputError: As in `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> redundancy(m, ["a", "b"]), redundancy(m, ["a"])
    (0.5, None)
    """
    pairs = _pairs(matrix.shares, positions(matrix, names))
    return math.fsum(pairs) / len(pairs) if len(pairs) else None


def emphasis(matrix: OverlapMatrix, names: Sequence[str]) -> NDArray[np.float64]:
    """The weight that B gives to c: w_c = Σ over b in B of Ō(b, c), normalised to sum 1.

    Returns:
        float64 (candidates,), in the order of `matrix.names`.

    Raises:
        InputError: As in `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.25], [0.25, 1.0]]))
    >>> emphasis(m, ["a"]).tolist()
    [0.8, 0.2]
    """
    columns = matrix.shares[positions(matrix, names)].T
    sums = np.array([math.fsum(column) for column in columns])
    weights: NDArray[np.float64] = sums / math.fsum(sums)
    return weights


def balance(matrix: OverlapMatrix, names: Sequence[str]) -> float:
    """exp(entropy(w)) / n with w from `emphasis`, in [1 / n, 1]; n is the number of candidates.

    It is 1 if all candidates have the same weight, and m / n if m candidates have the same
    weight and the others have none.

    Raises:
        InputError: As in `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> balance(m, ["a"]), balance(m, ["a", "b"])
    (0.5, 1.0)
    """
    weights = emphasis(matrix, names)
    positive = weights[weights > 0]  # w · log w tends to 0 with w
    return math.exp(-math.fsum(positive * np.log(positive))) / len(weights)


def score_design(matrix: OverlapMatrix, names: Sequence[str]) -> DesignScores:
    """All scores of one set of corruptions.

    Raises:
        InputError: As in `coverage`.
    """
    chosen = positions(matrix, names)
    pairs = _pairs(matrix.scores, chosen)
    weights = emphasis(matrix, names).tolist()
    return DesignScores(
        coverage=coverage(matrix, names),
        redundancy=redundancy(matrix, names),
        balance=balance(matrix, names),
        largest_overlap=float(pairs.max()) if len(pairs) else None,
        emphasis=dict(zip(matrix.names, weights, strict=True)),
        covered_by={name: _cover(matrix, chosen, c) for c, name in enumerate(matrix.names)},
        undefined=dict(matrix.undefined),
    )


def positions(matrix: OverlapMatrix, names: Sequence[str]) -> list[int]:
    """The indices of candidates in the matrix.

    Raises:
        InputError: There is no name, a duplicate, or one whose overlap is unknown or undefined.
    """
    if not names:
        raise InputError("there is no corruption", remedy="Pass at least one candidate.")
    for name in names:
        if name in matrix.undefined:
            raise InputError(
                f"the overlap of {name} is not defined: {matrix.undefined[name]}",
                where=matrix.source,
                remedy="Leave it out.",
            )
        if name not in matrix.names:
            raise unknown_name("candidate", name, matrix.names, where=matrix.source)
        if names.count(name) > 1:
            raise InputError(f"{name} occurs twice", remedy="Pass each corruption once.")
    return [matrix.names.index(name) for name in names]


def _pairs(values: NDArray[np.float64], chosen: Sequence[int]) -> NDArray[np.float64]:
    """The values of all unordered pairs."""
    rows, columns = np.triu_indices(len(chosen), k=1)
    within: NDArray[np.float64] = values[np.ix_(chosen, chosen)][rows, columns]
    return within


def _cover(matrix: OverlapMatrix, chosen: Sequence[int], candidate: int) -> Cover:
    if candidate in chosen:  # even if another corruption covers it fully as well
        return Cover(matrix.names[candidate], 1.0)
    shares = matrix.shares[chosen, candidate]
    largest = float(shares.max())
    if largest == 0:
        return Cover(None, 0.0)
    ties = [b for b, share in zip(chosen, shares, strict=True) if share == largest]
    return Cover(min(matrix.names[b] for b in ties), largest)
