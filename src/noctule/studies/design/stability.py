"""Stability of a design: the same selection on every bootstrap resample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import whole_number
from noctule.errors import InputError
from noctule.studies.design.choose import check_request, conflicts_of
from noctule.studies.design.exact import best_sets, check_time_limit
from noctule.studies.design.programme import Deadline
from noctule.studies.matrix import OverlapMatrix

_ROUNDING = 1e-9  # largest difference of overlaps that count as equal


@dataclass(frozen=True)
class Stability:
    """How often each candidate is in the best set, over bootstrap resamples.

    Attributes:
        share: Share in [0, 1] of the feasible resamples whose best set contains the candidate,
            by candidate; shares sum to the size. If several sets are best on a resample, they
            have equal weights. None if no resample is feasible.
        resamples: Number of resamples that were evaluated.
        infeasible: Share in [0, 1] of these on which no set of this size is below the limit.
        tied: Share in [0, 1] of the feasible resamples on which several sets are best; None
            if no resample is feasible.
        requested: Requested number of resamples; more than `resamples` if time ran out.
    """

    share: Mapping[str, float | None]
    resamples: int
    infeasible: float
    tied: float | None
    requested: int

    @property
    def notes(self) -> list[str]:
        """Remarks on the shares."""
        notes = []
        if self.infeasible:
            share = f"{100 * self.infeasible:.3g} %"
            notes.append(f"On {share} of the resamples no such set exists; they are excluded.")
        if self.tied:
            which = "others" if self.infeasible else "resamples"
            notes.append(
                f"On {100 * self.tied:.3g} % of the {which} several sets are best and have "
                "equal weights."
            )
        if self.resamples < self.requested:
            notes.append(
                f"The time limit ended it after {self.resamples} of {self.requested} resamples."
            )
        return notes


def stability(
    matrix: OverlapMatrix,
    size: int,
    max_overlap: float | None = None,
    *,
    resamples: int = 200,
    time_limit_s: float | None = None,
    on_resample: Callable[[int, int], None] | None = None,
) -> Stability:
    """The exact design on each of the first `resamples` bootstrap replicates of the matrix.

    Several best sets on a replicate have equal weights; if there are more than
    `exact.MOST_BEST_SETS`, those that are listed. Candidates that have the same overlap with
    all others cannot be distinguished and get equal shares. An infinite overlap counts like any
    other number: as a share of 1 or 0, and as a conflict if it is positive.

    Args:
        matrix: Overlap of the candidates, with replicates.
        size: Number of corruptions in the set.
        max_overlap: Upper limit of the overlap score of every pair; None for no limit.
        resamples: Number of replicates to evaluate.
        time_limit_s: Time in seconds after which no further replicate is evaluated.
        on_resample: Called with the number of finished and of all replicates.

    Raises:
        InputError: The matrix has no replicates, the number of resamples is below 1, or
            `choose_exact` rejects the arguments for every matrix.
    """
    size, max_overlap = check_request(matrix, size, max_overlap)
    check_time_limit(time_limit_s)
    if matrix.replicates is None or not len(matrix.replicates):
        raise InputError(
            "has no bootstrap resamples of the overlap",
            where=matrix.source,
            remedy="Pass the study folder instead of a CSV, which has only the scores.",
        )
    resamples = whole_number(resamples, "resamples", low=1)
    ordered, deadline = matrix.by_name(), Deadline(time_limit_s)
    assert ordered.replicates is not None
    replicates = ordered.replicates[:resamples]
    results: list[tuple[NDArray[np.float64], bool] | None] = []
    for raw in replicates:
        shares = _shares(OverlapMatrix(ordered.names, raw), size, max_overlap, deadline)
        if not deadline.left_s():
            break
        results.append(shares)
        if on_resample is not None:
            on_resample(len(results), len(replicates))
    feasible = [result for result in results if result is not None]
    sums = np.sum([shares for shares, _ in feasible], axis=0)
    share = {name: float(sums[i]) / len(feasible) if feasible else None
             for i, name in enumerate(ordered.names)}  # fmt: skip
    return Stability(
        share={name: share[name] for name in matrix.names},
        resamples=len(results),
        infeasible=1 - len(feasible) / len(results) if results else 0.0,
        tied=sum(tied for _, tied in feasible) / len(feasible) if feasible else None,
        requested=len(replicates),
    )


def _shares(
    matrix: OverlapMatrix, size: int, max_overlap: float | None, deadline: Deadline
) -> tuple[NDArray[np.float64], bool] | None:
    """Share of the best sets that contain each candidate, and whether there are several.

    None if no set is below the limit, or if time ran out.
    """
    try:
        best = best_sets(matrix, size, max_overlap, deadline)
    except InputError:  # no set was found in time
        return None
    if best is None:
        return None
    shares = np.zeros(len(matrix.names))
    for chosen in best.sets:
        shares[list(chosen)] += 1 / len(best.sets)
    for group in _interchangeable(matrix, max_overlap):
        shares[group] = shares[group].mean()
    return shares, len(best.sets) > 1


def _interchangeable(
    matrix: OverlapMatrix, max_overlap: float | None
) -> list[NDArray[np.intp]]:
    """Groups of candidates whose exchange does not change the matrix."""
    shares, conflicts = matrix.shares, conflicts_of(matrix, max_overlap)
    n = len(shares)
    group = np.arange(n)
    for i in range(n):
        for j in range(i):
            others = np.delete(np.arange(n), [i, j])
            same = np.abs(shares[i, others] - shares[j, others]) <= _ROUNDING
            if same.all() and (conflicts[i, others] == conflicts[j, others]).all():
                group[i] = group[j]
                break
    return [np.flatnonzero(group == label) for label in np.unique(group)]
