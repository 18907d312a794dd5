"""The metrics that noctule knows. To add one, add an entry here and its test.

Whatever loads numpy is imported in the functions: help texts show the formulas.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from noctule.metrics.registry import metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from noctule.metrics.estimates import Estimate, IntervalSettings
    from noctule.metrics.means import CorruptionMeans
    from noctule.metrics.outcome_matrix import OutcomeMatrix


@metric(title="accuracy", formula="accuracy = 1 − error", better="higher")
def accuracy(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Whether the prediction is the label."""
    return ~outcomes.wrong


@metric(
    title="error",
    mean_name="mean_error",
    formula="mean error = mean of E_c over the corruptions (an unnormalised mCE)",
)
def error(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Whether the prediction is another class than the label."""
    return outcomes.wrong


@metric(
    title="top-5 error",
    mean_name="mean_top5_error",
    formula="top-5 error = share of images whose label is not among the five likeliest classes",
)
def top5_error(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Whether the label is not among the five likeliest classes."""
    return outcomes.label_rank > 5


@metric(
    title="ECE",
    kind="direct",
    columns=("label_rank", "confidence"),
    formula="ECE = Σ_b |B_b| / n · |mean confidence − accuracy| in B_b, over 15 bins B_b of "
    "equal width",
)
def ece(outcomes: OutcomeMatrix, settings: IntervalSettings) -> list[Estimate]:
    """Expected calibration error; of few images it is biased upwards."""
    from noctule.metrics.calibration import calibration_errors

    return calibration_errors(outcomes, settings)


@metric(
    title="NLL",
    mean_name="mean_nll",
    unit="nats",
    scale=1.0,
    digits=3,
    columns=("loss",),
    high=math.inf,
    formula="NLL = mean of −log p(label), the cross entropy",
)
def nll(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Negative log-likelihood of the label."""
    return outcomes.loss


@metric(
    title="AURC",
    mean_name="mean_aurc",
    columns=("label_rank", "confidence"),
    range_of_mean=True,
    formula="AURC = mean over k = 1…n of the error among the k most confident images; tied "
    "images in random order",
)
def aurc(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Area under the risk–coverage curve: the error of a model that may abstain."""
    from noctule.metrics.selective import risk_coverage_values

    return risk_coverage_values(outcomes.wrong, outcomes.confidence)


@metric(
    title="error rise",
    low=-1.0,
    needs_clean=True,
    formula="error rise = E − E_clean, the accuracy lost",
)
def error_rise(outcomes: OutcomeMatrix) -> NDArray[Any]:
    """Error less the error on the same image uncorrupted."""
    wrong = outcomes.wrong.astype("int8")
    rise: NDArray[Any] = wrong - wrong[:, [outcomes.conditions.index("clean")]]
    return rise


@metric(
    title="CE",
    mean_name="mce",
    mean_title="mCE",
    kind="ratio",
    scale=1.0,
    formula="CE_c = 100 · E_c / E_c(ref); mCE = mean of CE_c",
)
def ce(errors: CorruptionMeans) -> CorruptionMeans:
    """Corruption error: the error relative to the reference's."""
    return errors


@metric(
    title="relative CE",
    mean_name="relative_mce",
    mean_title="relative mCE",
    kind="ratio",
    scale=1.0,
    formula="relative CE_c = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)); "
    "relative mCE = mean of relative CE_c",
)
def relative_ce(errors: CorruptionMeans) -> CorruptionMeans | None:
    """Rise of the error over that on clean images, relative to the reference's rise."""
    return errors.rise()
