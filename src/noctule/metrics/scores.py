"""All scores of one run on one benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from noctule.benchmarks import CLEAN, Benchmark, Reference
from noctule.errors import InputError
from noctule.metrics.calibration import bin_gaps, ece_from_means
from noctule.metrics.corruption_errors import (
    corruption_error,
    corruption_errors,
    mean_of,
    relative_ce,
)
from noctule.metrics.estimates import Sampled, Samples, resampled_means
from noctule.metrics.outcome_matrix import OutcomeMatrix, check_same_images, outcome_matrix
from noctule.metrics.results import ConditionScores, CorruptionScores, Scores


def score(
    rows: pa.Table,
    benchmark: Benchmark,
    *,
    reference: Reference | pa.Table | None = None,
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
        reference: what CE is relative to: published errors, taken as exact, or the outcome
            rows of a reference model on the same images; None leaves CE undefined.
        reference_name: what to call the reference.
        no_reference_reason: why there is none, shown in the place of CE.
        seed: of the bootstrap.
        resamples: bootstrap resamples; 0 gives no intervals.
        confidence: of the intervals, in (0, 1).

    Raises:
        InputError: rows are missing or double, the reference lacks a condition or has other
            images, or a setting is out of its range.
    """
    _check_settings(resamples, confidence)
    names = [str(condition) for condition in benchmark.conditions]
    if not pc.any(pc.equal(rows["condition"], CLEAN)).as_py():
        names.remove(CLEAN)
    outcomes = outcome_matrix(rows, names)
    other = outcome_matrix(reference, names) if isinstance(reference, pa.Table) else None
    if other is not None:
        check_same_images(outcomes, other)
    num_images = len(outcomes.image_ids)
    # The resamples of a single image are all alike: no interval is better than one of width 0.
    means = _means(outcomes, other, seed=seed, resamples=resamples if num_images > 1 else 0)
    if isinstance(reference, Reference):
        published = _published(reference, benchmark)
        means = replace(means, reference_error=published)
    no_reference_reason = no_reference_reason or "no reference errors were given"
    errors = corruption_errors(means.error, benchmark)
    ces = _ces(means, benchmark, no_reference_reason)
    relative_ces = _relative_ces(means, benchmark, no_reference_reason)
    conditions = {
        name: _condition_scores(name, means, confidence, num_images) for name in names
    }
    return Scores(
        benchmark=benchmark.name,
        metric=benchmark.metric,
        num_images=num_images,
        clean=conditions.pop(CLEAN, None),
        conditions=tuple(conditions.values()),
        corruptions=tuple(
            CorruptionScores(
                name,
                Sampled(errors[name]).estimate(confidence),
                ces[name].estimate(confidence),
                relative_ces[name].estimate(confidence),
            )
            for name in benchmark.corruptions
        ),
        mean_error=Sampled(np.mean(list(errors.values()), axis=0)).estimate(confidence),
        mce=mean_of(ces, "CE").estimate(confidence),
        relative_mce=mean_of(relative_ces, "relative CE").estimate(confidence),
        reference=_name(reference, reference_name),
        no_reference_reason=no_reference_reason if reference is None else None,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


@dataclass(frozen=True)
class _Means:
    """Means over images, on the sample and on each resample, by condition."""

    error: Mapping[str, Samples]
    top5_error: Mapping[str, Samples]
    ece: Mapping[str, Samples]
    reference_error: Mapping[str, Samples] | None


def _means(
    outcomes: OutcomeMatrix, reference: OutcomeMatrix | None, *, seed: int, resamples: int
) -> _Means:
    """Everything at once, so that one resample serves all of it."""
    flags = [outcomes.wrong, outcomes.wrong_top5]
    if reference is not None:
        flags.append(reference.wrong)
    blocks = [*(sparse.csr_array(flag, dtype=np.float64) for flag in flags), bin_gaps(outcomes)]
    means = resampled_means(sparse.hstack(blocks, format="csr"), seed=seed, resamples=resamples)
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    *rates, gaps = np.split(means, ends, axis=1)
    names = outcomes.conditions
    error, top5_error, *others = (_by_name(names, rate) for rate in rates)
    ece = _by_name(names, ece_from_means(gaps))
    return _Means(error, top5_error, ece, others[0] if others else None)


def _by_name(names: Sequence[str], means: NDArray[np.float64]) -> dict[str, Samples]:
    return dict(zip(names, means.T, strict=True))


def _published(reference: Reference, benchmark: Benchmark) -> dict[str, Samples]:
    """Errors that are taken as exact: the same on every resample."""
    if missing := reference.lacks(benchmark.conditions):
        raise InputError(
            f"the errors of {reference.model} lack {', '.join(missing)}", where="reference"
        )
    errors = reference.errors_under(benchmark.conditions)
    return {name: np.array([error]) for name, error in errors.items()}


def _ces(means: _Means, benchmark: Benchmark, no_reference: str) -> dict[str, Sampled]:
    if means.reference_error is None:
        return dict.fromkeys(benchmark.corruptions, Sampled(None, no_reference))
    ours = corruption_errors(means.error, benchmark)
    theirs = corruption_errors(means.reference_error, benchmark)
    return {name: corruption_error(ours[name], theirs[name]) for name in ours}


def _relative_ces(means: _Means, benchmark: Benchmark, no_reference: str) -> dict[str, Sampled]:
    if means.reference_error is None:
        return dict.fromkeys(benchmark.corruptions, Sampled(None, no_reference))
    if CLEAN not in means.error or CLEAN not in means.reference_error:
        reason = "the clean images were not evaluated"
        return dict.fromkeys(benchmark.corruptions, Sampled(None, reason))
    ours = corruption_errors(means.error, benchmark)
    theirs = corruption_errors(means.reference_error, benchmark)
    clean = means.error[CLEAN], means.reference_error[CLEAN]
    return {
        name: relative_ce(ours[name], clean[0], theirs[name], clean[1])
        for name in benchmark.corruptions
    }


def _condition_scores(
    name: str, means: _Means, confidence: float, num_images: int
) -> ConditionScores:
    error = means.error[name]
    return ConditionScores(
        condition=name,
        num_images=num_images,
        accuracy=Sampled(1 - error).estimate(confidence),
        error=Sampled(error).estimate(confidence),
        top5_error=Sampled(means.top5_error[name]).estimate(confidence),
        ece=Sampled(means.ece[name]).estimate(confidence),
    )


def _name(reference: Reference | pa.Table | None, name: str | None) -> str | None:
    if reference is None:
        return None
    if isinstance(reference, Reference):
        return name or f"{reference.model} ({reference.source})"
    return name or "the reference run"


def _check_settings(resamples: int, confidence: float) -> None:
    if resamples < 0:
        raise InputError(f"{resamples} is less than 0", where="resamples")
    if not 0 < confidence < 1:
        raise InputError(
            f"{confidence} is not between 0 and 1", where="confidence", remedy="Say 0.95."
        )
