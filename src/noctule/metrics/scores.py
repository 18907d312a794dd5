"""All scores of one run on one benchmark: a tidy table, a row per number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import CLEAN, Benchmark, Reference, part_note
from noctule.display import Displayed
from noctule.errors import InputError
from noctule.metrics.estimates import (
    Estimate,
    IntervalSettings,
    bootstrap_settings,
    population_factor,
)
from noctule.metrics.means import (
    NO_CLEAN,
    Estimates,
    ImageValues,
    ReferenceErrors,
    mean_estimates,
    ratio_estimates,
)
from noctule.metrics.outcome_matrix import (
    COLUMNS,
    KEYS,
    OutcomeMatrix,
    check_same_images,
    outcome_matrix,
)
from noctule.metrics.registry import METRICS, Metric, Scope

RANKING = ("relative_ce", "ce", "error")
"""What runs are ranked by where the benchmark's own metric is not defined for all of them."""


@dataclass(frozen=True, repr=False)
class Scores(Displayed):
    """Every score of one run.

    Attributes:
        benchmark: Name of the benchmark.
        metric: Name of the metric that the benchmark's authors report.
        num_images: Number of images that were evaluated.
        conditions: Names of the conditions, clean first if it was evaluated.
        corruptions: Names of the corruptions, in the benchmark's order.
        estimates: Estimates by scope, name and metric; fractions, percent or nats, as the
            metric's `scale` and `unit` say.
        reference: Name of the model whose errors CE is relative to, or None.
        no_reference_reason: Why there is no reference, where there is none.
        confidence: Confidence of the intervals.
        resamples: Number of bootstrap resamples, for metrics that have no formula.
        seed: Seed of the bootstrap.
        population: Number of images that these were drawn from at random, to whose scores the
            intervals apply; None if they apply to all images of this kind.
        part: Of a part of a benchmark, what it lacks, in a sentence.
    """

    benchmark: str
    metric: str
    num_images: int
    conditions: tuple[str, ...]
    corruptions: tuple[str, ...]
    estimates: Mapping[tuple[Scope, str, str], Estimate]
    reference: str | None
    no_reference_reason: str | None
    confidence: float
    resamples: int
    seed: int
    population: int | None = None
    part: str | None = None

    @property
    def has_clean(self) -> bool:
        """Whether the uncorrupted images were evaluated."""
        return CLEAN in self.conditions

    def of(self, metric: str, name: str | None = None) -> Estimate:
        """One estimate.

        Args:
            metric: Name of a metric, or of its mean over the corruptions.
            name: Name of a corruption or a condition; None is the mean over the corruptions.

        Raises:
            KeyError: There is no such estimate.
        """
        if name is None:
            return self.estimates["benchmark", self.benchmark, METRICS[metric].mean_name]
        found = self.estimates.get(("corruption", name, metric))
        return self.estimates["condition", name, metric] if found is None else found

    @property
    def headline(self) -> Metric:
        """The metric that its authors report, or the next that is defined for this run."""
        return headline_metric([self])

    def to_records(self) -> list[dict[str, Any]]:
        """One flat record per number: scope, name, metric, value, low, high, reason.

        The scope is "condition", "corruption" or "benchmark", and the name that one's.
        """
        return [
            {"scope": scope, "name": name, "metric": metric, **estimate.to_dict()}
            for (scope, name, metric), estimate in self.estimates.items()
        ]

    def metrics(self) -> dict[str, float]:
        """The defined scores as one flat dictionary, for loggers of experiments.

        The mean over the corruptions is called by its own name, such as "mean_error" or "mce";
        a score on clean images and under a corruption has that name below its own:
        "error/clean", "ce/shear". The ends of an interval follow: "mce/low", "mce/high",
        "ce/shear/low". Values are stored values: errors are fractions, CE is in percent. A
        score that is not defined has no key.
        """
        flat: dict[str, float] = {}
        for (scope, name, metric), estimate in self.estimates.items():
            if scope == "condition" and name != CLEAN:
                continue
            key = metric if scope == "benchmark" else f"{metric}/{name}"
            ends = {"": estimate.value, "/low": estimate.low, "/high": estimate.high}
            flat |= {key + end: value for end, value in ends.items() if value is not None}
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data; the records are under "scores".

        `population` and `part` are there if they are not None.
        """
        fields = {key: one for key, one in vars(self).items() if key != "estimates"}
        for key in ("population", "part"):
            if fields[key] is None:
                del fields[key]
        lists = {key: list(one) for key, one in fields.items() if isinstance(one, tuple)}
        return fields | lists | {"scores": self.to_records()}


def headline_metric(runs: Sequence[Scores]) -> Metric:
    """What runs on one benchmark are ranked by.

    The metric that its authors report if its mean is defined for every run, or else the next
    that is: runs are never ranked by what some of them lack.
    """
    own = METRICS[runs[0].metric]
    for name in dict.fromkeys((own.name, *RANKING)):
        if all(one.of(name).value is not None for one in runs):
            return METRICS[name]
    raise ValueError("the mean error is always defined")


def score(
    rows: pa.Table,
    benchmark: Benchmark,
    *,
    reference: Reference | pa.Table | ReferenceErrors = None,
    reference_name: str | None = None,
    no_reference_reason: str | None = None,
    metrics: Sequence[str] | None = None,
    population: int | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Scores:
    """Score the rows of a run; the formulas are in `noctule.metrics.definitions`.

    Args:
        rows: Outcome rows with the columns that the metrics need, in any order.
        benchmark: Its conditions must be among the rows'; others are left out. Clean ones may
            be absent altogether, which leaves relative CE undefined.
        reference: What CE is relative to: errors that are taken as exact, or a reference
            model's outcomes on the same images, as rows or in the order of the sorted image
            ids; None leaves CE undefined.
        reference_name: Name of the reference.
        no_reference_reason: Why there is none.
        metrics: Names of the metrics; None is all whose columns are in the rows.
        population: Number of images of a set that these were drawn from at random. The
            intervals then hold the scores on the whole set, see `population_factor`.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples for the calibration error, up to 100,000; 0
            gives it no interval. The other intervals need none.
        confidence: Confidence of the intervals, in (0, 1).

    Raises:
        InputError: Rows are missing or double, the reference lacks a condition or has other
            images, a setting is out of its range, or a metric is unknown.
    """
    names = [str(condition) for condition in benchmark.conditions]
    if not pc.any(pc.equal(rows["condition"], CLEAN)).as_py():
        names.remove(CLEAN)
    settings = bootstrap_settings(seed, resamples, confidence)
    chosen = chosen_metrics(metrics)
    if metrics is None:
        chosen = [one for one in chosen if {*one.columns} <= {*rows.column_names}]
    outcomes = outcome_matrix(rows.select(columns_of(chosen)), names)
    errors = _reference_errors(reference, outcomes, benchmark)
    known = KnownReference(errors, _name(reference, reference_name))
    if reference is None:
        reason = no_reference_reason or "no reference errors were given"
        known = KnownReference(None, why_none=reason)
    return score_outcomes(outcomes, benchmark, known, chosen, settings, population)


def columns_of(metrics: Sequence[Metric]) -> list[str]:
    """Columns of outcome rows that metrics need."""
    needed = {*KEYS, *(column for one in metrics for column in one.columns)}
    return [name for name in COLUMNS if name in needed]


def chosen_metrics(names: Sequence[str] | None) -> list[Metric]:
    """Metrics by name; None is all that are registered.

    Raises:
        InputError: One is unknown.
    """
    return [*METRICS.values()] if names is None else [METRICS[name] for name in names]


class KnownReference(NamedTuple):
    """What CE is relative to.

    Attributes:
        errors: Errors by condition that are taken as exact, outcomes by image, or None.
        name: Name of the reference, with what makes it less than exactly comparable.
        why_none: Why there is none, where there is none.
    """

    errors: ReferenceErrors
    name: str | None = None
    why_none: str | None = None


def score_outcomes(
    outcomes: OutcomeMatrix,
    benchmark: Benchmark,
    reference: KnownReference,
    metrics: Sequence[Metric],
    settings: IntervalSettings,
    population: int | None = None,
) -> Scores:
    """Score a run whose rows are joined already; see `score`."""
    found = {
        metric.name: metric_estimates(metric, outcomes, benchmark, reference, settings)
        for metric in metrics
    }
    if population is not None:
        factor = population_factor(len(outcomes.image_ids), population)
        found = {
            name: {key: one.within_population(factor) for key, one in estimates.items()}
            for name, estimates in found.items()
        }
    return Scores(
        benchmark=benchmark.name,
        metric=benchmark.metric,
        num_images=len(outcomes.image_ids),
        conditions=outcomes.conditions,
        corruptions=benchmark.corruptions,
        estimates=dict(_rows(found, outcomes.conditions, benchmark)),
        reference=reference.name,
        no_reference_reason=reference.why_none,
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
        population=population,
        part=part_note(benchmark),
    )


def metric_estimates(
    metric: Metric,
    outcomes: OutcomeMatrix,
    benchmark: Benchmark,
    reference: KnownReference,
    settings: IntervalSettings,
) -> Estimates:
    """All estimates of one metric."""
    if metric.needs_clean and CLEAN not in outcomes.conditions:
        undefined = Estimate(None, None, None, NO_CLEAN)
        return {("condition", name): undefined for name in outcomes.conditions}
    match metric.kind:
        case "mean":
            return mean_estimates(
                metric, image_values(metric, outcomes), benchmark, settings.confidence
            )
        case "ratio":
            return ratio_estimates(
                metric,
                image_values(METRICS["error"], outcomes),
                benchmark,
                reference.errors,
                no_reference_reason=reference.why_none or "",
                confidence=settings.confidence,
            )
        case "direct":
            return _direct_estimates(metric, outcomes, settings)


def _direct_estimates(
    metric: Metric, outcomes: OutcomeMatrix, settings: IntervalSettings
) -> Estimates:
    """The estimates by condition that a metric computes itself."""
    found = metric(outcomes, settings)
    count = len(outcomes.conditions)
    is_list = isinstance(found, list | tuple) and len(found) == count
    if not is_list or not all(isinstance(one, Estimate) for one in found):
        raise metric.error(f"must return a list of {count} Estimates, one for each condition")
    names = zip(outcomes.conditions, found, strict=True)
    return {("condition", name): one for name, one in names}


def image_values(metric: Metric, outcomes: OutcomeMatrix) -> ImageValues:
    """The numbers by image whose means are a metric.

    Raises:
        PluginError: A user's metric returns something else.
    """
    values = np.asarray(metric(outcomes))
    wanted = len(outcomes.image_ids), len(outcomes.conditions)
    if values.shape != wanted or values.dtype.kind not in "biuf":
        raise metric.error(
            f"returned an array of shape {values.shape} and type {values.dtype}, expected "
            f"{wanted}: one number for each image and condition"
        )
    if unknown := np.count_nonzero(~np.isfinite(values)):
        raise metric.error(
            f"returned {unknown:,} of {values.size:,} numbers as NaN or infinite"
        )
    smallest, largest = values.min().item(), values.max().item()
    if not metric.range_of_mean and (smallest < metric.low or largest > metric.high):
        raise metric.error(
            f"returned numbers from {smallest:g} to {largest:g}, outside of its range, "
            f"{metric.low:g} to {metric.high:g}, which bounds its intervals: declare low=… and "
            "high=…"
        )
    return ImageValues(outcomes.conditions, values, metric.low, metric.high)


def _rows(
    found: Mapping[str, Estimates], conditions: Sequence[str], benchmark: Benchmark
) -> Iterator[tuple[tuple[Scope, str, str], Estimate]]:
    """The table's rows: by condition, by corruption, and over all."""
    scopes: list[tuple[Scope, Sequence[str]]] = [
        ("condition", conditions),
        ("corruption", benchmark.corruptions),
        ("benchmark", [benchmark.name]),
    ]
    for scope, names in scopes:
        for name in names:
            for metric, estimates in found.items():
                if (scope, name) in estimates:
                    key = scope, name, METRICS[metric].name_in(scope)
                    yield key, estimates[scope, name]


def _reference_errors(
    reference: Reference | pa.Table | ReferenceErrors,
    outcomes: OutcomeMatrix,
    benchmark: Benchmark,
) -> ReferenceErrors:
    if isinstance(reference, pa.Table):
        theirs = outcome_matrix(reference, outcomes.conditions)
        check_same_images(outcomes, theirs)
        return image_values(METRICS["error"], theirs)
    if not isinstance(reference, Reference):
        return reference
    if missing := reference.lacks(benchmark.conditions):
        raise InputError(
            f"the errors of {reference.model} lack {', '.join(missing)}", where="reference"
        )
    return reference.errors_under(benchmark.conditions)


def _name(reference: Reference | pa.Table | ReferenceErrors, name: str | None) -> str | None:
    if reference is None:
        return None
    if isinstance(reference, Reference):
        source = f"{reference.model} ({reference.source})"
        return name or f"{source}, whose errors are taken as exact"
    return name or "the reference run"
