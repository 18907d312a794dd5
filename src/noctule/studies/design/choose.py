"""A design: a set of corruptions that is chosen by its coverage; and the greedy method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import real_number, whole_number
from noctule.display import Displayed
from noctule.errors import InputError
from noctule.studies.design.measures import DesignScores, score_design
from noctule.studies.matrix import OverlapMatrix

Method = Literal["exact", "greedy"]
_ROUNDING = 1e-12  # largest difference of gains in coverage that count as equal
_TIES_SHOWN = 12  # number of sets of equal coverage that are listed


@dataclass(frozen=True, repr=False)
class ChosenSet(Displayed):
    """A set of corruptions that is chosen from candidates.

    Attributes:
        method: "exact" or "greedy".
        names: Names of the corruptions; greedy: in the order in which they were chosen, exact:
            in alphabetical order.
        size: Requested number of corruptions.
        max_overlap: Upper limit of the overlap score of every pair; None for no limit.
        scores: Scores of the set, which include the candidates that are undefined.
        note: Remark on the result: greedy stopped early, or a smaller set is better.
        best_sets: Exact: all sets of the same coverage up to rounding (10⁻⁹), each in
            alphabetical order, starting with the alphabetically first, which is chosen. The
            data do not favour any of them. Greedy: empty.
        all_listed: Whether `best_sets` is complete. False if there are more than
            `exact.MOST_BEST_SETS`, or if the time limit ended the search.
        possible: Exact: upper bound of the coverage of sets of this size, up to the tolerance
            of the solver; equal to the coverage unless the time limit ended the search. Greedy:
            None.
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
        """Whether it has the requested size, which only the greedy method may fail to reach."""
        return len(self.names) == self.size

    @property
    def proven(self) -> bool:
        """Whether the coverage is proven to be the largest of all sets of this size."""
        return self.possible is not None and self.possible <= self.scores.coverage

    @property
    def tie_notes(self) -> list[str]:
        r"""Remarks on the uniqueness of the set: the bound if unproven, and equally good sets.

        >>> from noctule.studies.design import choose_exact
        >>> matrix = OverlapMatrix(("a", "b", "c"), np.eye(3))
        >>> print("\n".join(choose_exact(matrix, 2).tie_notes))
        3 sets have the same coverage; the alphabetically first is used.
          a, b
          a, c
          b, c
        """
        notes = []
        if self.possible is not None and not self.proven:
            gap = 100 * (self.possible / self.scores.coverage - 1)
            notes.append(
                f"The time limit ended the search: the set has coverage "
                f"{self.scores.coverage:.3f}, and at most {self.possible:.3f} is possible "
                f"({gap:.2g} % more). It is not proven to be the best, and equally good sets "
                "were not searched for."
            )
        elif self.best_sets[1:] == () and not self.all_listed:
            notes.append("The time limit ended the search for equally good sets.")
        if len(self.best_sets) < 2:
            return notes
        common = [n for n in self.best_sets[0] if all(n in names for names in self.best_sets)]
        or_more = "" if self.all_listed else " or more"
        notes.append(
            f"{len(self.best_sets)}{or_more} sets have the same coverage; the alphabetically "
            "first is used."
        )
        if common:
            notes.append(f"All contain {', '.join(common)}, and in addition one of:")
        shown = self.best_sets[:_TIES_SHOWN]
        notes += [f"  {', '.join(n for n in names if n not in common)}" for names in shown]
        if more := len(self.best_sets) - len(shown):
            notes.append(f"  and {more} more")
        return notes


def choose_greedy(
    matrix: OverlapMatrix, size: int, max_overlap: float | None = None
) -> ChosenSet:
    """Repeatedly choose the candidate that adds most to the coverage.

    Only candidates whose overlap score with all chosen corruptions is below `max_overlap` are
    considered. Of several that add the same, the alphabetically first is chosen, so that the
    result does not depend on the order of the candidates. Without a limit, the coverage is at
    least 1 − 1/e of the best (Nemhauser, Wolsey & Fisher 1978). With a limit, greedy may end
    with a poor set, or stop before it reaches the size: then the design is not `complete`, and
    its note says so.

    Args:
        matrix: Overlap of the candidates.
        size: Number of corruptions in the set.
        max_overlap: Upper limit of the overlap score of every pair; None for no limit.

    Raises:
        InputError: The size is not from 1 to the number of candidates, or the limit is not
            above 0.
    """
    size, max_overlap = check_request(matrix, size, max_overlap)
    matrix = matrix.by_name()
    conflicts = conflicts_of(matrix, max_overlap)
    shares = matrix.shares
    covered = np.zeros(len(matrix.names))
    free = np.ones(len(matrix.names), dtype=bool)
    chosen: list[int] = []
    while free.any() and len(chosen) < size:
        gains = np.maximum(shares - covered, 0).mean(axis=1)
        gains[~free] = -1
        best = int(np.flatnonzero(gains >= gains.max() - _ROUNDING)[0])
        chosen.append(best)
        covered = np.maximum(covered, shares[best])
        free &= ~conflicts[best]
        free[best] = False
    names = tuple(matrix.names[i] for i in chosen)
    note = None
    if len(chosen) < size:
        note = (
            f"greedy stopped at {len(chosen)} of {size} corruptions: every other candidate "
            f"overlaps one of them by {max_overlap:g} or more"
        )
    return ChosenSet("greedy", names, size, max_overlap, score_design(matrix, names), note)


def check_request(
    matrix: OverlapMatrix, size: int, max_overlap: float | None
) -> tuple[int, float | None]:
    """Check the arguments of a design; return the size and the limit as plain numbers.

    Raises:
        InputError: The size is not from 1 to the number of candidates, or the limit is not
            above 0.
    """
    if not isinstance(matrix, OverlapMatrix):
        raise InputError(
            f"is of type {type(matrix).__name__}",
            where="matrix",
            remedy="Use noctule.read_matrix or noctule.overlap_of.",
        )
    candidates = len(matrix.names)
    size = whole_number(size, "size", low=0)
    if not 1 <= size <= candidates:
        noun = "candidate" if candidates == 1 else "candidates"
        undefined = f" ({len(matrix.undefined)} more are undefined)" if matrix.undefined else ""
        raise InputError(
            f"there are not {size} corruptions among {candidates} {noun}{undefined}",
            where=matrix.source,
            remedy=f"Use a size from 1 to {candidates}.",
        )
    if max_overlap is not None:
        remedy = "The overlap of all pairs must be below it: use a number above 0, such as 0.3."
        max_overlap = real_number(
            max_overlap, "max_overlap", low=0, high=math.inf, open_ends=True, remedy=remedy
        )
    return size, max_overlap


def conflicts_of(matrix: OverlapMatrix, max_overlap: float | None) -> NDArray[np.bool_]:
    """Pairs that may not be chosen together: bool (n, n), symmetric, False on the diagonal.

    These are the pairs whose overlap score is not strictly below `max_overlap`.
    """
    if max_overlap is None:
        return np.zeros(matrix.raw.shape, dtype=bool)
    conflicts = matrix.scores >= max_overlap
    np.fill_diagonal(conflicts, False)
    return conflicts
