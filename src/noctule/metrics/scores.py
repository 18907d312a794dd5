"""All scores of one run on one benchmark."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import CLEAN, Benchmark, Reference
from noctule.errors import InputError
from noctule.metrics.calibration import calibration_errors
from noctule.metrics.corruption_errors import (
    ErrorTable,
    ReferenceErrors,
    condition_estimates,
    corruption_errors,
)
from noctule.metrics.estimates import Estimate, bootstrap_settings, complement
from noctule.metrics.outcome_matrix import OutcomeMatrix, check_same_images, outcome_matrix
from noctule.metrics.results import ConditionScores, CorruptionScores, Scores


def score(
    rows: pa.Table,
    benchmark: Benchmark,
    *,
    reference: Reference | pa.Table | ReferenceErrors = None,
    reference_name: str | None = None,
    no_reference_reason: str | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Scores:
    """Score a run; the formulas are in `noctule.metrics`.

    Args:
        rows: outcome rows with at least `COLUMNS`, in any order.
        benchmark: its conditions must be among the rows'; others are left out. Clean ones may
            be absent altogether, which leaves relative CE undefined.
        reference: What CE is relative to: errors that are taken as exact, or a reference
            model's outcomes on the same images, as rows or in the order of the sorted image
            ids; None leaves CE undefined.
        reference_name: what to call the reference.
        no_reference_reason: why there is none, shown in the place of CE.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples for the calibration error, up to 100,000; 0
            gives it no interval. The other intervals need none.
        confidence: Confidence of the intervals, in (0, 1).

    Raises:
        InputError: rows are missing or double, the reference lacks a condition or has other
            images, or a setting is out of its range.
    """
    seed, resamples, confidence = bootstrap_settings(seed, resamples, confidence)
    names = [str(condition) for condition in benchmark.conditions]
    if not pc.any(pc.equal(rows["condition"], CLEAN)).as_py():
        names.remove(CLEAN)
    outcomes = outcome_matrix(rows, names)
    no_reference_reason = no_reference_reason or "no reference errors were given"
    found = corruption_errors(
        ErrorTable(names, outcomes.wrong),
        benchmark,
        _reference_errors(reference, outcomes, benchmark),
        no_reference_reason=no_reference_reason,
        confidence=confidence,
    )
    conditions = _conditions(outcomes, found.conditions, seed, resamples, confidence)
    return Scores(
        benchmark=benchmark.name,
        metric=benchmark.metric,
        num_images=len(outcomes.image_ids),
        clean=conditions.pop(CLEAN, None),
        conditions=tuple(conditions.values()),
        corruptions=tuple(
            CorruptionScores(
                name, found.errors[name], found.ces[name], found.relative_ces[name]
            )
            for name in benchmark.corruptions
        ),
        mean_error=found.mean_error,
        mce=found.mce,
        relative_mce=found.relative_mce,
        reference=_name(reference, reference_name),
        no_reference_reason=no_reference_reason if reference is None else None,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _reference_errors(
    reference: Reference | pa.Table | ReferenceErrors,
    outcomes: OutcomeMatrix,
    benchmark: Benchmark,
) -> ReferenceErrors:
    if isinstance(reference, pa.Table):
        theirs = outcome_matrix(reference, outcomes.conditions)
        check_same_images(outcomes, theirs)
        return ErrorTable(theirs.conditions, theirs.wrong)
    if not isinstance(reference, Reference):
        return reference
    if missing := reference.lacks(benchmark.conditions):
        raise InputError(
            f"the errors of {reference.model} lack {', '.join(missing)}", where="reference"
        )
    return reference.errors_under(benchmark.conditions)


def _conditions(
    outcomes: OutcomeMatrix,
    errors: Mapping[str, Estimate],
    seed: int,
    resamples: int,
    confidence: float,
) -> dict[str, ConditionScores]:
    top5 = condition_estimates(ErrorTable(outcomes.conditions, outcomes.wrong_top5), confidence)
    eces = calibration_errors(outcomes, seed=seed, resamples=resamples, confidence=confidence)
    return {
        name: ConditionScores(
            condition=name,
            num_images=len(outcomes.image_ids),
            accuracy=complement(errors[name]),
            error=errors[name],
            top5_error=top5[name],
            ece=ece,
        )
        for name, ece in zip(outcomes.conditions, eces, strict=True)
    }


def _name(reference: Reference | pa.Table | ReferenceErrors, name: str | None) -> str | None:
    if reference is None:
        return None
    if isinstance(reference, Reference):
        source = f"{reference.model} ({reference.source})"
        return name or f"{source}, whose errors are taken as exact"
    return name or "the reference run"
