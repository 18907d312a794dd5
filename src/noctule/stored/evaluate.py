"""Rows from a stored set, in a run folder like any other: resume, scores and tests as usual."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import nn

from noctule.benchmarks import Benchmark, Condition, load_benchmark
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError, machine_errors
from noctule.evaluation.loading import Batch, chained_hash, load_batches
from noctule.evaluation.loop import (
    Evaluation,
    Loop,
    Progress,
    Settings,
    checked_settings,
    concatenated,
    folder_of,
    identify,
    workers_for,
)
from noctule.evaluation.starts import (
    MOST_IMAGES_COMPARED,
    record_start,
    refuse_other_images,
    started_run,
)
from noctule.models import Classifier, Preprocessing, load_classifier
from noctule.models.borrowed import borrowed
from noctule.outcomes import outcome_table
from noctule.processes import end_if_unguarded
from noctule.scoring import open_reference, score_run
from noctule.store import RunIdentity, RunStore
from noctule.stored.dataset import Prepared, ShownImages, unchanged
from noctule.stored.field_of_view import warn_if_fields_of_view_differ
from noctule.stored.manifest import Manifest
from noctule.stored.read import StoredSet, open_stored


@machine_errors()
def evaluate_stored(
    model: str | nn.Module | Classifier,
    folder: str | Path,
    benchmark: str | Path | Benchmark | None = None,
    *,
    data: str | Path | Dataset | tuple[Any, Any] | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    reference: str | Path | RunStore | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a classifier over corrupted images on disk, and score it.

    Args:
        model: as `noctule.evaluate`'s.
        folder: ImageNet-C, CIFAR-10-C and the like, or what `noctule export` wrote; the forms
            are in `noctule.stored.layout`.
        benchmark: a name, a TOML file, or a `Benchmark`, whose corruptions are looked for by
            their published names; None takes that of a set that noctule wrote.
        data: the uncorrupted images, for a set published without them; without them there is
            no clean error, and so no relative CE.
        name: As `noctule.evaluate`'s.
        out: as `noctule.evaluate`'s, and so `reference`.
        settings: as `noctule.evaluate`'s; the seed has no meaning here: the run's is the one
            that the images were made with.
        progress: called after each batch with (images done, images in all).

    Raises:
        InputError: something given cannot be used, or the set is not complete; see its message.
        OutputError: the run folder cannot be written; what is finished is kept.
    """
    end_if_unguarded()
    if not (benchmark is None or isinstance(benchmark, Benchmark)):
        benchmark = load_benchmark(benchmark)
    stored = open_stored(folder, benchmark, None if data is None else open_dataset(data))
    settings, classifier = checked_settings(settings), load_classifier(model).named(name)
    if reference is not None:
        identity = identify_stored(classifier, stored, settings)
        reference = open_reference(reference, RunStore(folder_of(identity, out), identity))
    run = run_stored(classifier, stored, out=out, settings=settings, progress=progress)
    return Evaluation(run, score_run(run, reference=reference))


def run_stored(
    classifier: Classifier,
    stored: StoredSet,
    *,
    out: str | Path | None = None,
    settings: Settings,
    progress: Progress | None = None,
    argv: Sequence[str] | None = None,
) -> RunStore:
    """Fill a run folder with the outcomes that are missing; see `evaluate_stored`."""
    classifier.warn_of_preprocessing()
    _warn_if_prepared_otherwise(classifier, stored)
    identity = identify_stored(classifier, stored, settings)
    folder = folder_of(identity, out)
    workers = workers_for(stored, settings.workers)
    device = settings.resolved_device()
    found = RunStore.find(folder, identity)
    with borrowed(classifier, device) as device:
        loop = StoredLoop(classifier, stored, identity, device)
        if found is not None:
            most = max(1, MOST_IMAGES_COMPARED // len(loop.conditions))
            hashes_of = partial(loop.hashes_of, workers=workers)
            refuse_other_images(found, stored.ids, hashes_of, most=most)
        behaviour = loop.checked_behaviour(found)
        if found is not None and not found.missing_slices():
            return found
        if not (found and found.finished_slices()):
            loop.self_check(thorough=settings.self_check)
        warn_if_fields_of_view_differ(stored, loop.prepare, loop.classifier.preprocessing)
        with started_run(folder, identity) as store:
            record_start(store, classifier.module, stored, device, argv, behaviour)
            loop.run(store, store.missing_slices(), workers, progress)
    return store


def identify_stored(
    classifier: Classifier, stored: StoredSet, settings: Settings
) -> RunIdentity:
    """Everything that determines the rows of a run on a stored set.

    Like that of a live run, with `dataset.stored` in addition: the layout, where the clean
    images are from, whether the model's resizing is left out, the encoder if it is known, and
    `live_fingerprint`, that of the data, if live evaluation of this model on it is certain to
    see the same images, to the bit.

    Raises:
        InputError: the model's crop is larger than the images.
    """
    manifest = stored.manifest
    _check_crop(classifier.preprocessing, stored)
    identity = identify(classifier, stored, stored.benchmark, settings)
    told: dict[str, Any] = {
        "layout": stored.kind,
        "clean": stored.clean_from,
        "resize": _resizes(classifier.preprocessing, stored),
        "encoder": manifest and dict(manifest.encoder),
    }
    if manifest and manifest.lossless and prepares_alike(classifier.preprocessing, manifest):
        told["live_fingerprint"] = manifest.dataset["fingerprint"]
    return replace(
        identity,
        dataset={**identity.dataset, "stored": told},
        seed=manifest.seed if manifest else 0,
    )


def _resizes(preprocessing: Preprocessing, stored: StoredSet) -> bool:
    """Whether the images still have to be resized.

    Published images are resized and cropped already. A model that takes images of their
    size gets them as they are, which is how ImageNet-C is meant to be evaluated: resized to 256
    and cropped again, they would be other images, and no longer those of live evaluation.
    """
    return preprocessing.resize_px is not None and preprocessing.crop_px != stored.image_px


def prepares_alike(preprocessing: Preprocessing, manifest: Manifest) -> bool:
    """Whether the stored images were made of the images as this model would make them."""
    ours, theirs = preprocessing.to_dict(), manifest.preprocessing
    resizing = ("resize_px", "interpolation", "fit", "fill") if ours["resize_px"] else ()
    return all(ours[key] == theirs[key] for key in {"resize_px", "crop_px", "mode", *resizing})


def _warn_if_prepared_otherwise(classifier: Classifier, stored: StoredSet) -> None:
    """Say that rows will not be those of live evaluation, and how to export such a set.

    Nothing is to be said of a network without preparation of its own, nor where the stored
    images are the originals, in the size that the network takes.
    """
    preprocessing, manifest = classifier.preprocessing, stored.manifest
    if manifest is None or prepares_alike(preprocessing, manifest):
        return
    is_original = _sizes(manifest.preprocessing) == (None, None)
    if _sizes(preprocessing.to_dict()) == (None, None) or (
        is_original and _keeps(preprocessing, stored.image_px)
    ):
        return
    warnings.warn(
        f"{classifier.name} would prepare images otherwise than the stored ones were prepared "
        f"({preprocessing.describe()}), so that its rows differ from those of live evaluation. "
        "For equal rows, export with `noctule export --model`.",
        NoctuleWarning,
        stacklevel=3,
    )


def _sizes(preprocessing: Mapping[str, object]) -> tuple[object, object]:
    return preprocessing["resize_px"], preprocessing["crop_px"]


def _keeps(preprocessing: Preprocessing, image_px: tuple[int, int]) -> bool:
    """Whether images of this height and width are neither resized nor cropped."""
    keeps_size = preprocessing.resize_px in (None, min(image_px), image_px)
    return keeps_size and preprocessing.crop_px in (None, image_px)


def _check_crop(preprocessing: Preprocessing, stored: StoredSet) -> None:
    crop_px = preprocessing.crop_px
    if crop_px is None or preprocessing.resize_px is not None:
        return
    if any(crop > side for crop, side in zip(crop_px, stored.image_px, strict=True)):
        crop, size = (" × ".join(map(str, one)) for one in (crop_px, stored.image_px))
        raise InputError(
            f"the crop of {crop} px is larger than the images, {size} px",
            where=stored.name,
            remedy="Give a smaller --crop, or --resize.",
        )


class StoredLoop(Loop):
    """One classifier on one device, shown what lies on disk."""

    def __init__(
        self,
        classifier: Classifier,
        stored: StoredSet,
        identity: RunIdentity,
        device: torch.device,
    ) -> None:
        self.prepare: Callable[[Image.Image], Image.Image] = unchanged
        self.image_px: tuple[int, int] | None = None
        whole = classifier.preprocessing
        if whole.resize_px is None and whole.crop_px is None:
            self.image_px = stored.image_px
        if whole.resize_px and not identity.dataset["stored"]["resize"]:
            self.prepare, self.image_px = Prepared(whole), stored.image_px
            classifier = replace(classifier, preprocessing=replace(whole, resize_px=None))
        super().__init__(classifier, stored, stored.benchmark, identity, device)
        self.stored = stored
        self.conditions = tuple(stored.images)  # clean may lack

    def clean_images(self) -> Dataset:
        """The mildest image that there is of each."""
        return self._shown([(self.stored.mildest(i), i) for i in range(len(self.stored))])

    def _image_px(self) -> tuple[int, int]:
        height, width = self.stored.image_px
        blank = self.prepare(Image.new("RGB", (width, height)))
        shape = self.classifier.preprocessing.prepare(blank).shape
        return int(shape[1]), int(shape[2])

    def run(
        self, store: RunStore, missing: Sequence[int], workers: int, progress: Progress | None
    ) -> None:
        """Compute the missing slices, in order."""
        per_image = len(self.conditions)
        total = self.identity.dataset["num_images"] * per_image
        done = total - per_image * sum(len(self.identity.images_of(one)) for one in missing)
        for index in missing:
            images = self.identity.images_of(index)
            tables: list[pa.Table] = []
            reasons: dict[str, str] = {}
            hashes: dict[str, str] = {}
            for condition, batch in self._images(images, workers):
                _chain(hashes, condition, batch)
                self._note_unreadable(condition, batch, reasons)
                tables += self._rows(condition, batch)
                done += len(batch)
                if progress:
                    progress(done, total)
            self._write(store, index, tables, reasons, hashes)

    def hashes_of(self, images: list[int], workers: int) -> dict[str, str]:
        """Hash of each image over all its images, by its id."""
        hashes: dict[str, str] = {}
        for condition, batch in self._images(images, workers):
            _chain(hashes, condition, batch)
        return hashes

    def _images(self, images: Sequence[int], workers: int) -> Iterator[tuple[Condition, Batch]]:
        """In the order of live evaluation: batch by batch, each under every condition."""
        size = self.identity.batch_size
        parts = [
            (condition, images[start : start + size])
            for start in range(0, len(images), size)
            for condition in self.conditions
        ]
        shown = self._shown([(condition, index) for condition, part in parts for index in part])
        ends = np.cumsum([len(part) for _, part in parts]).tolist()
        plan = [range(end - len(part), end) for end, (_, part) in zip(ends, parts, strict=True)]
        batches = load_batches(shown, self.classifier.preprocessing, plan, workers)
        for (condition, _), batch in zip(parts, batches, strict=True):
            yield condition, batch

    def _shown(self, chosen: Sequence[tuple[Condition, int]]) -> ShownImages:
        return ShownImages(self.stored, chosen, self.prepare, self.image_px)

    def _rows(self, condition: Condition, batch: Batch) -> list[pa.Table]:
        if not batch.ids:
            return []
        ids = [shown.removeprefix(f"{condition}/") for shown in batch.ids]
        logits = self.logits(batch.images)
        return [outcome_table(ids, str(condition), batch.labels, logits)]

    def _note_unreadable(
        self, condition: Condition, batch: Batch, reasons: dict[str, str]
    ) -> None:
        for shown, reason in batch.unreadable:
            if self.identity.on_unreadable == "stop":
                index = self.stored.ids.index(shown.removeprefix(f"{condition}/"))
                file = self.stored.images[condition].file(index)
                where = f"{file} ({shown})" if file else None
                raise UnreadableImageError(shown, reason, where=where)
            reasons.setdefault(shown.removeprefix(f"{condition}/"), f"{condition}: {reason}")

    def _write(
        self,
        store: RunStore,
        index: int,
        tables: list[pa.Table],
        reasons: dict[str, str],
        hashes: dict[str, str],
    ) -> None:
        """Keep a slice: an image that cannot be read under one condition counts under none."""
        rows = concatenated(tables)
        if reasons:
            skipped = pc.is_in(rows["image_id"], value_set=pa.array(list(reasons)))
            rows = rows.filter(pc.invert(skipped))
        ids = [self.stored.ids[image] for image in self.identity.images_of(index)]
        unreadable = [(one, reasons[one]) for one in ids if one in reasons]
        readable = {key: one for key, one in hashes.items() if key not in reasons}
        store.write_slice(index, rows, unreadable, readable)


def _chain(hashes: dict[str, str], condition: Condition, batch: Batch) -> None:
    """Add the images of a batch to the hash of each image over its conditions, in order."""
    for shown, one in zip(batch.ids, batch.hashes, strict=True):
        image_id = shown.removeprefix(f"{condition}/")
        hashes[image_id] = chained_hash(hashes.get(image_id, ""), one.encode())
