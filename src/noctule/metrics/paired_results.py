"""What comparing two models gives: immutable records of differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from noctule.benchmarks import CLEAN
from noctule.metrics.estimates import Estimate

By = Literal["corruption", "condition"]


@dataclass(frozen=True)
class PairedDifference:
    """How the errors of two models differ under one corruption, one condition, or clean.

    Attributes:
        name: of the corruption or condition.
        a_percent: mean error of A over the severities, in percent.
        b_percent: that of B.
        points: B − A in percentage points; its interval is for this difference alone.
        spread_points: Standard deviation over the images of what each adds to the difference.
        only_a_wrong: outcomes (image and severity) that A gets wrong and B right.
        only_b_wrong: the other way round.
        p_value: p-value of the paired test of equal error rates, in (0, 1].
        p_holm: p-value corrected for all differences of the comparison.
        real: whether p_holm < 1 − confidence.
        detectable_points: where it is not real, the smallest difference that as many images
            show to be real with probability 0.8; None if there is none below 100, or no image
            on which the models differ.
        images_needed: where it is not real, how many images show it to be real with
            probability 0.8 if it is as large as seen here, to two digits, upwards; None if
            there is none.
    """

    name: str
    a_percent: float
    b_percent: float
    points: Estimate
    spread_points: float
    only_a_wrong: int
    only_b_wrong: int
    p_value: float
    p_holm: float
    real: bool
    detectable_points: float | None
    images_needed: int | None


@dataclass(frozen=True)
class MeanDifference:
    """How a mean over the corruptions differs.

    Attributes:
        metric: "mean_error", "mce" or "relative_mce"; all in percent.
        a_percent: that of A, or None if it is not defined.
        b_percent: that of B.
        points: B − A in percentage points.
        spread_points: As in `PairedDifference`; it and what follows for the mean error only.
        p_value: p-value of the paired test of equal error rates.
        p_holm: p-value corrected for all differences of the comparison.
        real: whether p_holm < 1 − confidence.
    """

    metric: str
    a_percent: float | None
    b_percent: float | None
    points: Estimate
    spread_points: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    real: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """Model B, the candidate, against model A, the baseline, on the same images.

    Attributes:
        benchmark: name of A's benchmark.
        dataset: what the images are.
        model_a, model_b: names of the models; they may be the same.
        run_a, run_b: where the rows are.
        num_images: how many images both were evaluated on.
        num_outcomes: right or wrong, for each image under each condition, clean included.
        num_differing: of these, how many are right for one model and wrong for the other.
        by: whether `differences` are of corruptions or of single conditions.
        clean: difference on the uncorrupted images; None if they were not evaluated.
        differences: of each corruption or condition.
        mean_error: difference of the mean error over the corruptions. It, the clean error and
            the others are tested together, as one family.
        mce: of the mean CE; not defined without a reference.
        relative_mce: of the mean relative CE, likewise.
        reference: whose errors CE is relative to, or None.
        no_reference_reason: why there is no reference, where there is none.
        left_out: corruptions that only one of the runs has under these conditions.
        confidence: of the intervals; p-values are held against 1 − confidence.
    """

    benchmark: str
    dataset: str
    model_a: str
    model_b: str
    run_a: str
    run_b: str
    num_images: int
    num_outcomes: int
    num_differing: int
    by: By
    clean: PairedDifference | None
    differences: tuple[PairedDifference, ...]
    mean_error: MeanDifference
    mce: MeanDifference
    relative_mce: MeanDifference
    reference: str | None
    no_reference_reason: str | None
    left_out: tuple[str, ...]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data with these attributes' names; numbers at full precision."""
        return asdict(self)

    def to_records(self) -> list[dict[str, Any]]:
        """One flat record per difference; what it does not have is None.

        The scope is "clean", "corruption", "condition" or "benchmark", the name that one's.
        """
        return [_record(scope, name, found) for scope, name, found in self._scoped()]

    def _scoped(self) -> Iterator[tuple[str, str, PairedDifference | MeanDifference]]:
        if self.clean is not None:
            yield "clean", CLEAN, self.clean
        for one in self.differences:
            yield self.by, one.name, one
        for mean in (self.mean_error, self.mce, self.relative_mce):
            yield "benchmark", self.benchmark, mean


def _record(scope: str, name: str, found: PairedDifference | MeanDifference) -> dict[str, Any]:
    paired = found if isinstance(found, PairedDifference) else None
    points = found.points
    return {
        "scope": scope,
        "name": name,
        "metric": "error" if isinstance(found, PairedDifference) else found.metric,
        "a_percent": found.a_percent,
        "b_percent": found.b_percent,
        "points": points.value,
        "low": points.low,
        "high": points.high,
        "reason": points.reason,
        "only_a_wrong": paired and paired.only_a_wrong,
        "only_b_wrong": paired and paired.only_b_wrong,
        "p_value": found.p_value,
        "p_holm": found.p_holm,
        "real": found.real,
        "detectable_points": paired and paired.detectable_points,
        "images_needed": paired and paired.images_needed,
    }
