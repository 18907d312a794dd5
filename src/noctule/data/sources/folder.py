"""A folder with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from noctule.data import imagenet
from noctule.data.files import (
    SPLIT_NAMES,
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


def _is_class_folder(request: DataRequest) -> bool:
    return request.labels_file is None and request.path.is_dir()


@data_source(
    "folder",
    ("FOLDER", "one subfolder of images per class, as torchvision's ImageFolder"),
    claims=_is_class_folder,
    opens_paths=True,
    is_fallback=True,
)
def open_class_folders(request: DataRequest) -> FileDataset:
    """The images of a folder of class folders; see `open_folder`."""
    return open_folder(request.path)


def open_folder(folder: Path) -> FileDataset:
    """Open the images in class subfolders, in the order of torchvision's ImageFolder.

    Classes are the subfolders sorted by name; the images of a class are all files below it, at
    any depth, with an image suffix (`image_suffixes`). Unlike in ImageFolder, hidden files and
    folders and those of systems, such as @eaDir, are ignored; circular links are not followed;
    and unreadable subfolders are an error. The dataset lists ignored files in `left_out`.

    The domain is "imagenet-1k-val" if the names of classes and files match.

    Raises:
        InputError: The folder is empty, unreadable, or has no class folders, or a class folder
            has no images.
    """
    left_out = LeftOut()
    classes = _class_folders(folder, left_out)
    if not classes:
        raise _no_classes(folder)
    if set(map(str.lower, classes)) <= SPLIT_NAMES:
        raise InputError(
            f"its subfolders are named like splits, not classes: {', '.join(classes)}",
            where=folder,
            remedy=f"Use one of them, such as {folder / classes[-1]}.",
        )
    annotations = folder / _TINY_IMAGENET_LABELS
    if classes == ["images"] and annotations.is_file():
        raise InputError(
            "this is a flat folder of images with a labels file, as in Tiny-ImageNet",
            where=folder,
            remedy=f"Use {folder / 'images'} and --labels {annotations}.",
        )
    names_of = [list(_image_names(folder, name, left_out)) for name in classes]
    class_names = [printable(name) for name in classes]
    empty = [name for name, names in zip(class_names, names_of, strict=True) if not names]
    if empty:
        raise _no_images(folder, empty, left_out)
    names = [name for names in names_of for name in names]
    labels = [index for index, names in enumerate(names_of) for _ in names]
    return FileDataset(
        base_name(folder),
        class_names,
        folder,
        names,
        labels,
        domain=imagenet.domain_of(names, class_names, labels),
        left_out=str(left_out),
    )


def _class_folders(folder: Path, left_out: LeftOut) -> list[str]:
    """Sorted names of the class folders; other entries are added to `left_out`."""
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
    """Paths of the images below a class folder, relative to root, in torchvision's order."""
    # Folders are sorted as strings: "c/a-b" precedes "c/a/b".
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
    """The folders of a class with their file names; circular links are not followed."""
    top = str(root / class_folder)
    above = {top: frozenset([os.path.realpath(top)])}
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_raise):
        chain = above.pop(folder)
        inside = Path(folder).relative_to(root).as_posix()
        for name in sorted(filter(is_hidden, subfolders)):
            left_out.add_hidden(f"{inside}/{name}")
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        paths = {name: f"{folder}{os.sep}{name}" for name in subfolders}
        real = {name: os.path.realpath(path) for name, path in paths.items()}
        subfolders[:] = [name for name in subfolders if real[name] not in chain]
        above |= {paths[name]: chain | {real[name]} for name in subfolders}
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
            remedy="Sort them into one subfolder per class, or pass a file with their labels: "
            "--labels FILE.",
        )
    return InputError(
        "this folder contains neither class subfolders nor images"
        if entries
        else "this folder is empty",
        where=folder,
        remedy="Use a folder with one subfolder of images per class.",
    )


def _no_images(folder: Path, empty: list[str], left_out: LeftOut) -> InputError:
    ignored = f"; left out: {left_out}" if str(left_out) else ""
    return InputError(
        f"{len(empty)} class folders contain no image: {some(empty)}{ignored}",
        where=folder,
        remedy="Fill or remove them: every subfolder counts as a class. Images end in "
        f"{', '.join(image_suffixes())}.",
    )
