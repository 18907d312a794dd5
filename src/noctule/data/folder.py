"""A folder with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from noctule.data import imagenet
from noctule.data.files import (
    IMAGE_SUFFIXES,
    FileDataset,
    base_name,
    cannot_list,
    is_folder,
    is_image_name,
    listing,
    printable,
    some,
)
from noctule.errors import InputError

_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


def open_folder(folder: Path) -> FileDataset:
    """The images below the class subfolders of a folder, in torchvision's ImageFolder order.

    Classes are the subfolders sorted by name; a class's images are all files below it, at any
    depth, that end like an image, hidden or not. Departures from ImageFolder: a link that
    leads back to a folder it lies in is not followed, and a subfolder that cannot be read is
    an error rather than left out.

    The domain is "imagenet-1k-val" where names of classes and files say so.

    Raises:
        InputError: for a folder that is empty, unreadable, or holds no class folders, and for
            class folders without images.
    """
    classes = [entry.name for entry in listing(folder) if is_folder(entry)]
    if not classes:
        raise _no_classes(folder)
    if set(map(str.lower, classes)) <= _SPLIT_NAMES:
        raise InputError(
            f"its subfolders are named like splits, not classes: {', '.join(classes)}",
            where=folder,
            remedy=f"Give one of them, such as {folder / classes[-1]}.",
        )
    names_of = {one: list(_image_names(folder, one)) for one in classes}
    without = [printable(one) for one, names in names_of.items() if not names]
    if without:
        raise _no_images(folder, without)
    names = [name for one in classes for name in names_of[one]]
    shown = [printable(one) for one in classes]
    return FileDataset(
        base_name(folder),
        shown,
        folder,
        names,
        [index for index, one in enumerate(classes) for _ in names_of[one]],
        domain=imagenet.DOMAIN if imagenet.is_validation_folder(shown, names) else None,
    )


def _image_names(root: Path, class_folder: str) -> Iterator[str]:
    """Images below a class folder, relative to root: folder by folder, each sorted by name."""
    # Sorted as whole strings, as torchvision does: "c/a-b" comes before "c/a/b".
    for folder, names in sorted(_walk(str(root / class_folder))):
        inside = Path(folder).relative_to(root).as_posix()
        yield from (f"{inside}/{name}" for name in sorted(names) if is_image_name(name))


def _walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `top`, links followed but never in a circle, with its file names."""
    above = {top: frozenset([os.path.realpath(top)])}
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_raise):
        chain = above.pop(folder)
        paths = {one: f"{folder}{os.sep}{one}" for one in subfolders}
        real = {one: os.path.realpath(path) for one, path in paths.items()}
        subfolders[:] = [one for one in subfolders if real[one] not in chain]
        above |= {paths[one]: chain | {real[one]} for one in subfolders}
        yield folder, names


def _raise(error: OSError) -> None:
    raise cannot_list(error.filename, error) from error


def _no_classes(folder: Path) -> InputError:
    entries = listing(folder)
    loose = [entry.name for entry in entries if is_image_name(entry.name)]
    if loose:
        return InputError(
            f"this folder has no class subfolders, but {len(loose)} images, such as "
            f"{printable(loose[0])}",
            where=folder,
            remedy="Sort them into one subfolder per class, or give a file that says the "
            "label of each: --labels FILE.",
        )
    return InputError(
        "this folder holds neither class subfolders nor images"
        if entries
        else "this folder is empty",
        where=folder,
        remedy="Give a folder with one subfolder of images per class.",
    )


def _no_images(folder: Path, without: list[str]) -> InputError:
    return InputError(
        f"{len(without)} class folders hold no image: {some(without)}",
        where=folder,
        remedy="Fill or remove them: every subfolder counts as a class. An image ends in "
        f"{', '.join(IMAGE_SUFFIXES)}.",
    )
