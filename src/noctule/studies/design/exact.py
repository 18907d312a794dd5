"""The best sets of corruptions, by integer programming."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from noctule.arguments import real_number
from noctule.errors import InputError
from noctule.studies.design.choose import ChosenSet, check_request, choose_greedy, conflicts_of
from noctule.studies.design.measures import coverage, score_design
from noctule.studies.design.programme import Deadline, OnSearch, Programme, Search
from noctule.studies.matrix import OverlapMatrix

MOST_BEST_SETS = 100
"""Largest number of sets of equal coverage that are listed."""

_ROUNDING = 1e-9  # largest difference of coverages that count as equal
_SOLVER_GAP = 1e-6  # tolerance of the solver, in a sum of shares
_SURELY_WORSE = 10 * _SOLVER_GAP  # a larger difference is not due to the solver's tolerance

Positions = tuple[int, ...]


class BestSets(NamedTuple):
    """The sets of largest coverage, as indices into a matrix in alphabetical order.

    Attributes:
        sets: One or more sets of equal coverage, the alphabetically first one first.
        all_listed: Whether the list is complete; see `ChosenSet.all_listed`.
        possible: Upper bound of the coverage; equal to that of the sets if they are proven
            best.
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
) -> ChosenSet:
    """The set of `size` corruptions with the largest coverage whose pairs are below the limit.

    It is a facility location problem (Cornuéjols, Fisher & Nemhauser 1977) with conflicts,
    which HiGHS solves; the sum of shares is within 10⁻⁶ of the best. As an overlap matrix is
    symmetric, several sets are often equally good: `ChosenSet.best_sets` has up to
    `MOST_BEST_SETS`, of which the alphabetically first is chosen. The result does not depend on
    the order of the candidates. With a limit, a smaller set may cover more than the best set of
    this size; then the note says so.

    Args:
        matrix: Overlap of the candidates.
        size: Number of corruptions in the set.
        max_overlap: Upper limit of the overlap score of every pair; None for no limit.
        time_limit_s: Time in seconds after which the best set found so far is used; then
            `ChosenSet.proven` is False and `ChosenSet.possible` is an upper bound.
        on_search: Called several times per second with the progress. Ctrl-C ends the search
            immediately.

    Raises:
        InputError: The size is not from 1 to the number of candidates, the limit is not above
            0, there is no set of this size below the limit (the message names the largest one),
            or none is found in time.

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
    named = tuple(_names(matrix, chosen) for chosen in best.sets)
    return ChosenSet(
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
    """One of the largest sets of candidates whose pairs all have an overlap below a limit."""
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
    """The sets of `size` candidates with the largest coverage; None if no set is feasible.

    Each best set is excluded and the search repeated, until the next best set is worse.

    Args:
        matrix: Overlap of the candidates, in alphabetical order.
        size: Number of corruptions in the set.
        max_overlap: Upper limit of the overlap score of every pair; None for no limit.
        deadline: Time limit.
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
    sets, complete = [best.chosen], False
    while len(sets) <= MOST_BEST_SETS:
        programme.exclude(sets[-1])
        other = programme.solve(deadline)
        if other is not None and not other.proven:
            break
        chosen = None if other is None else other.chosen
        if chosen is None or _covered(matrix, chosen) < first - _SURELY_WORSE / n:
            complete = True
            break
        sets.append(chosen)
    largest = max(_covered(matrix, chosen) for chosen in sets)
    ties = sorted(chosen for chosen in sets if _covered(matrix, chosen) >= largest - _ROUNDING)
    if not complete:
        ties = _first_by_name(matrix, max_overlap, ties, deadline)
    return BestSets(ties[:MOST_BEST_SETS], complete, _covered(matrix, ties[0]))


def check_time_limit(seconds: float | None) -> None:
    """Check a time limit.

    Raises:
        InputError: It is not above 0.
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
    """The best sets, preceded by the alphabetically first of all best sets if there is time.

    It is built name by name: each name is included if some best set contains it and the names
    that are included already.
    """
    first, size = ties[0], len(ties[0])
    programme = _programme(matrix, max_overlap, (size, size))
    least = _covered(matrix, first) - _ROUNDING
    included = 0
    for candidate in range(len(matrix.names)):
        if included == size:
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
        included += 1
    return [first, *(chosen for chosen in ties if chosen != first)]


def _covered(matrix: OverlapMatrix, chosen: Sequence[int]) -> float:
    return coverage(matrix, _names(matrix, chosen))


def _names(matrix: OverlapMatrix, chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(matrix.names[i] for i in chosen)


def _as_coverage(search: Search, n: int) -> Search:
    return search._replace(best=search.best / n, possible=min(1.0, search.possible / n))


def _not_possible(
    matrix: OverlapMatrix, size: int, max_overlap: float | None, deadline: Deadline
) -> InputError:
    largest = largest_set(matrix, max_overlap, deadline)
    which = "largest possible set" if deadline.left_s() else "largest set found in time"
    return InputError(
        f"no {size} corruptions have pairwise overlaps below {max_overlap:g}; the {which} has "
        f"{len(largest)} ({', '.join(largest)})",
        where=matrix.source,
        remedy="Use a smaller size, or allow more overlap.",
    )


def _note(
    matrix: OverlapMatrix, names: tuple[str, ...], max_overlap: float | None, deadline: Deadline
) -> str | None:
    """A note if a smaller set covers more, which only a limit on overlap can cause."""
    if max_overlap is None:
        return None
    fewer = _programme(matrix, max_overlap, (1, len(names))).solve(deadline)
    if fewer is None or fewer.chosen is None:
        return None
    better = _names(matrix, fewer.chosen)
    larger, own = coverage(matrix, better), coverage(matrix, names)
    if len(better) == len(names) or larger <= own + _SOLVER_GAP:
        return None
    return (
        f"a smaller set, {', '.join(better)}, covers more than the best of {len(names)}: "
        f"{larger:.3f} against {own:.3f}"
    )
