"""What the files of a stored set are called, so that any framework and any disk takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from noctule.benchmarks import CLEAN, Benchmark, Condition
from noctule.corruptions import CORRUPTIONS
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.stored.manifest import ImageEntry

FULL = "full"
SHARD_SIZE = 256
"""Images in a tar shard."""

# Separators, what other systems forbid, and what would need escapes in SHA256SUMS.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def condition_folder(condition: Condition) -> str:
    """Where the images of a condition lie, relative to the stored set.

    >>> condition_folder(Condition("shear", 3)), condition_folder(Condition("shear"))
    ('shear/3', 'shear/full')
    """
    if condition.corruption is None:
        return CLEAN
    severity = FULL if condition.severity is None else condition.severity
    return f"{CORRUPTIONS[condition.corruption].published_name}/{severity}"


def shard_name(index: int) -> str:
    """The tar file that image `index` lies in."""
    return f"{index // SHARD_SIZE:06d}.tar"


def shard_key(index: int) -> str:
    """What the members of image `index` are called, up to the ending."""
    return f"{index:08d}"


def check_published_names(benchmark: Benchmark) -> None:
    """Refuse a benchmark in which two corruptions would share a folder."""
    owners = {CLEAN: CLEAN, "labels": "the labels"}
    for name in benchmark.corruptions:
        published = CORRUPTIONS[name].published_name
        if other := owners.get(published.lower()):
            raise InputError(
                f"'{name}' would be written to '{published}', as {other} is",
                where=benchmark.name,
                remedy="Export them as two benchmarks.",
            )
        owners[published.lower()] = f"'{name}'"


def image_entries(dataset: Dataset) -> list[ImageEntry]:
    """Class folder and file name of every image.

    Sorted by name, the class folders are in the order of the labels, which is how ImageFolder
    and its like count them: names that are not in this order get a number in front. A file is
    named as the image's id ends.

    Raises:
        InputError: two images of a class would have files of one name.
    """
    folders = class_folders(dataset.class_names)
    entries = [
        ImageEntry(image_id, int(label), folders[label], _safe(PurePosixPath(image_id).stem))
        for image_id, label in zip(dataset.ids, dataset.labels, strict=True)
    ]
    owner: dict[tuple[int, str], str] = {}
    for entry in entries:
        # Some disks do not tell capitals.
        other = owner.setdefault((entry.label, entry.name.casefold()), entry.id)
        if other != entry.id:
            raise InputError(
                f"'{other}' and '{entry.id}' would both be written to "
                f"'{entry.folder}/{entry.name}'",
                where=dataset.name,
                remedy="Rename one of the two images.",
            )
    return entries


def class_folders(class_names: Sequence[str]) -> list[str]:
    """A folder name per class; sorted, they are in the order of the classes.

    >>> class_folders(["cat", "dog"]), class_folders(["dog", "a/b"])
    (['cat', 'dog'], ['0-dog', '1-a_b'])
    """
    names = [_safe(name) for name in class_names]
    if names == sorted(names) and len({name.casefold() for name in names}) == len(names):
        return names
    width = len(str(len(names) - 1))
    return [f"{label:0{width}d}-{name}" for label, name in enumerate(names)]


def _safe(name: str) -> str:
    """A name that is one component of a path, and no hidden one."""
    name = _UNSAFE.sub("_", name)
    return f"_{name[1:]}" if name.startswith(".") else name or "_"
