"""What is asked of a design, what comes out, and the greedy way to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noctule.design.measures import DesignScores, score_design
from noctule.errors import InputError
from noctule.study.matrix import OverlapMatrix

Method = Literal["exact", "greedy"]
# Gains in coverage that differ by less are the same but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Choice:
    """A set of corruptions chosen from the candidates.

    Attributes:
        method: "exact" or "greedy".
        names: the corruptions; greedy: in the order they were taken, exact: the matrix's.
        size: how many were asked for.
        max_overlap: what the overlap score of every pair had to be below; None for no limit.
        scores: of the set; it also says which candidates were left out as undefined.
        note: what a reader has to know about it: greedy got stuck, or a smaller set is better.
    """

    method: Method
    names: tuple[str, ...]
    size: int
    max_overlap: float | None
    scores: DesignScores
    note: str | None = None

    @property
    def complete(self) -> bool:
        """Whether it has the size that was asked for; only greedy may fail to."""
        return len(self.names) == self.size


def choose_greedy(matrix: OverlapMatrix, size: int, max_overlap: float | None = None) -> Choice:
    """Take, again and again, the candidate that adds most to the coverage.

    Only candidates whose overlap score with every corruption already taken is below
    `max_overlap` come into question. Of several that add the same, the first in the matrix is
    taken. Without a limit the coverage is at least 1 − 1/e of the best (Nemhauser, Wolsey &
    Fisher 1978); with one, greedy may end at a poor set, or get stuck before the size is
    reached: then the choice is not `complete`, and its note says where.

    Raises:
        InputError: a size that is not 1 to the number of candidates, a limit not above 0.
    """
    check_request(matrix, size, max_overlap)
    conflicts = conflicts_of(matrix, max_overlap)
    shares = matrix.shares
    covered = np.zeros(len(matrix.names))
    free = np.ones(len(matrix.names), dtype=bool)
    taken: list[int] = []
    while free.any() and len(taken) < size:
        gains = np.maximum(shares - covered, 0).mean(axis=1)
        gains[~free] = -1
        best = int(np.flatnonzero(gains >= gains.max() - _ROUNDING)[0])
        taken.append(best)
        covered = np.maximum(covered, shares[best])
        free &= ~conflicts[best]
        free[best] = False
    names = tuple(matrix.names[i] for i in taken)
    note = None
    if len(taken) < size:
        note = (
            f"greedy got stuck at {len(taken)} of {size} corruptions: every other candidate "
            f"overlaps one of them by {max_overlap:g} or more"
        )
    return Choice("greedy", names, size, max_overlap, score_design(matrix, names), note)


def check_request(matrix: OverlapMatrix, size: int, max_overlap: float | None) -> None:
    """Refuse what no set of candidates can be.

    Raises:
        InputError: a size that is not 1 to the number of candidates, a limit not above 0.
    """
    candidates = len(matrix.names)
    if not 1 <= size <= candidates:
        left_out = f", {len(matrix.undefined)} more are undefined" if matrix.undefined else ""
        raise InputError(
            f"{size} corruptions are asked for, of {candidates} candidates{left_out}",
            where=matrix.source,
            remedy=f"Use a size from 1 to {candidates}.",
        )
    if max_overlap is not None and (math.isnan(max_overlap) or max_overlap <= 0):
        raise InputError(
            f"the largest overlap allowed is {max_overlap:g}",
            where="max_overlap",
            remedy="Every pair has to be below it: use a number above 0, such as 0.3.",
        )


def conflicts_of(matrix: OverlapMatrix, max_overlap: float | None) -> NDArray[np.bool_]:
    """Which pairs may not be chosen together: bool (n, n), symmetric, False on the diagonal.

    Those whose overlap score is not strictly below `max_overlap`.
    """
    if max_overlap is None:
        return np.zeros(matrix.raw.shape, dtype=bool)
    conflicts = matrix.scores >= max_overlap
    np.fill_diagonal(conflicts, False)
    return conflicts
