"""From a run folder to scores: which reference fits, and which does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import Benchmark, Reference, why_no_reference
from noctule.benchmarks.references import shipped_outcomes
from noctule.errors import InputError
from noctule.metrics import Scores, score
from noctule.metrics.corruption_errors import ErrorTable, ReferenceErrors
from noctule.store import RunStore

IMAGENET, IMAGENET_IMAGES = "imagenet-1k-val", 50_000


def score_run(
    run: str | Path | RunStore,
    *,
    reference: str | Path | RunStore | None = None,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Scores:
    """Score a finished run from its stored rows; no model is run.

    Args:
        run: the run, or its folder.
        reference: a run on the same images that CE is relative to. By default the published
            reference errors, if they were measured on this data; if none were, CE is undefined
            and the scores say why.
        seed: Seed of the bootstrap of the calibration errors.
        resamples: Number of bootstrap resamples for them, up to 100,000.
        confidence: Confidence of the intervals.

    Raises:
        InputError: the run is unfinished, or the reference is of other data or another seed.
    """
    store = run if isinstance(run, RunStore) else RunStore.open(run)
    benchmark = Benchmark.from_dict(store.identity.benchmark, where=store.folder)
    rows = store.rows()
    if reference is not None:
        other = reference if isinstance(reference, RunStore) else RunStore.open(reference)
        check_reference(store, other)
        check_same_pixels(store, other)
        name = f"{other.identity.model_title} ({other.folder})"
        known = KnownReference(other.rows(), name)
    else:
        identity = store.identity
        image_ids = pc.unique(rows["image_id"]).sort()
        known = published_reference(benchmark, identity.dataset, identity.seed, image_ids)
    return score(
        rows,
        benchmark,
        reference=known.errors,
        reference_name=known.name,
        no_reference_reason=known.why_none,
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )


class KnownReference(NamedTuple):
    """What CE is relative to.

    Attributes:
        errors: Errors by condition that are taken as exact, outcomes by image, or None.
        name: Name of the reference, with what makes it less than exactly comparable.
        why_none: Why there is none, where there is none.
    """

    errors: ReferenceErrors | pa.Table
    name: str | None = None
    why_none: str | None = None


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
        return KnownReference(ErrorTable(outcomes.conditions, outcomes.wrong), name)
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
