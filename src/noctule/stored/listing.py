"""The files of one condition: listed, and matched with other conditions and with the data."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctule.data import Dataset
from noctule.data.files import is_folder, is_hidden, is_image_name, listing, printable, some
from noctule.errors import InputError

COMPLETE = "Every condition of a stored set holds the same images: fetch this one again."

EXTRA = "Every condition of a stored set holds the same images: remove what does not belong."


class Listing(NamedTuple):
    """The images of one condition.

    Attributes:
        classes: Names of the class folders, sorted.
        names: CLASS/FILE of each image, class by class, sorted within each.
        digest: SHA-256 of the names and, if asked for, the sizes of the files.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    digest: str

    def keys(self) -> list[str]:
        """CLASS/STEM of each image, which does not depend on the format of its file.

        Printable, and so independent of the file system's Unicode form.
        """
        return [printable(str(PurePosixPath(name).with_suffix(""))) for name in self.names]


def list_condition(folder: Path, *, with_sizes: bool) -> Listing:
    """List the images in the class folders of one condition, without hidden files.

    Raises:
        InputError: There are no class folders, one holds no image or cannot be read, or two
            files of a class differ only in their endings.
    """
    entries = [entry for entry in listing(folder) if not is_hidden(entry.name)]
    classes = tuple(entry.name for entry in entries if is_folder(entry))
    if not classes:
        raise InputError("holds no class folders", where=folder, remedy=COMPLETE)
    digest = hashlib.sha256()
    names: list[str] = []
    for class_name in classes:
        images = [
            entry
            for entry in listing(folder / class_name)
            if is_image_name(entry.name) and not is_hidden(entry.name)
        ]
        _check_class(folder / class_name, [entry.name for entry in images])
        for entry in images:
            names.append(f"{class_name}/{entry.name}")
            size = _size(entry) if with_sizes else ""
            digest.update(os.fsencode(f"{names[-1]}\0{size}\n"))
    return Listing(classes, tuple(names), digest.hexdigest())


def _size(entry: os.DirEntry[str]) -> str:
    try:
        return str(entry.stat().st_size)
    except OSError:  # a broken link: when it is read, it is an unreadable image
        return "missing"


def _check_class(folder: Path, names: list[str]) -> None:
    if not names:
        raise InputError("this class folder holds no image", where=folder, remedy=COMPLETE)
    stems = [PurePosixPath(name).stem for name in names]
    if len(set(stems)) == len(stems):
        return
    twice = next(stem for stem in stems if stems.count(stem) > 1)
    files = [name for name, stem in zip(names, stems, strict=True) if stem == twice]
    raise InputError(
        f"{' and '.join(map(printable, files[:2]))} would be the same image",
        where=folder,
        remedy="Remove one of the two.",
    )


def names_in_order(
    keys: Sequence[str], listed: Listing, where: object, of: str, remedy: str = COMPLETE
) -> list[str]:
    """The files of one condition in the order of the set's images.

    Args:
        keys: CLASS/STEM of the expected images.
        listed: The files of the condition.
        where: The condition, for the message.
        of: What has the expected images, for the message.
        remedy: What to do about missing images.

    Raises:
        InputError: Images are missing or superfluous; the first are named.
    """
    keys = [printable(key) for key in keys]
    name_of = dict(zip(listed.keys(), listed.names, strict=True))
    expected = set(keys)
    if missing := [key for key in keys if key not in name_of]:
        what = f"lacks {len(missing):,} of the {len(keys):,} images of {of}: {some(missing)}"
        raise InputError(what, where=where, remedy=remedy)
    if extra := [key for key in name_of if key not in expected]:
        what = f"has {len(extra):,} more than the {len(keys):,} images of {of}: {some(extra)}"
        raise InputError(what, where=where, remedy=EXTRA)
    return [name_of[key] for key in keys]


def matching_images(keys: Sequence[str], data: Dataset, where: object) -> list[int]:
    """The index in a dataset of each image of a stored set.

    Images are matched by class and file name without its ending or, if the dataset has other
    class names, by file name alone. Then all images of a class folder must have the same label
    in the dataset.

    Args:
        keys: CLASS/STEM of each image of the stored set.
        data: The dataset; it may hold more images.
        where: The stored set, for messages.

    Raises:
        InputError: An image is not in the dataset, or names are ambiguous.
    """
    stems = [PurePosixPath(image_id).stem for image_id in data.ids]
    classes = [data.class_names[label] for label in data.labels]
    full = [f"{name}/{stem}" for name, stem in zip(classes, stems, strict=True)]
    wanted = [printable(key) for key in keys]
    if not set(full) & set(wanted):
        wanted = [PurePosixPath(key).name for key in wanted]
        full = stems
    _refuse_duplicates(full, data.name)
    _refuse_duplicates(wanted, where)
    index_of = {key: index for index, key in enumerate(full)}
    if absent := [key for key in wanted if key not in index_of]:
        raise InputError(
            f"{len(absent):,} of the {len(keys):,} images are not in {data.name}: "
            f"{some(absent)}",
            where=where,
            remedy="Pass the data that these images were made from, or none.",
        )
    indices = [index_of[key] for key in wanted]
    _check_labels(keys, data.labels[indices], data, where)
    return indices


def check_labels(labels: NDArray[np.int64], data: Dataset, where: object) -> None:
    """Refuse a dataset whose labels, in its order, are not those of stored arrays."""
    if len(labels) != len(data) or (labels != data.labels).any():
        raise InputError(
            f"these {len(labels):,} labels are not those of {data.name} ({len(data):,} images)",
            where=where,
            remedy="Arrays are matched to their data by position: pass the data that these "
            "images were made from, in its order, or none.",
        )


def _refuse_duplicates(names: Sequence[str], where: object) -> None:
    if len(set(names)) != len(names):
        duplicate = Counter(names).most_common(1)[0][0]
        raise InputError(
            f"two images are named '{duplicate}' and cannot be distinguished",
            where=where,
            remedy="Pass data whose class folders are named as in the stored set.",
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
