"""Several right labels per image, as those of ReaL (Beyer et al. 2020) for ImageNet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from noctule.data.dataset import Dataset
from noctule.data.imagenet import validation_number
from noctule.data.subset import SubsetDataset
from noctule.errors import InputError, nearest, shown
from noctule.input_files import read_text

VALIDATION_IMAGES: Final = 50_000


def with_right_labels(dataset: Dataset, file: Path) -> Dataset:
    """The dataset with the right labels of a JSON file, without the images that have none.

    The file is a list, as ReaL's, of the labels of ImageNet's 50,000 validation images in the
    order of their numbers; or an object, from the id of each image to its labels. Labels are
    class indices or names.

    Published reference errors do not apply: they are of the original labels.

    Raises:
        InputError: The file cannot be read, misses an image, has another length, or names a
            class that the data lack; or no image has a right label.
    """
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}"[:200], where=file) from error
    if isinstance(content, list):
        labels_of = _by_number(dataset, content, file)
    elif isinstance(content, dict):
        labels_of = _by_id(dataset, content, file)
    else:
        raise InputError(
            "is neither a list nor an object in JSON",
            where=file,
            remedy='Write {"cats/1.jpg": ["cat", "sofa"]}, for example.',
        )
    index_of = {name: index for index, name in enumerate(dataset.class_names)}
    right = [
        _indices(labels, image_id, index_of, file)
        for image_id, labels in zip(dataset.ids, labels_of, strict=True)
    ]
    chosen = [index for index, labels in enumerate(right) if labels]
    if not chosen:
        raise InputError(f"has no right label of an image of {dataset.name}", where=file)
    name = f"{dataset.name}, labels of {file.name}"
    if len(chosen) < len(dataset):
        name += f", {len(chosen):,} of {len(dataset):,} images"
    return SubsetDataset(dataset, chosen, right_labels=right, name=name)


def _by_number(dataset: Dataset, lists: Sequence[Any], file: Path) -> list[Any]:
    if len(lists) != VALIDATION_IMAGES:
        raise InputError(
            f"holds {len(lists):,} lists, where ImageNet has {VALIDATION_IMAGES:,} validation "
            "images",
            where=file,
            remedy="Use ReaL's real.json, or an object from ids to labels.",
        )
    numbers = []
    for image_id in dataset.ids:
        number = validation_number(image_id)
        if number is None or not 1 <= number <= VALIDATION_IMAGES:
            raise InputError(
                f"is a list, of ImageNet's validation images, and '{shown(image_id)}' of "
                f"{dataset.name} is none of them",
                where=file,
                remedy="Write an object from ids to labels.",
            )
        numbers.append(number)
    return [lists[number - 1] for number in numbers]


def _by_id(dataset: Dataset, labels_of: Mapping[str, Any], file: Path) -> list[Any]:
    missing = [image_id for image_id in dataset.ids if image_id not in labels_of]
    if missing:
        guess = nearest(missing[0], list(labels_of)[:1000])
        raise InputError(
            f"misses {len(missing):,} of {len(dataset):,} images, first '{shown(missing[0])}'",
            where=file,
            remedy=(f"It has '{shown(guess)}'. " if guess else "")
            + "Give an image without a right label an empty list.",
        )
    return [labels_of[image_id] for image_id in dataset.ids]


def _indices(
    labels: Any, image_id: str, index_of: Mapping[str, int], file: Path
) -> tuple[int, ...]:
    """Class indices in ascending order."""
    if not isinstance(labels, list):
        raise InputError(
            f"the labels of '{shown(image_id)}' are not a list",
            where=file,
            remedy="Write [3, 7].",
        )
    found = set()
    for label in labels:
        index = index_of.get(label) if isinstance(label, str) else label
        if type(index) is not int or not 0 <= index < len(index_of):
            raise InputError(
                f"{label!r:.80} of '{shown(image_id)}' is not one of the data's "
                f"{len(index_of)} classes",
                where=file,
                remedy="Labels are names or indices of the data's classes, from 0.",
            )
        found.add(index)
    return tuple(sorted(found))
