"""The images of published sets: class folders and arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.benchmarks import Condition
from noctule.data import Dataset, imagenet
from noctule.data.dataset import numbered_classes
from noctule.data.files import printable
from noctule.data.sources.arrays import load_npy
from noctule.errors import InputError
from noctule.store.sums import hash_file
from noctule.stored.images import ArrayImages, FileImages, Images, open_images
from noctule.stored.layout import Layout, Location
from noctule.stored.listing import (
    Listing,
    check_labels,
    list_condition,
    matching_images,
    names_in_order,
)
from noctule.stored.manifest import LABELS_FILE


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
    """Images in class folders; with data, they get its order, ids and labels."""
    contents = Contents()
    names: dict[Condition, Sequence[str]] = {}
    first: Listing | None = None
    for condition, location in layout.locations.items():
        listed = list_condition(location.path, with_sizes=True)
        contents.digests.append(f"{condition} {listed.digest}")
        first = first or listed
        # Nearly always every condition has the same names: they are kept once.
        names[condition] = first.names
        if listed.names != first.names:
            of = str(next(iter(names)))
            names[condition] = names_in_order(first.keys(), listed, location.path, of)
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
        contents.images[condition] = FileImages(layout.locations[condition].path, own)
    return images, contents


def _folder_images(classes: Sequence[str], names: Sequence[str]) -> SetImages:
    label_of = {name: label for label, name in enumerate(classes)}
    shown = [printable(name) for name in classes]
    labels = [label_of[name.partition("/")[0]] for name in names]
    domain = imagenet.domain_of(names, shown, labels)
    return SetImages([printable(name) for name in names], labels, shown, domain)


def images_of_data(data: Dataset, indices: Sequence[int]) -> SetImages:
    """The images of a dataset that are in a stored set, by their indices in the dataset."""
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
    """Images in arrays; with data, which must have the same labels, they get its ids."""
    contents = Contents()
    labels = _array_labels(folder / LABELS_FILE, layout)
    for condition, location in layout.locations.items():
        contents.images[condition] = array_images(location, len(labels), contents)
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
    corrupted = next(where for key, where in layout.locations.items() if key.corruption)
    path, count = corrupted.path, corrupted.blocks
    total = len(open_images(path))
    if total % count or len(labels) not in (total, total // count):
        raise InputError(
            f"holds {len(labels):,} labels, and {path.name} {total:,} images of "
            f"{count} severities",
            where=file,
            remedy="There must be a label for every image, or for every image of one severity.",
        )
    blocks = labels.astype(np.int64).reshape(-1, total // count)
    if (blocks != blocks[0]).any():
        raise InputError(
            "the labels differ from severity to severity",
            where=file,
            remedy="Arrays must hold the images severity by severity, in the same order.",
        )
    one_severity: NDArray[np.int64] = blocks[0]
    return one_severity


def array_images(location: Location, num_images: int, contents: Contents) -> ArrayImages:
    """One condition's part of an array of the right length and the others' image size."""
    path, block, blocks = location.path, location.block, location.blocks
    images = open_images(path)
    if len(images) != num_images * blocks:
        raise InputError(
            f"holds {len(images):,} images, where {blocks} × {num_images:,} are expected",
            where=path,
            remedy="It is cut short, or of other data: download or export it again.",
        )
    contents.digests.append(f"{path.name} {images.shape} {block} {array_sha256(path)}")
    return ArrayImages(path, block * num_images, num_images)


def array_sha256(file: Path) -> str:
    """SHA-256 of an array's file; computed once for all its blocks, until the file changes."""
    return _sha256(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(file: Path, changed_ns: int) -> str:
    del changed_ns
    return hash_file(file.parent, file.name).sha256
