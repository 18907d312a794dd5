"""The images and images of sets that others published: class folders and arrays."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN, Condition
from noctule.data import Dataset, imagenet
from noctule.data.dataset import numbered_classes
from noctule.data.files import printable
from noctule.data.sources.arrays import load_npy
from noctule.errors import InputError
from noctule.stored.images import ArrayImages, FileImages, Images, open_images
from noctule.stored.layout import LABELS_FILE, Layout, Place
from noctule.stored.match import check_labels, matching_images
from noctule.stored.scan import Listing, list_condition, names_in_order


@dataclass(frozen=True)
class SetImages:
    """What every condition has in common."""

    ids: Sequence[str]
    labels: Sequence[int] | NDArray[np.integer[Any]]
    class_names: Sequence[str]
    domain: str | None = None
    indices_in_data: Sequence[int] | None = None


@dataclass
class Contents:
    """The images by condition, and what their fingerprint is made of."""

    images: dict[Condition, Images] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


def published_folders(
    folder: Path, layout: Layout, data: Dataset | None
) -> tuple[SetImages, Contents]:
    """What lies in class folders; with data, in its order and under its ids and labels."""
    contents = Contents()
    names: dict[Condition, Sequence[str]] = {}
    first: Listing | None = None
    for condition, place in layout.places.items():
        found = list_condition(place.path, with_sizes=True)
        contents.digests.append(f"{condition} {found.digest}")
        first = first or found
        # Nearly always every condition has the same names: they are kept once.
        names[condition] = first.names
        if found.names != first.names:
            of = str(next(iter(names)))
            names[condition] = names_in_order(first.keys(), found, place.path, of)
    assert first is not None
    images = _folder_images(first.classes, first.names)
    if data is not None:
        indices = matching_images(first.keys(), data, folder)
        order = sorted(range(len(indices)), key=indices.__getitem__)
        images = images_of_data(data, [indices[position] for position in order])
        shared = [first.names[position] for position in order]
        names = {
            condition: shared if own is first.names else [own[position] for position in order]
            for condition, own in names.items()
        }
    for condition, own in names.items():
        contents.images[condition] = FileImages(layout.places[condition].path, own)
    return images, contents


def _folder_images(classes: Sequence[str], names: Sequence[str]) -> SetImages:
    label_of = {name: label for label, name in enumerate(classes)}
    shown = [printable(name) for name in classes]
    real = imagenet.is_validation_folder(shown, names)
    return SetImages(
        [printable(name) for name in names],
        [label_of[name.partition("/")[0]] for name in names],
        shown,
        imagenet.DOMAIN if real else None,
    )


def images_of_data(data: Dataset, indices: Sequence[int]) -> SetImages:
    """The images of a dataset that a stored set has, by their indices in it."""
    return SetImages(
        [data.ids[index] for index in indices],
        data.labels[list(indices)],
        data.class_names,
        data.domain,
        indices,
    )


def published_arrays(
    folder: Path, layout: Layout, data: Dataset | None
) -> tuple[SetImages, Contents]:
    """What lies in arrays; with data, which must have the same labels, under its ids."""
    contents = Contents()
    labels = _array_labels(folder / LABELS_FILE, layout)
    for condition, place in layout.places.items():
        contents.images[condition] = array_images(place, len(labels), contents)
    if data is not None:
        check_labels(labels, data, folder / LABELS_FILE)
        return images_of_data(data, range(len(data))), contents
    ids = [f"{index:06d}" for index in range(len(labels))]
    return SetImages(ids, labels, numbered_classes(labels, folder / LABELS_FILE)), contents


def _array_labels(file: Path, layout: Layout) -> NDArray[np.int64]:
    """The label of each image; the file may repeat them for every severity."""
    labels = load_npy(file)
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise InputError(f"are {labels.dtype} of shape {labels.shape}, not labels", where=file)
    place = next(place for one, place in layout.places.items() if str(one) != CLEAN)
    total = len(open_images(place.path))
    if total % place.blocks or len(labels) not in (total, total // place.blocks):
        raise InputError(
            f"holds {len(labels):,} labels, and {place.path.name} {total:,} images of "
            f"{place.blocks} severities",
            where=file,
            remedy="There is a label for every image, or for every image of one severity.",
        )
    blocks = labels.astype(np.int64).reshape(-1, total // place.blocks)
    if (blocks != blocks[0]).any():
        raise InputError(
            "the labels differ from severity to severity",
            where=file,
            remedy="The arrays hold the images severity by severity, in one order.",
        )
    one_severity: NDArray[np.int64] = blocks[0]
    return one_severity


def array_images(place: Place, num_images: int, contents: Contents) -> ArrayImages:
    """One condition's part of an array of the right length and the others' image size."""
    images = open_images(place.path)
    if len(images) != num_images * place.blocks:
        raise InputError(
            f"holds {len(images):,} images, where {place.blocks} × {num_images:,} are due",
            where=place.path,
            remedy="It is cut short or of other data: fetch or export it again.",
        )
    digest = array_sha256(place.path)
    contents.digests.append(f"{place.path.name} {images.shape} {place.block} {digest}")
    return ArrayImages(place.path, place.block * num_images, num_images)


def array_sha256(file: Path) -> str:
    """Of the contents, once for all the blocks of a file as it was changed last."""
    return _sha256(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(file: Path, changed_ns: int) -> str:
    del changed_ns
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
