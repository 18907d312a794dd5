"""How far a design hangs on the sample: the same choice on every bootstrap resample."""

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

# Overlaps that differ by less are the same but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Stability:
    """How often each candidate is in the best set, over bootstrap resamples.

    Attributes:
        share: By candidate, the share in [0, 1] of the feasible resamples whose best set has
            it; they sum to the size. Where several sets are best on a resample, each counts
            alike. None where no resample is feasible.
        resamples: Number of resamples that were looked at.
        infeasible: Share in [0, 1] of them where no set of this size is within the limit.
        tied: Share in [0, 1] of the feasible ones where several sets are best; None without
            a feasible one.
        asked: Number of resamples asked for; more than `resamples` if time ran out.
    """

    share: Mapping[str, float | None]
    resamples: int
    infeasible: float
    tied: float | None
    asked: int

    @property
    def notes(self) -> list[str]:
        """What a reader of the shares has to know."""
        notes = []
        if self.infeasible:
            share = f"{100 * self.infeasible:.3g} %"
            notes.append(f"On {share} of the resamples no such set exists; they are left out.")
        if self.tied:
            which = "others" if self.infeasible else "resamples"
            notes.append(
                f"On {100 * self.tied:.3g} % of the {which} several sets are best; each of "
                "them counts alike."
            )
        if self.resamples < self.asked:
            notes.append(f"The time limit ended it after {self.resamples} of {self.asked}.")
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

    Of several best sets on one replicate, each counts alike; of more than
    `exact.MOST_BEST_SETS`, those that were listed. Candidates that overlap all others alike,
    so that nothing in the replicate tells one from the other, share alike what they have
    together. An infinite overlap counts as every other number does: 1 or 0 as a share, and as
    a conflict if it is positive.

    Args:
        matrix: The candidates, with replicates of their overlap.
        size: Corruptions in the set.
        max_overlap: What the overlap score of every pair has to be below; None for no limit.
        resamples: Replicates to look at.
        time_limit_s: Time after which no further replicate is looked at.
        on_resample: Called with the number of replicates done and of all.

    Raises:
        InputError: No replicates are known, a number of resamples below 1, or a request that
            `choose_exact` refuses for every matrix.
    """
    size, max_overlap = check_request(matrix, size, max_overlap)
    check_time_limit(time_limit_s)
    if matrix.replicates is None or not len(matrix.replicates):
        raise InputError(
            "holds no bootstrap resamples of the overlap",
            where=matrix.source,
            remedy="Give the study folder: a CSV has the scores only.",
        )
    resamples = whole_number(resamples, "resamples", low=1)
    ordered, deadline = matrix.by_name(), Deadline(time_limit_s)
    assert ordered.replicates is not None
    replicates = ordered.replicates[:resamples]
    found: list[tuple[NDArray[np.float64], bool] | None] = []
    for raw in replicates:
        shares = _shares(OverlapMatrix(ordered.names, raw), size, max_overlap, deadline)
        if not deadline.left_s():
            break
        found.append(shares)
        if on_resample is not None:
            on_resample(len(found), len(replicates))
    feasible = [one for one in found if one is not None]
    sums = np.sum([shares for shares, _ in feasible], axis=0)
    share = {name: float(sums[i]) / len(feasible) if feasible else None
             for i, name in enumerate(ordered.names)}  # fmt: skip
    return Stability(
        share={name: share[name] for name in matrix.names},
        resamples=len(found),
        infeasible=1 - len(feasible) / len(found) if found else 0.0,
        tied=sum(tied for _, tied in feasible) / len(feasible) if feasible else None,
        asked=len(replicates),
    )


def _shares(
    matrix: OverlapMatrix, size: int, max_overlap: float | None, deadline: Deadline
) -> tuple[NDArray[np.float64], bool] | None:
    """Share of the best sets that have each candidate, and whether there are several.

    None if no set is within the limit, or time ran out.
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
    """Groups of candidates; if two of a group change places, the matrix stays the same."""
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
