"""Stored images as a source of an evaluation: rows in a run folder like any other."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import nn

from noctule.benchmarks import Benchmark, Condition, Selection, load_benchmark
from noctule.benchmarks.parts import Names
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError, machine_errors
from noctule.evaluation.loading import Batch, Part
from noctule.evaluation.loop import run_and_score
from noctule.evaluation.protocols import scored
from noctule.evaluation.settings import Progress, Settings, checked_settings
from noctule.evaluation.sources import ImageSource, identify, to_device
from noctule.models import Classifier, Preprocessing, load_classifier
from noctule.processes import end_if_unguarded
from noctule.scoring import Evaluation
from noctule.store import RunIdentity, RunStore
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
    corruptions: Names = None,
    severities: Iterable[int] | None = None,
    skip: Names = None,
    limit: int | None = None,
    ids_file: str | Path | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    reference: str | Path | RunStore | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a classifier over corrupted images on disk, and score it.

    Args:
        model: See `noctule.evaluate`.
        folder: ImageNet-C, CIFAR-10-C and the like, or what `noctule export` wrote; see
            `noctule.stored.layout`.
        benchmark: A name, a TOML file, or a `Benchmark`, whose corruptions are looked for by
            their published names. None takes that of a set that noctule wrote.
        data: The uncorrupted images, for a set published without them. Without uncorrupted
            images there is no clean error, and so no relative CE.
        corruptions: See `noctule.evaluate`. What is not evaluated need not be on disk.
        severities: See `noctule.evaluate`.
        skip: See `noctule.evaluate`.
        limit: Number of images to use, see `noctule.open_dataset`.
        ids_file: Text file with the ids of the images to use, one per line.
        name: See `noctule.evaluate`.
        out: See `noctule.evaluate`.
        reference: See `noctule.evaluate`.
        settings: See `noctule.evaluate`. The seed has no meaning here: the run's is the one
            that the images were made with.
        progress: See `noctule.evaluate`.

    Raises:
        InputError: An argument cannot be used, or the set is not complete; see its message.
        OutputError: The run folder cannot be written; finished slices are kept.
    """
    end_if_unguarded()
    if not (benchmark is None or isinstance(benchmark, Benchmark)):
        benchmark = load_benchmark(benchmark)
    clean = None if data is None else open_dataset(data)
    selection = Selection(corruptions, severities, skip)
    stored = open_stored(folder, benchmark, clean, selection, limit=limit, ids_file=ids_file)
    settings, classifier = checked_settings(settings), load_classifier(model).named(name)
    source = StoredImages(classifier, stored, settings)
    return run_and_score(source, out=out, reference=reference, progress=progress)


class StoredImages(ImageSource):
    """Images on disk: each is read under every condition.

    The identity is like that of a live run, with `dataset.stored` in addition: the layout,
    where the clean images are from, whether the model resizes the images, the encoder if it is
    known, and `live_fingerprint`: the fingerprint of the data, if live evaluation of this model
    on it is certain to see the same images, to the bit.

    Raises:
        InputError: The model's crop is larger than the images.
    """

    def __init__(self, classifier: Classifier, stored: StoredSet, settings: Settings) -> None:
        _check_crop(classifier.preprocessing, stored)
        if settings.cache is not None:
            raise InputError(
                "stored images are not cached",
                where="--cache",
                remedy="Omit it, or evaluate the images live.",
            )
        self.stored = stored
        self.whole = classifier.preprocessing
        self.conditions = self.read_conditions = tuple(stored.images)  # clean may be missing
        self.settings = settings
        # Published images are resized and cropped already. A model that takes images of their
        # size gets them as they are, which is how ImageNet-C is meant to be evaluated: resized
        # to 256 px and cropped again, they would no longer be those of live evaluation.
        resize_px, crop_px = self.whole.resize_px, self.whole.crop_px
        resizes = resize_px is not None and crop_px != stored.image_px
        self.cropped = self.whole if resizes else replace(self.whole, resize_px=None)
        # Where nothing is resized or cropped, an image of another size is unreadable.
        takes_any = resizes or (resize_px is None and crop_px is not None)
        self.image_px = None if takes_any else stored.image_px
        self.classifier = classifier
        self.dataset = stored.under(None, self.image_px)
        kept, self.protocol = scored(classifier, self.dataset, settings)
        if kept is not self.dataset:
            raise InputError(
                f"leaves out {len(self.dataset) - len(kept):,} images, but stored images "
                "must all be of these classes",
                where="--class-map",
                remedy="Map every class, or evaluate the images live.",
            )
        self.preprocessing = self._preprocessing(stored.mildest(0))
        self.identity = self._identify(resizes)

    def _identify(self, resizes: bool) -> RunIdentity:
        stored, manifest = self.stored, self.stored.manifest
        identity = identify(
            self.classifier, stored, stored.benchmark, self.settings, self.protocol
        )
        record: dict[str, Any] = {
            "layout": stored.kind,
            "clean": stored.clean_from,
            "resize": resizes,
            "encoder": manifest and dict(manifest.encoder),
        }
        if manifest and manifest.lossless and prepares_alike(self.whole, manifest):
            record["live_fingerprint"] = stored.live_fingerprint
        return replace(
            identity,
            dataset={**identity.dataset, "stored": record},
            seed=manifest.seed if manifest else 0,
        )

    def check(self) -> None:
        """Warn if the rows will differ from live evaluation's, or the clean images' crop."""
        _warn_if_prepared_otherwise(self.classifier.name, self.whole, self.stored)
        warn_if_fields_of_view_differ(self.stored, self.whole, self.cropped)

    def _preprocessing(self, condition: Condition) -> Preprocessing:
        """The whole preprocessing for photographs; stored images are cropped already."""
        is_photograph = condition.corruption is None and self.stored.clean_from == "data"
        return self.whole if is_photograph else self.cropped

    def part(self, condition: Condition, indices: Sequence[int]) -> Part:
        """See `ImageSource.part`."""
        images = self.stored.under(condition, self.image_px)
        return Part(images, self._preprocessing(condition), indices)

    def images(self, condition: Condition, indices: Sequence[int]) -> Batch:
        """See `ImageSource.images`; the hashes are chained over the conditions."""
        del indices
        batch = next(self._batches)
        if condition == self.conditions[0]:
            self._hashes: dict[str, str] = {}
        for image_id, digest in zip(batch.ids, batch.hashes, strict=True):
            chain = self._hashes.get(image_id, "") + digest
            self._hashes[image_id] = blake2b(chain.encode(), digest_size=16).hexdigest()
        return batch._replace(
            images=to_device(batch.images, self._device),
            hashes=[self._hashes[image_id] for image_id in batch.ids],
            unreadable=[(key, f"{condition}: {reason}") for key, reason in batch.unreadable],
        )

    def unreadable_error(
        self, condition: Condition, image_id: str, reason: str
    ) -> UnreadableImageError:
        """The error for an image that cannot be decoded, with its file."""
        name = f"{condition}/{image_id}"
        file = self.stored.images[condition].file(self.stored.ids.index(image_id))
        reason = reason.removeprefix(f"{condition}: ")
        return UnreadableImageError(name, reason, where=f"{file} ({name})" if file else None)


def prepares_alike(preprocessing: Preprocessing, manifest: Manifest) -> bool:
    """Whether the model would resize and crop images as the stored ones were."""
    ours, theirs = preprocessing.to_dict(), manifest.preprocessing
    resizing = ("resize_px", "interpolation", "fit", "fill") if ours["resize_px"] else ()
    return all(ours[key] == theirs[key] for key in {"resize_px", "crop_px", "mode", *resizing})


def _warn_if_prepared_otherwise(
    model: str, preprocessing: Preprocessing, stored: StoredSet
) -> None:
    """Warn that rows will differ from live evaluation's, and name the remedy.

    There is no warning for a network without preprocessing of its own, nor if the stored images
    are the originals in the size that the network takes.
    """
    manifest = stored.manifest
    if manifest is None or prepares_alike(preprocessing, manifest):
        return
    is_original = _sizes(manifest.preprocessing) == (None, None)
    if _sizes(preprocessing.to_dict()) == (None, None) or (
        is_original and _keeps_size(preprocessing, stored.image_px)
    ):
        return
    warnings.warn(
        f"{model} would prepare images otherwise than the stored ones were prepared "
        f"({preprocessing.describe()}), so that its rows differ from those of live evaluation. "
        "For equal rows, export with `noctule export --model`.",
        NoctuleWarning,
        stacklevel=3,
    )


def _sizes(preprocessing: Mapping[str, object]) -> tuple[object, object]:
    return preprocessing["resize_px"], preprocessing["crop_px"]


def _keeps_size(preprocessing: Preprocessing, image_px: tuple[int, int]) -> bool:
    """Whether images of this height and width are neither resized nor cropped."""
    is_resized = preprocessing.resize_px not in (None, min(image_px), image_px)
    return not is_resized and preprocessing.crop_px in (None, image_px)


def _check_crop(preprocessing: Preprocessing, stored: StoredSet) -> None:
    crop_px = preprocessing.crop_px
    if crop_px is None or preprocessing.resize_px is not None:
        return
    if any(crop > side for crop, side in zip(crop_px, stored.image_px, strict=True)):
        crop, size = (" × ".join(map(str, sides)) for sides in (crop_px, stored.image_px))
        raise InputError(
            f"the crop of {crop} px is larger than the images, {size} px",
            where=stored.name,
            remedy="Use a smaller --crop, or --resize.",
        )
