"""What a set of corruptions says about the candidates: coverage, redundancy, balance.

These measures are noctule's own. B is the set, C the candidates whose overlap is defined, and
Ō = min(overlap score, 1), `OverlapMatrix.shares`. Candidates in `OverlapMatrix.undefined` are
not in C and cannot be in B. Sums are rounded once (`math.fsum`), so neither the order of the
candidates nor that of the set changes anything.
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
    """How far a set of corruptions covers one candidate.

    Attributes:
        by: The corruption of the set that overlaps it most, itself if it is in the set, the
            first by name of several alike; None if none overlaps it.
        share: Ō of the two, in [0, 1].
    """

    by: str | None
    share: float


@dataclass(frozen=True)
class DesignScores:
    """How good a set of corruptions is as a benchmark.

    Attributes:
        coverage: In (0, 1], see `coverage`.
        redundancy: In [0, 1], see `redundancy`; None for a single corruption.
        balance: In (0, 1], see `balance`.
        largest_overlap: The largest overlap score of a pair, not bounded above; None for a
            single corruption.
        emphasis: Weight of each candidate, in [0, 1], of sum 1; see `emphasis`.
        covered_by: Which corruption covers each candidate best, and how far.
        undefined: Why, for each candidate that is in none of these numbers.
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

    The share of the candidates' robustness that doing well on B vouches for.

    Raises:
        InputError: No name, one twice, or one whose overlap is unknown or undefined.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> coverage(m, ["a"]), coverage(m, ["a", "b"])
    (0.75, 1.0)
    """
    shares = matrix.shares[positions(matrix, names)].max(axis=0)
    return math.fsum(shares) / len(shares)


def redundancy(matrix: OverlapMatrix, names: Sequence[str]) -> float | None:
    """Mean of Ō(b, b′) over unordered pairs in B, in [0, 1]; None for a single corruption.

    Raises:
        InputError: As `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> redundancy(m, ["a", "b"]), redundancy(m, ["a"])
    (0.5, None)
    """
    pairs = _pairs(matrix.shares, positions(matrix, names))
    return math.fsum(pairs) / len(pairs) if len(pairs) else None


def emphasis(matrix: OverlapMatrix, names: Sequence[str]) -> NDArray[np.float64]:
    """w_c = Σ over b in B of Ō(b, c), normalised to sum 1: what weight B gives to c.

    Returns:
        float64 (candidates,), in the order of `matrix.names`.

    Raises:
        InputError: As `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.25], [0.25, 1.0]]))
    >>> emphasis(m, ["a"]).tolist()
    [0.8, 0.2]
    """
    columns = matrix.shares[positions(matrix, names)].T
    sums = np.array([math.fsum(column) for column in columns])
    weights: NDArray[np.float64] = sums / math.fsum(sums)
    return weights


def balance(matrix: OverlapMatrix, names: Sequence[str]) -> float:
    """exp(entropy(w)) / |C| with w from `emphasis`, in [1 / |C|, 1].

    1 when every candidate counts alike; m / |C| when m of them do and the others not at all.

    Raises:
        InputError: As `coverage`.

    >>> m = OverlapMatrix(("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> balance(m, ["a"]), balance(m, ["a", "b"])
    (0.5, 1.0)
    """
    weights = emphasis(matrix, names)
    some = weights[weights > 0]  # w · log w goes to 0 with w
    return math.exp(-math.fsum(some * np.log(some))) / len(weights)


def score_design(matrix: OverlapMatrix, names: Sequence[str]) -> DesignScores:
    """Every measure of one set of corruptions.

    Raises:
        InputError: As `coverage`.
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
    """Where these candidates are in the matrix.

    Raises:
        InputError: No name, one twice, or one whose overlap is unknown or undefined.
    """
    if not names:
        raise InputError("no corruption is given", remedy="Name at least one candidate.")
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
            raise InputError(f"{name} is given twice", remedy="Give each corruption once.")
    return [matrix.names.index(name) for name in names]


def _pairs(values: NDArray[np.float64], chosen: Sequence[int]) -> NDArray[np.float64]:
    """The values of every unordered pair."""
    rows, columns = np.triu_indices(len(chosen), k=1)
    within: NDArray[np.float64] = values[np.ix_(chosen, chosen)][rows, columns]
    return within


def _cover(matrix: OverlapMatrix, chosen: Sequence[int], candidate: int) -> Cover:
    if candidate in chosen:  # another may cover it fully as well
        return Cover(matrix.names[candidate], 1.0)
    shares = matrix.shares[chosen, candidate]
    largest = float(shares.max())
    if largest == 0:
        return Cover(None, 0.0)
    group_equal = [b for b, share in zip(chosen, shares, strict=True) if share == largest]
    return Cover(min(matrix.names[b] for b in group_equal), largest)
