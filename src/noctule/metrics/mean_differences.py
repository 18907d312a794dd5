"""How the means over the corruptions differ between two models on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from noctule.benchmarks import Benchmark
from noctule.metrics.means import ImageValues, ReferenceErrors, ratio_estimates
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.paired_results import MeanDifference, PairedDifference
from noctule.metrics.registry import METRICS


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
    a, b = (ImageValues(one.conditions, one.wrong) for one in outcomes)
    found = []
    for name in ("ce", "relative_ce"):
        of_a, of_b, of_both = (
            ratio_estimates(
                METRICS[name],
                table,
                benchmark,
                reference,
                no_reference_reason=no_reference_reason,
                confidence=confidence,
            )["benchmark", benchmark.name]
            for table in (a, b, b.less(a))
        )
        found.append(MeanDifference(METRICS[name].mean_name, of_a.value, of_b.value, of_both))
    return found
