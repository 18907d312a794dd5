"""The best sets of corruptions, as an integer programme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from noctule.arguments import real_number
from noctule.errors import InputError
from noctule.studies.design.choose import Choice, check_request, choose_greedy, conflicts_of
from noctule.studies.design.measures import coverage, score_design
from noctule.studies.design.programme import Deadline, OnSearch, Programme, Search
from noctule.studies.matrix import OverlapMatrix

MOST_BEST_SETS = 100
"""Sets of equal coverage that are looked for, before it is only said that there are more."""

# Coverages that differ by less are the same but for rounding.
_ROUNDING = 1e-9
# The solver's own tolerance, of a sum of shares.
_SOLVER_GAP = 1e-6
# A set this much worse, by the solver, is worse in truth.
_SURELY_WORSE = 10 * _SOLVER_GAP

Positions = tuple[int, ...]


class BestSets(NamedTuple):
    """The sets of largest coverage, as positions in a matrix in the order of names.

    Attributes:
        sets: One or more sets of equal coverage, the first by name first.
        all_listed: Whether these are all; see `Choice.all_listed`.
        possible: No set covers more than this; the coverage of the sets if that is proven.
    """

    sets: list[Positions]
    all_listed: bool
    possible: float


def choose_exact(
    matrix: OverlapMatrix,
    size: int,
    max_overlap: float | None = None,
    *,
    time_limit_s: float | None = None,
    on_search: OnSearch | None = None,
) -> Choice:
    """The `size` corruptions of largest coverage among those that may go together.

    Solved as a facility location problem (Cornuéjols, Fisher & Nemhauser 1977) with conflicts,
    by HiGHS; the sum of shares is within 10⁻⁶ of the best. An overlap matrix is symmetric, so
    several sets are often best: `Choice.best_sets` has up to `MOST_BEST_SETS` of them, and the
    first by name is chosen. The order of the candidates changes nothing. A limit can make a
    smaller set cover more than the best of exactly this size; then the note says so.

    Args:
        matrix: The candidates and their overlap.
        size: Corruptions in the set.
        max_overlap: What the overlap score of every pair has to be below; None for no limit.
        time_limit_s: Time after which the best set found so far is taken; then
            `Choice.proven` is False and `Choice.possible` bounds what was missed.
        on_search: Called several times a second with the coverage found and the coverage that
            may be possible. Ctrl-C ends the search at once.

    Raises:
        InputError: A size that is not 1 to the number of candidates, a limit not above 0,
            no set of this size within the limit (the largest one there is is named), or none
            found in time.

    >>> m = OverlapMatrix(("a", "b", "c"), np.array([[1, .6, 0], [.6, 1, .5], [0, .5, 1]]))
    >>> choose_exact(m, 1).names, choose_exact(m, 2, 0.3).names
    (('b',), ('a', 'c'))
    """
    size, max_overlap = check_request(matrix, size, max_overlap)
    check_time_limit(time_limit_s)
    deadline, matrix = Deadline(time_limit_s), matrix.by_name()
    best = best_sets(matrix, size, max_overlap, deadline, on_search)
    if best is None:
        raise _not_possible(matrix, size, max_overlap, deadline)
    named = tuple(_names(matrix, one) for one in best.sets)
    return Choice(
        "exact",
        named[0],
        size,
        max_overlap,
        score_design(matrix, named[0]),
        _note(matrix, named[0], max_overlap, deadline),
        named,
        best.all_listed,
        best.possible,
    )


def largest_set(
    matrix: OverlapMatrix, max_overlap: float | None, deadline: Deadline | None = None
) -> tuple[str, ...]:
    """One of the largest sets of candidates with every pair below `max_overlap`."""
    _, max_overlap = check_request(matrix, 1, max_overlap)
    matrix = matrix.by_name()
    n = len(matrix.names)
    programme = Programme(
        np.zeros((n, n)), conflicts_of(matrix, max_overlap), (0, n), reward=1.0
    )
    solution = programme.solve(deadline or Deadline(None))
    return () if solution is None else _names(matrix, solution.chosen or ())


def best_sets(
    matrix: OverlapMatrix,
    size: int,
    max_overlap: float | None,
    deadline: Deadline,
    on_search: OnSearch | None = None,
) -> BestSets | None:
    """The sets of `size` candidates of largest coverage, or None if none fit.

    After each best set it is excluded and the next best is searched for, until that is worse.

    Args:
        matrix: With its candidates in the order of their names.
        size: Corruptions in the set.
        max_overlap: What the overlap score of every pair has to be below; None for no limit.
        deadline: When to stop.
        on_search: See `choose_exact`.

    Raises:
        InputError: No set was found in time.
    """
    n = len(matrix.names)
    programme = _programme(matrix, max_overlap, (size, size))
    greedy = choose_greedy(matrix, size, max_overlap)
    if greedy.complete:
        programme.start_from([matrix.names.index(name) for name in greedy.names])
    report = None if on_search is None else lambda search: on_search(_as_coverage(search, n))
    best = programme.solve(deadline, report)
    if best is None:
        return None
    if best.chosen is None:
        raise InputError(
            f"no set of {size} corruptions was found in time",
            where=matrix.source,
            remedy="Allow more time, or more overlap.",
        )
    first = _covered(matrix, best.chosen)
    if not best.proven:
        return BestSets([best.chosen], False, max(first, min(1.0, best.possible / n)))
    found, complete = [best.chosen], False
    while len(found) <= MOST_BEST_SETS:
        programme.exclude(found[-1])
        other = programme.solve(deadline)
        if other is not None and not other.proven:
            break
        chosen = None if other is None else other.chosen
        if chosen is None or _covered(matrix, chosen) < first - _SURELY_WORSE / n:
            complete = True
            break
        found.append(chosen)
    largest = max(_covered(matrix, one) for one in found)
    ties = sorted(one for one in found if _covered(matrix, one) >= largest - _ROUNDING)
    if not complete:
        ties = _first_by_name(matrix, max_overlap, ties, deadline)
    return BestSets(ties[:MOST_BEST_SETS], complete, _covered(matrix, ties[0]))


def check_time_limit(seconds: float | None) -> None:
    """Refuse a time limit that is not above 0.

    Raises:
        InputError: Such a limit.
    """
    if seconds is not None:
        real_number(
            seconds,
            "time limit",
            low=0,
            high=math.inf,
            open_ends=True,
            remedy="Use seconds above 0.",
        )


def _programme(
    matrix: OverlapMatrix, max_overlap: float | None, sizes: tuple[int, int]
) -> Programme:
    return Programme(matrix.shares, conflicts_of(matrix, max_overlap), sizes)


def _first_by_name(
    matrix: OverlapMatrix, max_overlap: float | None, ties: list[Positions], deadline: Deadline
) -> list[Positions]:
    """These best sets with the first of all by name in front, if there is time to find it.

    Name by name: is there a best set with it, and with those before that were possible?
    """
    first, size = ties[0], len(ties[0])
    programme = _programme(matrix, max_overlap, (size, size))
    least = _covered(matrix, first) - _ROUNDING
    taken = 0
    for candidate in range(len(matrix.names)):
        if taken == size:
            break
        programme.fix(candidate, chosen=True)
        if candidate not in first:
            other = programme.solve(deadline)
            if other is not None and not other.proven:
                break
            if other is None or other.chosen is None or _covered(matrix, other.chosen) < least:
                programme.fix(candidate, chosen=False)
                continue
            first = other.chosen
        taken += 1
    return [first, *(one for one in ties if one != first)]


def _covered(matrix: OverlapMatrix, chosen: Sequence[int]) -> float:
    return coverage(matrix, _names(matrix, chosen))


def _names(matrix: OverlapMatrix, chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(matrix.names[i] for i in chosen)


def _as_coverage(search: Search, n: int) -> Search:
    found, possible, seconds = search
    return Search(found / n, min(1.0, possible / n), seconds)


def _not_possible(
    matrix: OverlapMatrix, size: int, max_overlap: float | None, deadline: Deadline
) -> InputError:
    largest = largest_set(matrix, max_overlap, deadline)
    which = "largest possible set" if deadline.left_s() else "largest set found in time"
    return InputError(
        f"{size} corruptions under {max_overlap:g} are not possible; the {which} has "
        f"{len(largest)} ({', '.join(largest)})",
        where=matrix.source,
        remedy="Ask for fewer, or allow more overlap.",
    )


def _note(
    matrix: OverlapMatrix, names: tuple[str, ...], max_overlap: float | None, deadline: Deadline
) -> str | None:
    """That fewer corruptions would cover more, if so; only conflicts can bring that about."""
    if max_overlap is None:
        return None
    fewer = _programme(matrix, max_overlap, (1, len(names))).solve(deadline)
    if fewer is None or fewer.chosen is None:
        return None
    better = _names(matrix, fewer.chosen)
    there, here = coverage(matrix, better), coverage(matrix, names)
    if len(better) == len(names) or there <= here + _SOLVER_GAP:
        return None
    return (
        f"a smaller set, {', '.join(better)}, covers more than the best of {len(names)}: "
        f"{there:.3f} against {here:.3f}"
    )
