"""From a run folder to scores: which reference fits, and which does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from noctule.benchmarks import Benchmark, Reference, why_no_reference
from noctule.errors import InputError
from noctule.metrics import Scores, score
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
    domain = store.identity.dataset["domain"]
    published = benchmark.reference_for(domain)
    fitting: Reference | pa.Table | None = published
    name = name_of_reference(published, benchmark, store) if published else None
    if reference is not None:
        other = reference if isinstance(reference, RunStore) else RunStore.open(reference)
        check_reference(store, other)
        check_same_pixels(store, other)
        fitting, name = other.rows(), f"{other.identity.model_title} ({other.folder})"
    return score(
        store.rows(),
        benchmark,
        reference=fitting,
        reference_name=name,
        no_reference_reason=None
        if fitting is not None
        else why_no_reference(benchmark, domain),
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )


def name_of_reference(reference: Reference, benchmark: Benchmark, store: RunStore) -> str:
    """The reference's name, with what makes its errors less than exactly comparable."""
    name = f"{reference.model} ({reference.source})"
    images = int(store.identity.dataset["num_images"])
    if reference.domain == IMAGENET and images != IMAGENET_IMAGES:
        name += (
            f", whose errors are of all {IMAGENET_IMAGES:,} validation images while this run "
            f"has {images:,}"
        )
    released = benchmark.stored_jpeg_quality is not None
    if released and reference.mode is None and benchmark.mode != "published":
        name += (
            f"; those files hold pictures of mode published, this run's are of mode "
            f"{benchmark.mode}"
        )
    return name


def _mode(benchmark: Mapping[str, Any]) -> str:
    """The mode, and the quality of the JPEG files that pictures pass through in it."""
    mode = str(benchmark.get("mode", "corrected"))
    quality = benchmark.get("stored_jpeg_quality")
    return f"{mode}, as JPEG {quality}" if mode == "published" and quality else mode


def _tables(benchmark: Mapping[str, Any], conditions: Sequence[str]) -> str:
    """The tables of levels of the corruptions in these conditions."""
    wanted = {condition.partition("@")[0] for condition in conditions}
    tables = {key: one for key, one in benchmark.get("tables", {}).items() if key in wanted}
    return f"{json.dumps(tables)} for {benchmark.get('side_px', 224)} px" if tables else "none"


def _fingerprints(dataset: Mapping[str, Any]) -> set[str]:
    """Of the pictures on disk and, if these are the same, of the data they were made from."""
    live = dataset.get("frozen", {}).get("live_fingerprint")
    return {dataset["fingerprint"], dataset["fingerprint"] if live is None else live}


def _same_data(*datasets: Mapping[str, Any]) -> str:
    remedy = "Evaluate the reference model on the same data with the same seed."
    frozen = ["frozen" in one for one in datasets]
    if any(frozen) and not all(frozen):
        remedy += (
            " Pictures of a frozen set are known to be those of live evaluation only where "
            "noctule stored them without loss, of the same data, resized and cropped as the "
            "model does."
        )
    return remedy


def check_same_pixels(run: RunStore, reference: RunStore) -> None:
    """Refuse runs that were shown other images under the same ids.

    Compared are the hashes of the decoded images; of stored pictures, only where both runs
    took them from such a set and prepare them alike.

    Raises:
        InputError: an image has other pixels in one of the runs.
    """
    kinds = [
        (one.dataset.get("frozen"), "frozen" in one.dataset and one.model.get("preprocessing"))
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


def check_reference(run: RunStore, reference: RunStore) -> None:
    """Refuse a reference run whose errors are not comparable.

    A run on a frozen set counts as one on the data that the set was made from, if its record
    says that live evaluation sees the same pictures (`live_fingerprint`).

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
        ("other levels", *(_tables(one.benchmark, ours.conditions) for one in (ours, theirs))),
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
