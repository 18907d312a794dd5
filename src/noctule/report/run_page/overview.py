"""Runs of the same pictures together: their scores, from one set of resamples for all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN, Benchmark, why_no_reference
from noctule.errors import InputError
from noctule.metrics import CorruptionScores, Estimate
from noctule.metrics.corruption_errors import (
    corruption_error,
    corruption_errors,
    mean_of,
    relative_ce,
)
from noctule.metrics.estimates import Sampled, Samples, resampled_rates
from noctule.metrics.outcome_matrix import Places, check_possible, places_of
from noctule.report.run_page.opening import Run
from noctule.scoring import name_of_reference
from noctule.store import RunStore

_PLACE = ("image_id", "condition")


@dataclass(frozen=True)
class Summary:
    """The scores of one run; errors are fractions, ratios in percent, as in `metrics.Scores`.

    Attributes:
        run: whose they are.
        errors: error by condition, on the sample and on each resample.
        clean: error on the uncorrupted images, or None where there were none.
        corruptions: scores of each corruption, in the benchmark's order.
        mean_error, mce, relative_mce: their means.
    """

    run: Run
    errors: Mapping[str, Samples]
    clean: Estimate | None
    corruptions: tuple[CorruptionScores, ...]
    mean_error: Estimate
    mce: Estimate
    relative_mce: Estimate


@dataclass(frozen=True)
class Group:
    """Runs of the same benchmark, mode and tables, on the same images, with the same seed.

    Attributes:
        benchmark: of all of them.
        summaries: one per run, in the order the runs were given.
        num_images: how many images each was evaluated on.
        reference: whose errors CE is relative to, or None.
        no_reference_reason: why there is none.
        confidence: of the intervals.
    """

    benchmark: Benchmark
    summaries: tuple[Summary, ...]
    num_images: int
    reference: str | None
    no_reference_reason: str | None
    confidence: float


class Settings(NamedTuple):
    """Of the bootstrap; see `score_run`."""

    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can be ranked together: same benchmark, data, images read, and seed."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        identity = run.store.identity
        skipped = sorted(image_id for image_id, _ in run.store.unreadable())
        data = identity.dataset["fingerprint"], identity.dataset["num_images"], skipped
        same = (dict(identity.benchmark), identity.conditions, identity.seed, *data)
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return list(groups.values())


def summarise(
    runs: Sequence[Run], *, reference: str | Path | None = None, settings: Settings
) -> Group:
    """The scores of runs of one group: for each the same numbers as `score_run` gives.

    Args:
        runs: of one group.
        reference: a run on the same images that CE is relative to, as in `score_run`.
        settings: of the bootstrap.

    Raises:
        InputError: rows are missing or double, or the reference has other images.
    """
    benchmark = runs[0].benchmark
    stores = [run.store for run in runs]
    if reference is not None:
        stores.append(RunStore.open(reference))
    num_images, rates = _resampled_errors(stores, runs[0].conditions, settings)
    relative_to: Mapping[str, Samples] | None = None
    name = reason = None
    domain = stores[0].identity.dataset["domain"]
    if reference is not None:
        relative_to = rates.pop()
        name = f"{stores[-1].identity.model_title} ({stores[-1].folder})"
    elif published := benchmark.reference_for(domain):
        exact = published.errors_under(benchmark.conditions)
        relative_to = {one: np.array([error]) for one, error in exact.items()}
        name = name_of_reference(published, benchmark, stores[0])
    else:
        reason = why_no_reference(benchmark, domain)
    return Group(
        benchmark=benchmark,
        summaries=tuple(
            _summary(run, errors, relative_to, reason or "", settings.confidence)
            for run, errors in zip(runs, rates, strict=True)
        ),
        num_images=num_images,
        reference=name,
        no_reference_reason=reason,
        confidence=settings.confidence,
    )


def _resampled_errors(
    stores: Sequence[RunStore], conditions: Sequence[str], settings: Settings
) -> tuple[int, list[dict[str, Samples]]]:
    """How many images; error by condition, on the sample and on each resample, for each run."""
    wrong: NDArray[np.bool_] | None = None
    for number, one in enumerate(_each_wrong(stores, conditions)):
        if wrong is None:
            wrong = np.empty((len(stores), *one.T.shape), np.bool_)
        wrong[number] = one.T
    assert wrong is not None
    flat = wrong.reshape(-1, wrong.shape[-1]).T
    # The resamples of a single image are all alike: no interval is better than one of width 0.
    resamples = settings.resamples if len(flat) > 1 else 0
    rates = resampled_rates(flat, seed=settings.seed, resamples=resamples)
    by_run = np.split(rates, len(stores), axis=1)
    return len(flat), [dict(zip(conditions, one.T, strict=True)) for one in by_run]


def _each_wrong(
    stores: Sequence[RunStore], conditions: Sequence[str]
) -> Iterator[NDArray[np.bool_]]:
    """Whether each run errs, bool (images, conditions); images in the same order for all.

    Rows are joined by id. As runs of the same data mostly have their rows in the same order,
    the join of one run serves the next if that has the very same ids and conditions.
    """
    known: pa.Table | None = None
    places: Places | None = None
    for store in stores:
        rows = store.rows(columns=(*_PLACE, "label_rank"))
        if known is None or places is None or not rows.select(_PLACE).equals(known):
            before, places = places, places_of(rows, conditions)
            known = rows.select(_PLACE)
            if before is not None and not before.image_ids.equals(places.image_ids):
                raise InputError(
                    f"its images are not those of {stores[0].folder}",
                    where=store.folder,
                    remedy="Evaluate both models on the same images.",
                )
        rank = places.matrix(rows["label_rank"])
        check_possible(places.image_ids, conditions, rank >= 1, "a rank below 1")
        yield rank > 1


def _summary(
    run: Run,
    errors: Mapping[str, Samples],
    relative_to: Mapping[str, Samples] | None,
    no_reference: str,
    confidence: float,
) -> Summary:
    ours = corruption_errors(errors, run.benchmark)
    ces = dict.fromkeys(ours, Sampled(None, no_reference))
    relative_ces = dict(ces)
    if relative_to is not None:
        theirs = corruption_errors(relative_to, run.benchmark)
        ces = {name: corruption_error(ours[name], theirs[name]) for name in ours}
        relative_ces = _relative_ces(ours, errors.get(CLEAN), theirs, relative_to.get(CLEAN))
    return Summary(
        run=run,
        errors=errors,
        clean=Sampled(errors[CLEAN]).estimate(confidence) if CLEAN in errors else None,
        corruptions=tuple(
            CorruptionScores(
                name,
                Sampled(ours[name]).estimate(confidence),
                ces[name].estimate(confidence),
                relative_ces[name].estimate(confidence),
            )
            for name in ours
        ),
        mean_error=Sampled(np.mean(list(ours.values()), axis=0)).estimate(confidence),
        mce=mean_of(ces, "CE").estimate(confidence),
        relative_mce=mean_of(relative_ces, "relative CE").estimate(confidence),
    )


def _relative_ces(
    ours: Mapping[str, Samples],
    clean: Samples | None,
    theirs: Mapping[str, Samples],
    their_clean: Samples | None,
) -> dict[str, Sampled]:
    if clean is None or their_clean is None:
        return dict.fromkeys(ours, Sampled(None, "the clean images were not evaluated"))
    return {name: relative_ce(ours[name], clean, theirs[name], their_clean) for name in ours}
