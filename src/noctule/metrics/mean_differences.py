"""How the means over the corruptions differ between two models on the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noctule.benchmarks import Benchmark
from noctule.metrics.corruption_errors import (
    CorruptionErrors,
    ErrorTable,
    ReferenceErrors,
    corruption_errors,
)
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired_results import MeanDifference, PairedDifference

METRICS = ("mce", "relative_mce")


def mean_error_difference(whole: PairedDifference) -> MeanDifference:
    """The difference over all corrupted conditions as that of the mean error."""
    return MeanDifference(
        "mean_error",
        whole.a_percent,
        whole.b_percent,
        whole.points,
        whole.spread_points,
        whole.p_value,
        whole.p_holm,
        whole.real,
    )


def mean_differences(
    outcomes: Sequence[OutcomeMatrix],
    reference: ReferenceErrors,
    benchmark: Benchmark,
    *,
    no_reference_reason: str,
    confidence: float,
) -> list[MeanDifference]:
    """The differences of mCE and relative mCE, with their intervals.

    Both scores are linear in the errors, so that the score of the differences is the difference
    of the scores.

    Args:
        outcomes: Of A and of B.
        reference: What CE is relative to.
        benchmark: Its conditions are among theirs.
        no_reference_reason: Why CE is undefined, if there is no reference.
        confidence: Confidence of the intervals.
    """
    a, b = outcomes
    signs = b.wrong.astype(np.int8) - a.wrong.astype(np.int8)

    def scores(table: ErrorTable) -> CorruptionErrors:
        return corruption_errors(
            table,
            benchmark,
            reference,
            no_reference_reason=no_reference_reason,
            confidence=confidence,
        )

    of_a, of_b, of_both = (
        scores(ErrorTable(a.conditions, values)) for values in (a.wrong, b.wrong, signs)
    )
    return [
        MeanDifference(
            metric,
            getattr(of_a, metric).value,
            getattr(of_b, metric).value,
            getattr(of_both, metric),
        )
        for metric in METRICS
    ]
