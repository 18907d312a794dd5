"""The files of one condition: listed, and compared with those of the others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from noctule.data.files import is_folder, is_hidden, is_image_name, listing, printable, some
from noctule.errors import InputError

COMPLETE = "Every condition of a stored set holds the same images: fetch this one again."

EXTRA = "Every condition of a stored set holds the same images: remove what does not belong."


class Listing(NamedTuple):
    """The images of one condition.

    Attributes:
        classes: names of the class folders, sorted.
        names: CLASS/FILE of each image, class by class, sorted within each.
        digest: SHA-256 over the names and, if asked for, the sizes of the files.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    digest: str

    def keys(self) -> list[str]:
        """CLASS/STEM of each image: an image keeps it where its file is of another kind.

        It is printable, and so the same on disks that keep another Unicode form.
        """
        return [printable(str(PurePosixPath(name).with_suffix(""))) for name in self.names]


def list_condition(folder: Path, *, with_sizes: bool) -> Listing:
    """List the images in the class folders of one condition.

    Hidden files and folders, and what systems leave behind, are passed over.

    Raises:
        InputError: there are no class folders, one holds no image or cannot be read, or two
            files of a class differ in nothing but their endings.
    """
    entries = [entry for entry in listing(folder) if not is_hidden(entry.name)]
    classes = tuple(entry.name for entry in entries if is_folder(entry))
    if not classes:
        raise InputError("holds no class folders", where=folder, remedy=COMPLETE)
    digest = hashlib.sha256()
    names: list[str] = []
    for one in classes:
        images = [
            entry
            for entry in listing(folder / one)
            if is_image_name(entry.name) and not is_hidden(entry.name)
        ]
        _check_class(folder / one, [entry.name for entry in images])
        names += [f"{one}/{entry.name}" for entry in images]
        for line in _lines(one, images, with_sizes):
            digest.update(line)
    return Listing(classes, tuple(names), digest.hexdigest())


def _lines(
    class_name: str, images: Sequence[os.DirEntry[str]], with_sizes: bool
) -> Iterator[bytes]:
    for entry in images:
        size = ""
        if with_sizes:
            try:
                size = str(entry.stat().st_size)
            except OSError:  # a link to nowhere: read later, it is an unreadable image
                size = "missing"
        yield os.fsencode(f"{class_name}/{entry.name}\0{size}\n")


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
    keys: Sequence[str], found: Listing, where: object, of: str, remedy: str = COMPLETE
) -> list[str]:
    """The files of one condition in the order of the set's images.

    Args:
        keys: CLASS/STEM of the images that are due.
        found: what is there.
        where: the condition, for the message.
        of: who has the images that are due, for the message.
        remedy: what to do about missing images.

    Raises:
        InputError: an image is missing, or there is one too many; the first are named.
    """
    keys = [printable(key) for key in keys]
    name_of = dict(zip(found.keys(), found.names, strict=True))
    due = set(keys)
    for flaw, kind in (
        ([key for key in keys if key not in name_of], "lacks {} of the {} images of {}"),
        ([key for key in name_of if key not in due], "has {} more than the {} images of {}"),
    ):
        if flaw:
            what = kind.format(f"{len(flaw):,}", f"{len(keys):,}", of)
            shown = some([printable(key) for key in flaw])
            cure = remedy if kind.startswith("lacks") else EXTRA
            raise InputError(f"{what}: {shown}", where=where, remedy=cure)
    return [name_of[key] for key in keys]
