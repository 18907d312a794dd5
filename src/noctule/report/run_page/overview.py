"""Runs of the same images together: their scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN, Benchmark
from noctule.errors import InputError
from noctule.metrics import CorruptionScores, Estimate
from noctule.metrics.corruption_errors import (
    ErrorTable,
    condition_estimates,
    corruption_errors,
)
from noctule.metrics.outcome_matrix import Places, check_possible, places_of
from noctule.report.run_page.opening import Run
from noctule.scoring import KnownReference, published_reference
from noctule.store import RunStore

_PLACE = ("image_id", "condition")


@dataclass(frozen=True)
class Summary:
    """The scores of one run; errors are fractions, ratios in percent, as in `metrics.Scores`.

    Attributes:
        run: whose they are.
        errors: Error by condition.
        rises: Error less the clean error by corrupted condition; empty without clean images.
        clean: error on the uncorrupted images, or None where there were none.
        corruptions: scores of each corruption, in the benchmark's order.
        mean_error, mce, relative_mce: their means.
    """

    run: Run
    errors: Mapping[str, Estimate]
    rises: Mapping[str, Estimate]
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
    """Of the intervals; see `score_run`."""

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
        settings: Settings of the intervals.

    Raises:
        InputError: rows are missing or double, or the reference has other images.
    """
    benchmark = runs[0].benchmark
    stores = [run.store for run in runs]
    if reference is not None:
        stores.append(RunStore.open(reference))
    conditions, confidence = runs[0].conditions, settings.confidence
    image_ids, wrong = _all_wrong(stores, conditions)
    if reference is not None:
        name = f"{stores[-1].identity.model_title} ({stores[-1].folder})"
        known = KnownReference(ErrorTable(conditions, wrong.pop()), name)
    else:
        identity = stores[0].identity
        known = published_reference(benchmark, identity.dataset, identity.seed, image_ids)
    return Group(
        benchmark=benchmark,
        summaries=tuple(
            _summary(run, ErrorTable(conditions, one), known, confidence)
            for run, one in zip(runs, wrong, strict=True)
        ),
        num_images=len(wrong[0]),
        reference=known.name,
        no_reference_reason=known.why_none,
        confidence=confidence,
    )


def _all_wrong(
    stores: Sequence[RunStore], conditions: Sequence[str]
) -> tuple[pa.StringArray, list[NDArray[np.bool_]]]:
    """The image ids, and whether each run errs, bool (images, conditions), in their order.

    Rows are joined by id. As runs of the same data mostly have their rows in the same order,
    the join of one run serves the next if that has the very same ids and conditions.
    """
    known: pa.Table | None = None
    places: Places | None = None
    wrong = []
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
        wrong.append(rank > 1)
    assert places is not None
    return places.image_ids, wrong


def _summary(
    run: Run,
    table: ErrorTable,
    reference: KnownReference,
    confidence: float,
) -> Summary:
    found = corruption_errors(
        table,
        run.benchmark,
        reference.errors,
        no_reference_reason=reference.why_none or "",
        confidence=confidence,
    )
    return Summary(
        run=run,
        errors=found.conditions,
        rises=_rises(table, confidence),
        clean=found.conditions.get(CLEAN),
        corruptions=tuple(
            CorruptionScores(name, error, found.ces[name], found.relative_ces[name])
            for name, error in found.errors.items()
        ),
        mean_error=found.mean_error,
        mce=found.mce,
        relative_mce=found.relative_mce,
    )


def _rises(table: ErrorTable, confidence: float) -> dict[str, Estimate]:
    names = list(table.conditions)
    if CLEAN not in names:
        return {}
    values = table.values.astype(np.int8)
    clean = values[:, names.index(CLEAN), None]
    rises = condition_estimates(ErrorTable(names, values - clean), confidence)
    rises.pop(CLEAN)
    return rises
