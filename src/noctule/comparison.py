"""From two run folders to what differs between their models: paired, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pyarrow.compute as pc

from noctule.arguments import choice, real_number
from noctule.benchmarks import CLEAN, Benchmark
from noctule.errors import InputError
from noctule.metrics import COLUMNS
from noctule.metrics.intervals import difference_p
from noctule.metrics.mean_differences import mean_differences, mean_error_difference
from noctule.metrics.means import ImageValues
from noctule.metrics.outcome_matrix import OutcomeMatrix, check_same_images, outcome_matrix
from noctule.metrics.paired import family_weights, holm, paired_differences
from noctule.metrics.paired_results import By, Comparison, MeanDifference, PairedDifference
from noctule.scoring import KnownReference, published_reference
from noctule.store import RunStore
from noctule.store.comparability import check_reference, check_same_pixels

__all__ = ["By", "Comparison", "compare", "reasons_it_is_worse"]

# A difference of error rates above a bound by less than this many points is rounding.
_ROUNDING_POINTS = 1e-9


def compare(
    run_a: str | Path | RunStore,
    run_b: str | Path | RunStore,
    *,
    reference: str | Path | RunStore | None = None,
    by: By = "corruption",
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
        by: test corruptions, their severities together, or every condition.
        confidence: Confidence of the intervals; p-values are held against 1 − confidence.

    Raises:
        InputError: a run is unfinished, they are of other data, another seed or mode, or have
            no corruption in common; or a setting is out of its range.
    """
    by = choice(by, "by", get_args(By))
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    opened = _opened(run_a), _opened(run_b)
    benchmark, left_out = _shared(*opened)
    a, b = (_narrowed(store, benchmark) for store in opened)
    _check_comparable(a, b)
    names = a.identity.conditions
    check_same_pixels(*opened)
    outcomes = _outcomes(opened[0], names), _outcomes(opened[1], names)
    _check_images(outcomes, (a, b))
    relative_to = _reference(a, outcomes[0], reference, benchmark)
    mce, relative_mce = mean_differences(
        outcomes,
        relative_to.errors,
        benchmark,
        no_reference_reason=relative_to.why_none or "",
        confidence=confidence,
    )
    whole, clean, differences = differences_of(outcomes, benchmark, by, confidence)
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
        clean=clean,
        differences=differences,
        mean_error=mean_error_difference(whole),
        mce=mce,
        relative_mce=relative_mce,
        reference=relative_to.name,
        no_reference_reason=relative_to.why_none,
        left_out=left_out,
        confidence=confidence,
    )


def differences_of(
    outcomes: tuple[OutcomeMatrix, OutcomeMatrix],
    benchmark: Benchmark,
    by: By,
    confidence: float,
) -> tuple[PairedDifference, PairedDifference | None, tuple[PairedDifference, ...]]:
    """The differences of the mean error, of the clean error if it is known, and of the others.

    They are tested as one family.
    """
    names = outcomes[0].conditions
    groups = {CLEAN: [CLEAN]} if CLEAN in names else {}
    groups |= _groups(benchmark, by)
    corrupted = {"mean error": [name for name in names if name != CLEAN]}
    whole, *others = paired_differences(
        *outcomes,
        corrupted | groups,
        weights=family_weights(len(groups)),
        confidence=confidence,
    )
    clean = others.pop(0) if CLEAN in groups else None
    return whole, clean, tuple(others)


def reasons_it_is_worse(comparison: Comparison, points: float) -> list[str]:
    """In what B is worse than A by more than this many points.

    Counted are the mean error over the corruptions, the clean error, and the error under each
    corruption (or condition). Each is tested against the hypothesis that B is worse by `points`
    or less, and all tests are corrected together as those of `compare`: if B is worse by more
    in nothing, the chance of any reason is at most 1 − confidence.

    Args:
        comparison: Comparison of B with A.
        points: Percentage points that B may be worse by.

    Returns:
        One sentence for each; none means that B is not shown to be worse.

    Raises:
        InputError: `points` is not a number from 0 to 100.
    """
    points = real_number(points, "--fail-if-worse", low=0, high=100)
    named: list[tuple[str, PairedDifference | MeanDifference]]
    named = [("the mean error", comparison.mean_error)]
    if comparison.clean is not None:
        named.append(("the clean error", comparison.clean))
    named += [(f"the error under {one.name}", one) for one in comparison.differences]
    p_values = [_p_of_more_than(one, points, comparison.num_images) for _, one in named]
    adjusted = holm(p_values, family_weights(len(named) - 1))
    return [
        f"{what} is {one.points.value:.2f} points higher (p = {p_value:.2g})"
        for (what, one), p_value in zip(named, adjusted, strict=True)
        if p_value < 1 - comparison.confidence
    ]


def _p_of_more_than(
    one: PairedDifference | MeanDifference, points: float, num_images: int
) -> float:
    """p-value of "B is worse by at most `points`"; never below that of 0 points."""
    value, spread, p_value = one.points.value, one.spread_points, one.p_value
    assert value is not None
    assert spread is not None
    assert p_value is not None
    if value <= points + _ROUNDING_POINTS:
        return 1.0
    squares = num_images * (spread / 100) ** 2
    return max(p_value, difference_p(value / 100, squares, num_images, points / 100))


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


def _reference(
    a: RunStore,
    outcomes_a: OutcomeMatrix,
    reference: str | Path | RunStore | None,
    benchmark: Benchmark,
) -> KnownReference:
    """The outcomes of the reference run, or else the published errors for this data."""
    if reference is None:
        identity = a.identity
        return published_reference(
            benchmark, identity.dataset, identity.seed, outcomes_a.image_ids
        )
    store = _opened(reference)
    check_reference(a, store)
    check_same_pixels(RunStore.open(a.folder), store)
    outcomes = _outcomes(store, outcomes_a.conditions)
    check_same_images(outcomes_a, outcomes)
    table = ImageValues(outcomes.conditions, outcomes.wrong)
    return KnownReference(table, f"{_model(store)} ({store.folder})")


def _groups(benchmark: Benchmark, by: By) -> dict[str, list[str]]:
    groups = {
        name: [str(one) for one in benchmark.conditions_of_corruption(name)]
        for name in benchmark.corruptions
    }
    if by == "corruption":
        return groups
    return {name: [name] for severities in groups.values() for name in severities}


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
