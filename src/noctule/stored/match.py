"""The images of a stored set among those of the dataset it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from noctule.data import Dataset
from noctule.data.files import printable, some
from noctule.errors import InputError


def matching_images(keys: Sequence[str], data: Dataset, where: object) -> list[int]:
    """The index in a dataset of each image of a stored set.

    Images are matched by class and file name without its ending or, where the dataset calls
    its classes otherwise, by file name alone; then all images of a class folder must have one
    label in the dataset.

    Args:
        keys: CLASS/STEM of each image of the stored set.
        data: the dataset; it may hold more images.
        where: the stored set, for messages.

    Raises:
        InputError: an image is not in the dataset, or the names do not tell images apart.
    """
    stems = [PurePosixPath(image_id).stem for image_id in data.ids]
    classes = [data.class_names[label] for label in data.labels]
    full = [f"{name}/{stem}" for name, stem in zip(classes, stems, strict=True)]
    wanted = [printable(key) for key in keys]
    if not set(full) & set(wanted):
        wanted = [PurePosixPath(key).name for key in wanted]
        full = stems
    _refuse_twice(full, data.name)
    _refuse_twice(wanted, where)
    index_of = {key: index for index, key in enumerate(full)}
    if absent := [key for key in wanted if key not in index_of]:
        raise InputError(
            f"{len(absent):,} of the {len(keys):,} images are not in {data.name}: "
            f"{some(absent)}",
            where=where,
            remedy="Give the data that these images were made from, or none.",
        )
    found = [index_of[key] for key in wanted]
    _check_labels(keys, data.labels[found], data, where)
    return found


def check_labels(labels: NDArray[np.int64], data: Dataset, where: object) -> None:
    """Refuse a dataset whose labels, in its order, are not those of stored arrays."""
    if len(labels) != len(data) or (labels != data.labels).any():
        raise InputError(
            f"these {len(labels):,} labels are not those of {data.name} ({len(data):,} images)",
            where=where,
            remedy="Arrays are joined to their data by position: give the data that these "
            "images were made from, in its order, or none.",
        )


def _refuse_twice(names: Sequence[str], where: object) -> None:
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(
            f"two images are called '{twice}', so that they cannot be told apart",
            where=where,
            remedy="Give data whose class folders are named as in the stored set.",
        )


def _check_labels(
    keys: Sequence[str], labels: NDArray[np.int64], data: Dataset, where: object
) -> None:
    label_of: dict[str, int] = {}
    for key, label in zip(keys, labels.tolist(), strict=True):
        name = key.partition("/")[0]
        if label_of.setdefault(name, label) != label:
            raise InputError(
                f"images of the class '{printable(name)}' have the labels {label_of[name]} "
                f"and {label} in {data.name}",
                where=where,
                remedy="Check the labels: they are of other images, or in another order.",
            )
