"""A folder with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from noctule.data import imagenet
from noctule.data.files import (
    FileDataset,
    LeftOut,
    base_name,
    cannot_list,
    image_suffixes,
    is_folder,
    is_hidden,
    is_image_name,
    listing,
    printable,
    some,
)
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError

_TINY_IMAGENET_LABELS = "val_annotations.txt"
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


def _is_class_folder(request: DataRequest) -> bool:
    return request.labels_file is None and request.path.is_dir()


@data_source(
    "folder",
    ("FOLDER", "one subfolder of images per class, as torchvision's ImageFolder"),
    claims=_is_class_folder,
    opens_paths=True,
)
def open_class_folders(request: DataRequest) -> FileDataset:
    """The images of a folder of class folders; see `open_folder`."""
    return open_folder(request.path)


def open_folder(folder: Path) -> FileDataset:
    """The images below the class subfolders of a folder, in torchvision's ImageFolder order.

    Classes are the subfolders sorted by name; a class's images are all files below it, at any
    depth, that end like an image. Departures from ImageFolder: whatever can be decoded here is
    an image (`image_suffixes`); hidden files and folders are no images and no classes, nor are
    those that systems leave behind, such as @eaDir; a link that leads back to a folder it lies
    in is not followed, and a subfolder that cannot be read is an error rather than left out.
    The dataset says in `left_out` what else lies in the folder.

    The domain is "imagenet-1k-val" where names of classes and files say so.

    Raises:
        InputError: for a folder that is empty, unreadable, or holds no class folders, and for
            class folders without images.
    """
    left_out = LeftOut()
    classes = _class_folders(folder, left_out)
    if not classes:
        raise _no_classes(folder)
    if set(map(str.lower, classes)) <= _SPLIT_NAMES:
        raise InputError(
            f"its subfolders are named like splits, not classes: {', '.join(classes)}",
            where=folder,
            remedy=f"Give one of them, such as {folder / classes[-1]}.",
        )
    annotations = folder / _TINY_IMAGENET_LABELS
    if classes == ["images"] and annotations.is_file():
        raise InputError(
            "this is a flat folder of images with a file of labels, as Tiny-ImageNet has it",
            where=folder,
            remedy=f"Give {folder / 'images'} and --labels {annotations}.",
        )
    names_of = {one: list(_image_names(folder, one, left_out)) for one in classes}
    without = [printable(one) for one, names in names_of.items() if not names]
    if without:
        raise _no_images(folder, without, left_out)
    names = [name for one in classes for name in names_of[one]]
    shown = [printable(one) for one in classes]
    return FileDataset(
        base_name(folder),
        shown,
        folder,
        names,
        [index for index, one in enumerate(classes) for _ in names_of[one]],
        domain=imagenet.DOMAIN if imagenet.is_validation_folder(shown, names) else None,
        left_out=str(left_out),
    )


def _class_folders(folder: Path, left_out: LeftOut) -> list[str]:
    """Names of the subfolders that are classes, sorted; what else is there is noted."""
    classes = []
    for entry in listing(folder):
        if is_hidden(entry.name):
            if is_folder(entry) or is_image_name(entry.name):
                left_out.add_hidden(entry.name)
        elif is_folder(entry):
            classes.append(entry.name)
        elif is_image_name(entry.name):
            left_out.add_loose(entry.name)
    return classes


def _image_names(root: Path, class_folder: str, left_out: LeftOut) -> Iterator[str]:
    """Images below a class folder, relative to root: folder by folder, each sorted by name."""
    # Sorted as whole strings, as torchvision does: "c/a-b" comes before "c/a/b".
    for folder, names in sorted(_walk(root, class_folder, left_out)):
        inside = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if not is_image_name(name):
                left_out.add_file(name)
            elif is_hidden(name):
                left_out.add_hidden(f"{inside}/{name}")
            else:
                yield f"{inside}/{name}"


def _walk(root: Path, class_folder: str, left_out: LeftOut) -> Iterator[tuple[str, list[str]]]:
    """Every folder of a class, links followed but never in a circle, with its file names."""
    top = str(root / class_folder)
    above = {top: frozenset([os.path.realpath(top)])}
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_raise):
        chain = above.pop(folder)
        inside = Path(folder).relative_to(root).as_posix()
        for one in sorted(filter(is_hidden, subfolders)):
            left_out.add_hidden(f"{inside}/{one}")
        subfolders[:] = [one for one in subfolders if not is_hidden(one)]
        paths = {one: f"{folder}{os.sep}{one}" for one in subfolders}
        real = {one: os.path.realpath(path) for one, path in paths.items()}
        subfolders[:] = [one for one in subfolders if real[one] not in chain]
        above |= {paths[one]: chain | {real[one]} for one in subfolders}
        yield folder, names


def _raise(error: OSError) -> None:
    raise cannot_list(error.filename, error) from error


def _no_classes(folder: Path) -> InputError:
    entries = listing(folder)
    loose = [
        entry.name
        for entry in entries
        if is_image_name(entry.name) and not is_hidden(entry.name)
    ]
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


def _no_images(folder: Path, without: list[str], left_out: LeftOut) -> InputError:
    held = f"; left out: {left_out}" if str(left_out) else ""
    return InputError(
        f"{len(without)} class folders hold no image: {some(without)}{held}",
        where=folder,
        remedy="Fill or remove them: every subfolder counts as a class. An image ends in "
        f"{', '.join(image_suffixes())}.",
    )
