"""From run folders to scores, relative to the reference that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from noctule.benchmarks import CLEAN, Benchmark, Reference, why_no_reference
from noctule.benchmarks.references import shipped_outcomes
from noctule.errors import InputError, unknown_name
from noctule.metrics.estimates import bootstrap_settings
from noctule.metrics.means import ImageValues
from noctule.metrics.outcome_matrix import (
    KEYS,
    OutcomeMatrix,
    OutcomeReader,
    check_same_images,
    outcome_matrix,
)
from noctule.metrics.scores import (
    KnownReference,
    Scores,
    chosen_metrics,
    columns_of,
    score_outcomes,
)
from noctule.outcomes import SCHEMA
from noctule.remote import AnyPath
from noctule.store import RunStore
from noctule.store.comparability import check_reference, check_same_pixels

IMAGENET, IMAGENET_IMAGES = "imagenet-1k-val", 50_000


Run = str | AnyPath | RunStore


class Evaluation(NamedTuple):
    """A finished evaluation: the run folder with its rows, and the scores."""

    run: RunStore
    scores: Scores

    def __repr__(self) -> str:
        """The folder, and the scores in one line."""
        return f"Evaluation(run={str(self.run.folder)!r}, scores={self.scores!r})"

    def __str__(self) -> str:
        """The scores as a table, below the model and the data."""
        return f"{self.run.title}\n\n{self.scores}"

    def _repr_html_(self) -> str | None:
        """The scores for notebooks."""
        return self.scores._repr_html_()


def load_run(
    run: Run,
    *,
    reference: Run | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Evaluation:
    """A finished run as `noctule.evaluate` returned it: the store and the scores.

    Args:
        run: The run, or its folder.
        reference: See `score_runs`, as are the others.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples.
        confidence: Confidence of the intervals.

    Raises:
        InputError: The run is unfinished or damaged, or the reference does not fit.
    """
    store = _opened(run)
    settings: dict[str, Any] = {"seed": seed, "resamples": resamples, "confidence": confidence}
    return Evaluation(store, score_run(store, reference=reference, **settings))


def rows(
    run: Run, conditions: Sequence[str] | None = None, *, columns: Sequence[str] | None = None
) -> pa.Table:
    """The outcomes of a finished run: a row for each image and condition.

    The columns are those of `noctule.outcomes.SCHEMA`. `.to_pandas()` and `polars.from_arrow`
    make data frames of the table.

    Args:
        run: The run, or its folder.
        conditions: Names of the conditions, such as "clean" or "fog@3"; None for all.
        columns: Names of the columns; None for all.

    Raises:
        InputError: The run is unfinished or damaged, or lacks a condition or a column.
    """
    for name in columns or ():
        if name not in SCHEMA.names:
            raise unknown_name("column", name, SCHEMA.names, where="columns")
    return _opened(run).rows(conditions, columns=columns)


def score_run(
    run: Run,
    benchmark: Benchmark | None = None,
    reference: Run | None = None,
    *,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Scores:
    """Score one finished run; see `score_runs`."""
    (scores,) = score_runs(
        [run],
        benchmark,
        reference,
        metrics=metrics,
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )
    return scores


def score_runs(
    runs: Sequence[Run],
    benchmark: Benchmark | None = None,
    reference: Run | None = None,
    *,
    metrics: Sequence[str] | None = None,
    same_images: bool = False,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> list[Scores]:
    """Score finished runs from their stored rows; no model is run.

    Args:
        runs: The runs, or their folders.
        benchmark: Conditions that are scored; by default those of each run's own benchmark.
        reference: A run on the same images that CE is relative to. By default the published
            reference errors, if they were measured on a run's data; if none were, CE is
            undefined and the scores say why.
        metrics: Names of the metrics; None is all of them.
        same_images: Refuse a run whose images are not those of the first.
        seed: Seed of the bootstrap of the calibration errors.
        resamples: Number of bootstrap resamples for them, up to 100,000.
        confidence: Confidence of the intervals.

    Raises:
        InputError: A run is unfinished, or the reference is of other data or another seed.
    """
    settings = bootstrap_settings(seed, resamples, confidence)
    chosen = chosen_metrics(metrics)
    stores = [_opened(run) for run in runs]
    other = None if reference is None else ReferenceRun.read(_opened(reference), stores)
    reader, found = OutcomeReader(), []
    first: OutcomeMatrix | None = None
    for store in stores:
        spec = benchmark or Benchmark.from_dict(store.identity.benchmark, where=store.folder)
        names = _conditions(spec, store)
        outcomes = reader.read(store.rows(names, columns=columns_of(chosen)), names)
        first = first or outcomes
        if same_images and not outcomes.image_ids.equals(first.image_ids):
            raise InputError(
                f"its images are not those of {stores[0].folder}",
                where=store.folder,
                remedy="Evaluate both models on the same images.",
            )
        known = known_reference(store, outcomes, spec, other)
        population = drawn_from(store.identity.dataset)
        found.append(score_outcomes(outcomes, spec, known, chosen, settings, population))
    return found


def drawn_from(dataset: Mapping[str, Any]) -> int | None:
    """The number of images that a run's were drawn from, by keys: those of `--limit`.

    Images that a file lists were chosen by somebody, perhaps for their errors, and do not stand
    for the others.
    """
    subset = dataset.get("subset", {})
    return int(subset["num_images"]) if "limit" in subset else None


def _opened(run: Run) -> RunStore:
    return run if isinstance(run, RunStore) else RunStore.open(run)


def _conditions(benchmark: Benchmark, store: RunStore) -> tuple[str, ...]:
    """Names of a benchmark's conditions, without the clean one if the run lacks it."""
    names = [str(one) for one in benchmark.conditions]
    return tuple(one for one in names if one != CLEAN or one in store.identity.conditions)


class ReferenceRun(NamedTuple):
    """A run that CE is relative to, with its outcomes."""

    store: RunStore
    outcomes: OutcomeMatrix

    @classmethod
    def read(cls, store: RunStore, runs: Sequence[RunStore]) -> ReferenceRun:
        """The run with all its outcomes, if the errors of these runs may be relative to it.

        Raises:
            InputError: See `check_reference` and `check_same_pixels`.
        """
        for run in runs:
            check_reference(run, store)
            check_same_pixels(run, store)
        rows = store.rows(columns=(*KEYS, "label_rank"))
        return cls(store, outcome_matrix(rows, store.identity.conditions))


def known_reference(
    store: RunStore,
    outcomes: OutcomeMatrix,
    benchmark: Benchmark,
    reference: ReferenceRun | None,
) -> KnownReference:
    """What a run's CE is relative to: a reference run, or else the published errors.

    Raises:
        InputError: The reference run has other images.
    """
    if reference is None:
        identity = store.identity
        return published_reference(
            benchmark, identity.dataset, identity.seed, outcomes.image_ids
        )
    check_same_images(outcomes, reference.outcomes)
    theirs = ImageValues(reference.outcomes.conditions, reference.outcomes.wrong)
    name = f"{reference.store.identity.model_title} ({reference.store.folder})"
    return KnownReference(theirs, name)


def published_reference(
    benchmark: Benchmark, dataset: Mapping[str, Any], seed: int, image_ids: pa.StringArray
) -> KnownReference:
    """The published errors for this data: by image where those are known, or else as exact.

    Args:
        benchmark: Benchmark of the run.
        dataset: Record of the run's data; `domain` and `num_images` count.
        seed: Seed of the run's corruptions.
        image_ids: Ids of the images that the run has outcomes of, sorted.
    """
    domain = dataset.get("domain")
    reference = benchmark.reference_for(domain)
    if reference is None:
        return KnownReference(None, why_none=why_no_reference(benchmark, domain))
    name = f"{reference.model} ({reference.source})"
    outcomes = shipped_outcomes(reference)
    if outcomes is None:
        caveats = _caveats(reference, benchmark, int(dataset["num_images"]))
    elif outcomes.seed != seed:
        caveats = [f"they are of seed {outcomes.seed}, this run is of seed {seed}"]
    elif list(outcomes.image_ids) != image_ids.to_pylist():
        caveats = [f"they are of {len(outcomes.image_ids):,} images, this run of others"]
    else:
        return KnownReference(ImageValues(outcomes.conditions, outcomes.wrong), name)
    words = "; ".join(["whose errors are taken as exact", *caveats])
    return KnownReference(reference.errors_under(benchmark.conditions), f"{name}, {words}")


def _caveats(reference: Reference, benchmark: Benchmark, images: int) -> list[str]:
    """What makes the errors less than exactly comparable."""
    caveats = []
    if reference.num_images is not None:
        caveats.append(f"they are of {reference.num_images:,} of the images")
    elif reference.domain == IMAGENET and images != IMAGENET_IMAGES:
        caveats.append(
            f"they are of all {IMAGENET_IMAGES:,} validation images while this run has "
            f"{images:,}"
        )
    released = benchmark.stored_jpeg_quality is not None
    if released and reference.mode is None and benchmark.mode != "released":
        caveats.append(
            "the released files hold images of mode released, this run's are of mode "
            f"{benchmark.mode}"
        )
    return caveats
