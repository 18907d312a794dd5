"""Stated subsets: some images of a dataset, chosen by their ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noctule.arguments import whole_number
from noctule.data.dataset import Dataset
from noctule.errors import InputError, nearest, shown
from noctule.input_files import read_text

if TYPE_CHECKING:
    from PIL import Image


class SubsetDataset(Dataset):
    """Some images of a dataset, with their ids.

    Its fingerprint covers the whole dataset and the chosen ids: results on a subset are not
    compared with those on the whole, or on another subset.

    Args:
        whole: The dataset.
        indices: Indices of the images in it, ascending.
        limit: Number of images that was asked for, if one was.
        classes: Indices of the classes that remain; None for all.
        right_labels: The right labels of each image of the whole, if they are not its own. The
            label of an image remains if it is one of them; otherwise it is the first.
        name: Name of the subset; by default with the numbers of images.
    """

    def __init__(
        self,
        whole: Dataset,
        indices: Sequence[int],
        limit: int | None = None,
        classes: Sequence[int] | None = None,
        right_labels: Sequence[tuple[int, ...]] | None = None,
        name: str = "",
    ) -> None:
        self._whole, self.indices = whole, tuple(indices)
        self.background, self.left_out = whole.background, whole.left_out
        self._fingerprint = whole.fingerprint()
        classes = range(len(whole.class_names)) if classes is None else classes
        new_label = {old: new for new, old in enumerate(classes)}
        known = whole.right_labels if right_labels is None else right_labels
        labels = whole.labels.tolist()
        right: Sequence[tuple[int, ...]] = (
            [(label,) for label in labels] if known is None else known
        )
        main = [
            labels[index] if labels[index] in right[index] else right[index][0]
            for index in indices
        ]
        super().__init__(
            name or f"{whole.name}, {len(indices):,} of {len(whole):,} images",
            [whole.class_names[label] for label in classes],
            [whole.ids[index] for index in indices],
            [new_label[label] for label in main],
            domain=whole.domain
            if known is None and len(classes) == len(whole.class_names)
            else None,
        )
        if known is not None:
            self.right_labels = [
                tuple(new_label[label] for label in known[index] if label in new_label)
                for index in indices
            ]
        self.source = whole.source
        chosen = {"limit": limit} if limit is not None else {}
        self.subset = {"of": self._fingerprint, "num_images": len(whole), **chosen}

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """See `Dataset.in_memory`."""
        return self._whole.in_memory

    def read(self, index: int) -> Image.Image:
        """See `Dataset.read`."""
        return self._whole.read(self.indices[index])

    def content(self) -> Iterator[bytes]:
        """The fingerprint of the whole dataset."""
        yield self._fingerprint.encode()


def limited(dataset: Dataset, limit: Any) -> Dataset:
    """The dataset with `limit` of its images, in equal proportion of each class.

    Which images are chosen depends on ids and labels only, not on order or place; those of a
    smaller limit are among those of a larger one.

    Raises:
        InputError: The dataset has fewer images.
    """
    limit = whole_number(limit, "limit", low=1)
    if limit > len(dataset):
        raise InputError(
            f"is {limit:,}, but {dataset.name} has {len(dataset):,} images",
            where="limit",
            remedy="Use a smaller number, or leave it out.",
        )
    if limit == len(dataset):
        return dataset
    labels, ids = dataset.labels.tolist(), dataset.ids
    size_of, rank_of = Counter(labels), Counter[int]()
    place = {}
    for index in sorted(range(len(ids)), key=lambda index: _key(ids[index])):
        label = labels[index]
        # The middle of the image's share of its class: 0.5 / n, 1.5 / n, …
        place[index] = (rank_of[label] + 0.5) / size_of[label]
        rank_of[label] += 1
    chosen = sorted(place, key=lambda index: (place[index], _key(ids[index])))[:limit]
    return SubsetDataset(dataset, sorted(chosen), limit)


def with_ids(dataset: Dataset, file: Path) -> Dataset:
    """The images whose ids a text file lists, one per line; the dataset if these are all.

    Raises:
        InputError: The file cannot be read, is empty, lists an id twice, or one that the
            dataset lacks (the line is named).
    """
    index_of = {image_id: index for index, image_id in enumerate(dataset.ids)}
    line_of: dict[int, int] = {}
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        image_id = line.rstrip("\r")
        if not image_id:
            continue
        where, index = f"{file}, line {number}", index_of.get(image_id)
        if index is None:
            guess = nearest(image_id, dataset.ids[:1000])
            raise InputError(
                f"{dataset.name} has no image '{shown(image_id[:200])}'",
                where=where,
                remedy=f"Its ids are like '{guess or dataset.ids[0]}'.",
            )
        if index in line_of:
            raise InputError(f"'{image_id}' is also on line {line_of[index]}", where=where)
        line_of[index] = number
    if not line_of:
        raise InputError("lists no ids", where=file, remedy="Write one id per line.")
    if len(line_of) == len(dataset):
        return dataset
    return SubsetDataset(dataset, sorted(line_of))


def of_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The images of some classes, and these classes only.

    Args:
        dataset: The dataset.
        classes: Indices of the classes, ascending.

    Raises:
        InputError: No image is of these classes.
    """
    indices = np.flatnonzero(np.isin(dataset.labels, list(classes))).tolist()
    return SubsetDataset(dataset, indices, classes=classes)


def _key(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8, person=b"limit").digest()
