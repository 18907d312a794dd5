"""From two run folders to what differs between their models: paired, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow.compute as pc

from noctule.benchmarks import CLEAN, Benchmark, why_no_reference
from noctule.errors import InputError, unknown_name
from noctule.metrics import COLUMNS
from noctule.metrics.estimates import Samples
from noctule.metrics.mean_differences import mean_differences, paired_means
from noctule.metrics.outcome_matrix import OutcomeMatrix, check_same_images, outcome_matrix
from noctule.metrics.paired import paired_differences
from noctule.metrics.paired_results import By, Comparison
from noctule.scoring import check_reference, check_same_pixels, name_of_reference
from noctule.store import RunStore

__all__ = ["By", "Comparison", "compare", "reasons_it_is_worse"]

# A difference of error rates above a bound by less than this many points is rounding.
_ROUNDING_POINTS = 1e-9


def compare(
    run_a: str | Path | RunStore,
    run_b: str | Path | RunStore,
    *,
    reference: str | Path | RunStore | None = None,
    by: By = "corruption",
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two finished runs from their stored rows; no model is run.

    The tests and their sources are in `noctule.metrics.paired`. Only corruptions that both runs
    have under the same conditions are compared.

    Args:
        run_a: the run of the baseline, or its folder.
        run_b: the run of the candidate.
        reference: a run on the same images that CE is relative to. By default the published
            reference errors, if they were measured on this data.
        by: test corruptions, their levels together, or every condition.
        seed: of the bootstrap.
        resamples: bootstrap resamples; 0 gives no intervals.
        confidence: of the intervals; p-values are held against 1 − confidence.

    Raises:
        InputError: a run is unfinished, they are of other data, another seed or mode, or have
            no corruption in common; or a setting is out of its range.
    """
    _check_settings(by, resamples, confidence)
    opened = _opened(run_a), _opened(run_b)
    benchmark, left_out = _shared(*opened)
    a, b = (_narrowed(store, benchmark) for store in opened)
    _check_comparable(a, b)
    names = a.identity.conditions
    check_same_pixels(*opened)
    outcomes = _outcomes(opened[0], names), _outcomes(opened[1], names)
    _check_images(outcomes, (a, b))
    relative_to = _reference(a, outcomes[0], reference, benchmark)
    means = paired_means(*outcomes, relative_to.outcomes, seed=seed, resamples=resamples)
    if relative_to.published is not None:
        means = means._replace(reference_error=relative_to.published)
    mean_error, mce, relative_mce = mean_differences(
        outcomes,
        means,
        benchmark,
        no_reference_reason=relative_to.why_none or "",
        confidence=confidence,
    )
    clean, differences = (
        paired_differences(*outcomes, groups, means.difference, confidence=confidence)
        for groups in ({CLEAN: [CLEAN]} if CLEAN in names else {}, _groups(benchmark, by))
    )
    corrupted = {"mean error": [name for name in names if name != CLEAN]}
    (whole,) = paired_differences(*outcomes, corrupted, means.difference, confidence=confidence)
    differing = outcomes[0].wrong != outcomes[1].wrong
    return Comparison(
        benchmark=benchmark.name,
        dataset=str(a.identity.dataset.get("name")),
        model_a=_model(a),
        model_b=_model(b),
        run_a=str(a.folder),
        run_b=str(b.folder),
        num_images=len(differing),
        num_outcomes=differing.size,
        num_differing=int(differing.sum()),
        by=by,
        clean=clean[0] if clean else None,
        differences=differences,
        mean_error=replace(mean_error, p_value=whole.p_value),
        mce=mce,
        relative_mce=relative_mce,
        reference=relative_to.name,
        no_reference_reason=relative_to.why_none,
        left_out=left_out,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def reasons_it_is_worse(comparison: Comparison, points: float) -> list[str]:
    """In what B is worse than A by more than so many points, where that is real.

    Counted are the mean error over the corruptions and the clean error, if their p-values say
    so, and the error under each corruption (or condition), if its corrected one does.

    Args:
        comparison: of B against A.
        points: percentage points that B may be worse by.

    Returns:
        One sentence for each; none means that B is not worse.

    Raises:
        InputError: `points` is negative or not a number.
    """
    if not points >= 0:
        raise InputError(
            f"{points} is not 0 or more",
            where="--fail-if-worse",
            remedy="Say 0.5 for half a point.",
        )
    bound, mean, clean = points + _ROUNDING_POINTS, comparison.mean_error, comparison.clean
    found = [("the mean error", mean.points.value, mean.p_value, comparison.mean_error_is_real)]
    if clean is not None:
        found.append(("the clean error", clean.points.value, clean.p_holm, clean.real))
    found += [
        (f"the error under {one.name}", one.points.value, one.p_holm, one.real)
        for one in comparison.differences
    ]
    return [
        f"{what} is {value:.2f} points higher (p = {p_value:.2g})"
        for what, value, p_value, is_real in found
        if is_real and value is not None and value > bound
    ]


def _check_settings(by: str, resamples: int, confidence: float) -> None:
    if by not in get_args(By):
        raise unknown_name("way to compare", by, get_args(By), where="by")
    if resamples < 0:
        raise InputError(f"{resamples} is less than 0", where="resamples")
    if not 0 < confidence < 1:
        raise InputError(
            f"{confidence} is not between 0 and 1", where="confidence", remedy="Say 0.95."
        )


def _opened(run: str | Path | RunStore) -> RunStore:
    store = run if isinstance(run, RunStore) else RunStore.open(run)
    try:
        _ = store.identity.dataset["fingerprint"], store.identity.seed, _model(store)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"its record lacks what says on which images it was: {error}", where=store.folder
        ) from error
    return store


def _model(store: RunStore) -> str:
    return store.identity.model_title


class _RelativeTo(NamedTuple):
    outcomes: OutcomeMatrix | None = None
    published: dict[str, Samples] | None = None
    name: str | None = None
    why_none: str | None = None


def _reference(
    a: RunStore,
    outcomes_a: OutcomeMatrix,
    reference: str | Path | RunStore | None,
    benchmark: Benchmark,
) -> _RelativeTo:
    """The outcomes of the reference run, or else the published errors for this data."""
    if reference is not None:
        store = _opened(reference)
        check_reference(a, store)
        check_same_pixels(RunStore.open(a.folder), store)
        outcomes = _outcomes(store, outcomes_a.conditions)
        check_same_images(outcomes_a, outcomes)
        return _RelativeTo(outcomes, name=f"{_model(store)} ({store.folder})")
    domain = a.identity.dataset.get("domain")
    published = benchmark.reference_for(domain)
    if published is None:
        return _RelativeTo(why_none=why_no_reference(benchmark, domain))
    exact = published.errors_under(benchmark.conditions)
    errors = {name: np.array([error]) for name, error in exact.items()}
    return _RelativeTo(published=errors, name=name_of_reference(published, benchmark, a))


def _groups(benchmark: Benchmark, by: By) -> dict[str, list[str]]:
    groups = {
        name: [str(one) for one in benchmark.conditions_of_corruption(name)]
        for name in benchmark.corruptions
    }
    if by == "corruption":
        return groups
    return {name: [name] for levels in groups.values() for name in levels}


def _shared(a: RunStore, b: RunStore) -> tuple[Benchmark, tuple[str, ...]]:
    """A's benchmark with the corruptions of the same conditions in B, and the others' names."""
    ours, theirs = (
        Benchmark.from_dict(one.identity.benchmark, where=one.folder) for one in (a, b)
    )
    shared = [
        name
        for name in ours.corruptions
        if name in theirs.corruptions
        and ours.conditions_of_corruption(name) == theirs.conditions_of_corruption(name)
    ]
    if not shared:
        raise InputError(
            f"this run has no corruption under the same conditions as {a.folder}",
            where=b.folder,
            remedy="Evaluate both models on the same benchmark.",
        )
    both = dict.fromkeys((*ours.corruptions, *theirs.corruptions))
    left_out = tuple(name for name in both if name not in shared)
    return Benchmark.from_dict(_restricted(ours, shared), where=a.folder), left_out


def _restricted(benchmark: Benchmark, corruptions: list[str]) -> dict[str, Any]:
    data = benchmark.to_dict() | {"corruptions": corruptions}
    if tables := {key: one for key, one in benchmark.tables.items() if key in corruptions}:
        return data | {"tables": tables}
    data.pop("tables", None)
    return data


def _narrowed(store: RunStore, benchmark: Benchmark) -> RunStore:
    """The run as if it had been of the shared corruptions only; its tables stay its own."""
    own = Benchmark.from_dict(store.identity.benchmark, where=store.folder)
    narrow = _restricted(own, list(benchmark.corruptions))
    return RunStore(store.folder, replace(store.identity, benchmark=narrow))


def _check_comparable(a: RunStore, b: RunStore) -> None:
    try:
        check_reference(a, b)
    except InputError as error:
        raise InputError(
            error.what,
            where=error.where,
            remedy="Evaluate both models on the same data, with the same seed and mode.",
        ) from error


def _outcomes(store: RunStore, names: Sequence[str]) -> OutcomeMatrix:
    return outcome_matrix(store.rows(names, columns=COLUMNS), names)


def _check_images(outcomes: Sequence[OutcomeMatrix], stores: Sequence[RunStore]) -> None:
    for one, other, store in zip(outcomes, reversed(outcomes), stores, strict=True):
        ids = other.image_ids
        lacking = ids.filter(pc.invert(pc.is_in(ids, value_set=one.image_ids)))
        if len(lacking):
            raise InputError(
                f"this run lacks {len(lacking):,} of the other's {len(ids):,} images, "
                f"first '{lacking[0]}'",
                where=store.folder,
                remedy="Evaluate both models on the same images.",
            )
