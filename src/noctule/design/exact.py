"""The best set of corruptions, as an integer programme."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from noctule.design.choose import Choice, check_request, conflicts_of
from noctule.design.measures import coverage, score_design
from noctule.errors import InputError
from noctule.study.matrix import OverlapMatrix

# The solver stops once the sum of shares is within this of the best possible.
_SOLVER_GAP = 1e-6
_OPTIMAL, _INFEASIBLE = 0, 2


def choose_exact(matrix: OverlapMatrix, size: int, max_overlap: float | None = None) -> Choice:
    """The `size` corruptions of largest coverage among those that may go together.

    Solved as a facility location problem (Cornuéjols, Fisher & Nemhauser 1977) with conflicts,
    by HiGHS; the sum of shares is within 10⁻⁶ of the best, and of several best sets any may
    come out. A limit can make a smaller set cover more than the best of exactly this size;
    then the note says so.

    Raises:
        InputError: a size that is not 1 to the number of candidates, a limit not above 0, or
            no set of this size within the limit (the largest one there is is named).

    >>> m = OverlapMatrix(("a", "b", "c"), np.array([[1, .6, 0], [.6, 1, .5], [0, .5, 1]]))
    >>> choose_exact(m, 1).names, choose_exact(m, 2, 0.3).names
    (('b',), ('a', 'c'))
    """
    check_request(matrix, size, max_overlap)
    chosen = best_set(matrix, size, max_overlap)
    if chosen is None:
        largest = largest_set(matrix, max_overlap)
        raise InputError(
            f"{size} corruptions under {max_overlap:g} are not possible; the largest possible "
            f"set has {len(largest)} ({', '.join(largest)})",
            where=matrix.source,
            remedy="Ask for fewer, or allow more overlap.",
        )
    names = tuple(matrix.names[i] for i in chosen)
    note = _note(matrix, names, max_overlap)
    return Choice("exact", names, size, max_overlap, score_design(matrix, names), note)


def largest_set(matrix: OverlapMatrix, max_overlap: float | None) -> tuple[str, ...]:
    """One of the largest sets of candidates with every pair below `max_overlap`."""
    pairs = _exclusions(conflicts_of(matrix, max_overlap), len(matrix.names))
    return tuple(matrix.names[i] for i in _solve(-np.ones(len(matrix.names)), pairs) or ())


def best_set(
    matrix: OverlapMatrix, size: int, max_overlap: float | None, *, or_fewer: bool = False
) -> list[int] | None:
    """Positions of the `size` candidates (or fewer) of largest coverage, or None if none fit.

    The variables are x_b, whether b is chosen, and then y_bc, the share of c that is counted
    as covered by b: maximise Σ Ō(b, c) · y_bc with y_bc ≤ x_b, Σ_b y_bc = 1, Σ x_b = size and
    x_a + x_b ≤ 1 for every pair in conflict.
    """
    n = len(matrix.names)
    each, ones = sparse.eye_array(n), np.ones((1, n))
    only_chosen = sparse.hstack([-sparse.kron(each, ones.T), sparse.eye_array(n * n)])
    covered_once = sparse.hstack([sparse.csr_array((n, n)), sparse.kron(ones, each)])
    count = np.concatenate([np.ones(n), np.zeros(n * n)])[np.newaxis]
    constraints = [
        LinearConstraint(only_chosen.tocsr(), -np.inf, 0),
        LinearConstraint(covered_once.tocsr(), 1, 1),
        LinearConstraint(count, 1 if or_fewer else size, size),
        *_exclusions(conflicts_of(matrix, max_overlap), n + n * n),
    ]
    cost = np.concatenate([np.zeros(n), -matrix.shares.ravel()])
    return _solve(cost, constraints, binaries=n)


def _exclusions(conflicts: NDArray[np.bool_], variables: int) -> list[Any]:
    """x_a + x_b ≤ 1 for every pair in conflict."""
    # The solver of SciPy 1.12 takes no wider indices.
    pairs = np.argwhere(np.triu(conflicts)).astype(np.int32)
    if not len(pairs):
        return []
    ends = np.arange(0, pairs.size + 1, 2, dtype=np.int32)
    rows = sparse.csr_array(
        (np.ones(pairs.size), pairs.ravel(), ends), shape=(len(pairs), variables)
    )
    return [LinearConstraint(rows, -np.inf, 1)]


def _solve(
    cost: NDArray[np.float64], constraints: list[Any], *, binaries: int | None = None
) -> list[int] | None:
    """Which of the first `binaries` variables (default: all) are 1; None: no solution."""
    binaries = len(cost) if binaries is None else binaries
    result = milp(
        cost,
        constraints=constraints,
        bounds=Bounds(0, 1),
        integrality=np.arange(len(cost)) < binaries,
        options={"mip_rel_gap": 0},
    )
    if result.status == _INFEASIBLE:
        return None
    if result.status != _OPTIMAL:
        raise RuntimeError(f"the solver stopped without an answer: {result.message}")
    return [int(i) for i in np.flatnonzero(result.x[:binaries] > 0.5)]


def _note(
    matrix: OverlapMatrix, names: tuple[str, ...], max_overlap: float | None
) -> str | None:
    """That fewer corruptions would cover more, if so; only conflicts can bring that about."""
    if max_overlap is None:
        return None
    fewer = best_set(matrix, len(names), max_overlap, or_fewer=True) or ()
    better = tuple(matrix.names[i] for i in fewer)
    there, here = coverage(matrix, better), coverage(matrix, names)
    if len(better) == len(names) or there <= here + _SOLVER_GAP:
        return None
    return (
        f"a smaller set, {', '.join(better)}, covers more than the best of {len(names)}: "
        f"{there:.3f} against {here:.3f}"
    )
