"""What scoring a run gives: immutable records of estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from noctule.benchmarks import Metric
from noctule.metrics.estimates import Estimate


@dataclass(frozen=True)
class ConditionScores:
    """Scores under one condition; all are fractions in [0, 1].

    Attributes:
        condition: its name, as `str(Condition)`.
        num_images: how many images they are over.
        accuracy: share of images whose predicted class is the label.
        error: 1 − accuracy.
        top5_error: share of images whose label is not among the five likeliest classes.
        ece: Expected calibration error, 15 bins of equal width. An ECE of few images is biased
            upwards; its interval reaches further down than up.
    """

    condition: str
    num_images: int
    accuracy: Estimate
    error: Estimate
    top5_error: Estimate
    ece: Estimate


@dataclass(frozen=True)
class CorruptionScores:
    """Scores of one corruption, over the benchmark's severities of it.

    Attributes:
        corruption: its name.
        error: mean error over the severities, a fraction in [0, 1].
        ce: error relative to the reference's, in percent; 100 is the reference model's.
        relative_ce: rise of the error relative to the reference's rise, likewise.
    """

    corruption: str
    error: Estimate
    ce: Estimate
    relative_ce: Estimate


@dataclass(frozen=True)
class Scores:
    """Every score of one run.

    Attributes:
        benchmark: name of the benchmark.
        metric: the score that the benchmark's authors report, a key of `FORMULAS`.
        num_images: how many images were evaluated.
        clean: scores on the uncorrupted images, or None where there were none.
        conditions: scores under each corrupted condition, in the benchmark's order.
        corruptions: scores of each corruption, in the benchmark's order.
        mean_error: mean error over the corruptions, a fraction; not an mCE.
        mce: mean of the corruptions' CE, in percent.
        relative_mce: mean of their relative CE; what ImageNet-NOC publishes as its mCE.
        reference: whose errors CE is relative to, or None.
        no_reference_reason: why there is no reference, where there is none.
        confidence: share of the resamples that the intervals hold.
        resamples: how many bootstrap resamples.
        seed: of the resamples.
    """

    benchmark: str
    metric: Metric
    num_images: int
    clean: ConditionScores | None
    conditions: tuple[ConditionScores, ...]
    corruptions: tuple[CorruptionScores, ...]
    mean_error: Estimate
    mce: Estimate
    relative_mce: Estimate
    reference: str | None
    no_reference_reason: str | None
    confidence: float
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data with these attributes' names; numbers at full precision."""
        return asdict(self)

    def to_records(self) -> list[dict[str, Any]]:
        """One flat record per number: scope, name, metric, value, low, high, reason.

        The scope is "condition", "corruption" or "benchmark", and the name that one's.
        """
        return [
            {"scope": scope, "name": name, "metric": metric, **estimate.to_dict()}
            for scope, name, metric, estimate in self._estimates()
        ]

    def _estimates(self) -> Iterator[tuple[str, str, str, Estimate]]:
        for condition in (self.clean, *self.conditions):
            if condition is None:
                continue
            for metric in ("accuracy", "error", "top5_error", "ece"):
                yield "condition", condition.condition, metric, getattr(condition, metric)
        for corruption in self.corruptions:
            yield "corruption", corruption.corruption, "error", corruption.error
            yield "corruption", corruption.corruption, "ce", corruption.ce
            yield "corruption", corruption.corruption, "relative_ce", corruption.relative_ce
        yield "benchmark", self.benchmark, "mean_error", self.mean_error
        yield "benchmark", self.benchmark, "mce", self.mce
        yield "benchmark", self.benchmark, "relative_mce", self.relative_mce
