"""How far a design hangs on the sample: the same choice on every bootstrap resample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noctule.design.choose import check_request
from noctule.design.exact import best_set
from noctule.errors import InputError
from noctule.study.matrix import OverlapMatrix


@dataclass(frozen=True)
class Stability:
    """How often each candidate is in the best set, over bootstrap resamples.

    Attributes:
        share: by candidate, the share in [0, 1] of the feasible resamples whose best set has
            it; they sum to the size. None where no resample is feasible.
        resamples: how many were looked at.
        infeasible: share in [0, 1] of them where no set of this size is within the limit.
    """

    share: Mapping[str, float | None]
    resamples: int
    infeasible: float


def stability(
    matrix: OverlapMatrix, size: int, max_overlap: float | None = None, *, resamples: int = 200
) -> Stability:
    """The exact design on each of the first `resamples` bootstrap replicates of the matrix.

    An infinite overlap counts as every other number does: 1 or 0 as a share, and as a conflict
    if it is positive.

    Raises:
        InputError: no replicates are known, a number of resamples below 1, or a request that
            `choose_exact` refuses for every matrix.
    """
    check_request(matrix, size, max_overlap)
    if matrix.replicates is None or not len(matrix.replicates):
        raise InputError(
            "holds no bootstrap resamples of the overlap",
            where=matrix.source,
            remedy="Give the study folder: a CSV has the scores only.",
        )
    if resamples < 1:
        raise InputError(f"is {resamples}", where="resamples", remedy="Use 1 or more.")
    replicates = matrix.replicates[:resamples]
    times = np.zeros(len(matrix.names), dtype=np.int64)
    feasible = 0
    for raw in replicates:
        chosen = best_set(OverlapMatrix(matrix.names, raw), size, max_overlap)
        if chosen is not None:
            feasible += 1
            times[chosen] += 1
    shares = [int(n) / feasible if feasible else None for n in times]
    return Stability(
        share=dict(zip(matrix.names, shares, strict=True)),
        resamples=len(replicates),
        infeasible=1 - feasible / len(replicates),
    )
