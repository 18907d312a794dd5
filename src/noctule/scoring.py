"""From a run folder to scores: which reference fits, and which does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from noctule.benchmarks import CLEAN, Benchmark, Reference, why_no_reference
from noctule.benchmarks.references import shipped_outcomes
from noctule.errors import InputError
from noctule.metrics.estimates import bootstrap_settings
from noctule.metrics.means import ImageValues, ReferenceErrors
from noctule.metrics.outcome_matrix import (
    KEYS,
    OutcomeMatrix,
    OutcomeReader,
    check_same_images,
    outcome_matrix,
)
from noctule.metrics.scores import Scores, chosen_metrics, columns_of, score_outcomes
from noctule.store import RunStore

IMAGENET, IMAGENET_IMAGES = "imagenet-1k-val", 50_000


Run = str | Path | RunStore


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
        found.append(
            score_outcomes(
                outcomes,
                spec,
                reference=known.errors,
                reference_name=known.name,
                no_reference_reason=known.why_none,
                metrics=chosen,
                settings=settings,
            )
        )
    return found


def _opened(run: Run) -> RunStore:
    return run if isinstance(run, RunStore) else RunStore.open(run)


def _conditions(benchmark: Benchmark, store: RunStore) -> tuple[str, ...]:
    """Names of a benchmark's conditions, without the clean one if the run lacks it."""
    names = [str(one) for one in benchmark.conditions]
    return tuple(one for one in names if one != CLEAN or one in store.identity.conditions)


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
    if reference.domain == IMAGENET and images != IMAGENET_IMAGES:
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


def _mode(benchmark: Mapping[str, Any]) -> str:
    """The mode, and the quality of the JPEG files that images pass through in it."""
    mode = str(benchmark.get("mode", "paper"))
    quality = benchmark.get("stored_jpeg_quality")
    return f"{mode}, as JPEG {quality}" if mode == "released" and quality else mode


def _tables(benchmark: Mapping[str, Any], conditions: Sequence[str]) -> str:
    """The tables of severities of the corruptions in these conditions."""
    wanted = {condition.partition("@")[0] for condition in conditions}
    tables = {key: one for key, one in benchmark.get("tables", {}).items() if key in wanted}
    return f"{json.dumps(tables)} for {benchmark.get('side_px', 224)} px" if tables else "none"


def _fingerprints(dataset: Mapping[str, Any]) -> set[str]:
    """Of the images on disk and, if these are the same, of the data they were made from."""
    live = dataset.get("stored", {}).get("live_fingerprint")
    return {dataset["fingerprint"], dataset["fingerprint"] if live is None else live}


def _same_data(*datasets: Mapping[str, Any]) -> str:
    remedy = "Evaluate the reference model on the same data with the same seed."
    stored = ["stored" in one for one in datasets]
    if any(stored) and not all(stored):
        remedy += (
            " Images of a stored set are known to be those of live evaluation only where "
            "noctule stored them without loss, of the same data, resized and cropped as the "
            "model does."
        )
    return remedy


def check_same_pixels(run: RunStore, reference: RunStore) -> None:
    """Refuse runs that were shown other images under the same ids.

    Compared are the hashes of the decoded images; of stored images, only where both runs
    took them from such a set and prepare them alike.

    Raises:
        InputError: an image has other pixels in one of the runs.
    """
    kinds = [
        (one.dataset.get("stored"), "stored" in one.dataset and one.model.get("preprocessing"))
        for one in (run.identity, reference.identity)
    ]
    if kinds[0] != kinds[1]:
        return
    ours, theirs = run.image_hashes(), reference.image_hashes()
    if other := sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]):
        raise InputError(
            f"{len(other):,} of {len(ours):,} images have other pixels than in {run.folder}, "
            f"first '{other[0]}'",
            where=reference.folder,
            remedy="Evaluate both models on the same files, decoded by the same version of "
            "Pillow.",
        )


def open_reference(reference: str | Path | RunStore, run: RunStore) -> RunStore:
    """A reference run that is complete, and whose errors are comparable with a run's.

    Args:
        reference: The reference run, or its folder.
        run: The run, which may not have been started.

    Raises:
        InputError: see `check_reference`; or the reference run is unfinished.
    """
    other = reference if isinstance(reference, RunStore) else RunStore.open(reference)
    check_reference(run, other)
    other.rows(columns=["label"])
    return other


def check_reference(run: RunStore, reference: RunStore) -> None:
    """Refuse a reference run whose errors are not comparable.

    A run on a stored set counts as one on the data that the set was made from, if its record
    says that live evaluation sees the same images (`live_fingerprint`).

    Raises:
        InputError: other images, another seed, or conditions missing.
    """
    ours, theirs = run.identity, reference.identity
    if _fingerprints(ours.dataset).isdisjoint(_fingerprints(theirs.dataset)):
        raise InputError(
            f"this run has other data ({theirs.dataset['fingerprint']}) than {run.folder} "
            f"({ours.dataset['fingerprint']})",
            where=reference.folder,
            remedy=_same_data(ours.dataset, theirs.dataset),
        )
    for what, here, there in (
        ("another seed", ours.seed, theirs.seed),
        ("another mode", *(_mode(one.benchmark) for one in (ours, theirs))),
        (
            "other severities",
            *(_tables(one.benchmark, ours.conditions) for one in (ours, theirs)),
        ),
    ):
        if here != there:
            raise InputError(
                f"this run has {what} ({there}) than {run.folder} ({here})",
                where=reference.folder,
                remedy="Evaluate the reference model on the same data with the same seed.",
            )
    if missing := sorted(set(ours.conditions) - set(theirs.conditions)):
        raise InputError(
            f"this run lacks {', '.join(missing)}",
            where=reference.folder,
            remedy="Evaluate the reference model on the same benchmark.",
        )
