"""What is asked of a design, what comes out, and the greedy way to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import real_number, whole_number
from noctule.errors import InputError
from noctule.studies.design.measures import DesignScores, score_design
from noctule.studies.matrix import OverlapMatrix

Method = Literal["exact", "greedy"]
# Gains in coverage that differ by less are the same but for rounding.
_ROUNDING = 1e-12
# Sets of equal coverage that are written out for people.
_TIES_SHOWN = 12


@dataclass(frozen=True)
class Choice:
    """A set of corruptions chosen from the candidates.

    Attributes:
        method: "exact" or "greedy".
        names: The corruptions; greedy: in the order they were taken, exact: in the alphabet's.
        size: How many were asked for.
        max_overlap: What the overlap score of every pair had to be below; None for no limit.
        scores: Of the set; it also says which candidates were left out as undefined.
        note: What a reader has to know about it: greedy got stuck, or a smaller set is better.
        best_sets: Exact: the sets of the same coverage but for rounding (10⁻⁹), each in
            alphabetical order and the first by name first, which is the one chosen. No data
            prefer one to another. Greedy: empty.
        all_listed: Whether `best_sets` are all there are. False where there are more than
            `exact.MOST_BEST_SETS`, and where the time limit ended the search.
        possible: Exact: no set of this size covers more than this, up to the tolerance of the
            solver; the coverage itself unless the time limit ended the search. Greedy: None.
    """

    method: Method
    names: tuple[str, ...]
    size: int
    max_overlap: float | None
    scores: DesignScores
    note: str | None = None
    best_sets: tuple[tuple[str, ...], ...] = ()
    all_listed: bool = True
    possible: float | None = None

    @property
    def complete(self) -> bool:
        """Whether it has the size that was asked for; only greedy may fail to."""
        return len(self.names) == self.size

    @property
    def proven(self) -> bool:
        """Whether it is proven that no set of this size covers more."""
        return self.possible is not None and self.possible <= self.scores.coverage

    @property
    def tie_notes(self) -> list[str]:
        r"""How far the choice is the data's: the bound if unproven, and the other best sets.

        >>> from noctule.studies.design import choose_exact
        >>> matrix = OverlapMatrix(("a", "b", "c"), np.eye(3))
        >>> print("\n".join(choose_exact(matrix, 2).tie_notes))
        3 sets cover the same; nothing in the matrix prefers one, the first by name is taken.
          a, b
          a, c
          b, c
        """
        notes = []
        if self.possible is not None and not self.proven:
            gap = 100 * (self.possible / self.scores.coverage - 1)
            notes.append(
                f"The time limit ended the search: coverage {self.scores.coverage:.3f} is "
                f"found, and at most {self.possible:.3f} is possible ({gap:.2g} % more). That "
                "this set is the best is not proven, and sets as good were not searched for."
            )
        elif self.best_sets[1:] == () and not self.all_listed:
            notes.append("The time limit ended the search for sets as good.")
        if len(self.best_sets) < 2:
            return notes
        common = [n for n in self.best_sets[0] if all(n in one for one in self.best_sets)]
        or_more = "" if self.all_listed else " or more"
        notes.append(
            f"{len(self.best_sets)}{or_more} sets cover the same; nothing in the matrix "
            "prefers one, the first by name is taken."
        )
        if common:
            notes.append(f"In all of them: {', '.join(common)}. Beside these, one of:")
        shown = self.best_sets[:_TIES_SHOWN]
        notes += [f"  {', '.join(n for n in one if n not in common)}" for one in shown]
        if more := len(self.best_sets) - len(shown):
            notes.append(f"  and {more} more")
        return notes


def choose_greedy(matrix: OverlapMatrix, size: int, max_overlap: float | None = None) -> Choice:
    """Take, again and again, the candidate that adds most to the coverage.

    Only candidates whose overlap score with every corruption already taken is below
    `max_overlap` come into question. Of several that add the same, the first by name is
    taken, so the order of the candidates changes nothing. Without a limit the coverage is at
    least 1 − 1/e of the best (Nemhauser, Wolsey & Fisher 1978); with one, greedy may end at a
    poor set, or get stuck before the size is reached: then the choice is not `complete`, and
    its note says where.

    Raises:
        InputError: A size that is not 1 to the number of candidates, a limit not above 0.
    """
    size, max_overlap = check_request(matrix, size, max_overlap)
    matrix = matrix.by_name()
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


def check_request(
    matrix: OverlapMatrix, size: int, max_overlap: float | None
) -> tuple[int, float | None]:
    """The size and the limit as plain numbers; what no set of candidates can be is refused.

    Raises:
        InputError: A size that is not 1 to the number of candidates, a limit not above 0.
    """
    if not isinstance(matrix, OverlapMatrix):
        raise InputError(
            f"is a {type(matrix).__name__}",
            where="matrix",
            remedy="Use noctule.read_matrix or noctule.overlap_of.",
        )
    candidates = len(matrix.names)
    size = whole_number(size, "size", low=0)
    if not 1 <= size <= candidates:
        left_out = f", {len(matrix.undefined)} more are undefined" if matrix.undefined else ""
        raise InputError(
            f"{size} corruptions are asked for, of {candidates} candidates{left_out}",
            where=matrix.source,
            remedy=f"Use a size from 1 to {candidates}.",
        )
    if max_overlap is not None:
        remedy = "Every pair has to be below it: use a number above 0, such as 0.3."
        max_overlap = real_number(
            max_overlap, "max_overlap", low=0, high=math.inf, open_ends=True, remedy=remedy
        )
    return size, max_overlap


def conflicts_of(matrix: OverlapMatrix, max_overlap: float | None) -> NDArray[np.bool_]:
    """Which pairs may not be chosen together: bool (n, n), symmetric, False on the diagonal.

    Those whose overlap score is not strictly below `max_overlap`.
    """
    if max_overlap is None:
        return np.zeros(matrix.raw.shape, dtype=bool)
    conflicts = matrix.scores >= max_overlap
    np.fill_diagonal(conflicts, False)
    return conflicts
