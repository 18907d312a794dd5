"""Where images come from: every image has a stable id, a label and a decoded image."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from noctule.arguments import path_like
from noctule.data.dataset import Dataset
from noctule.data.files import missing_path
from noctule.errors import InputError, NoctuleWarning, nearest
from noctule.input_files import reject_special_files

__all__ = ["Dataset", "DatasetForm", "dataset_forms", "open_dataset"]

EMBEDDED = ("photo-patches", "photo-patches/test", "photo-patches/train")
"""Datasets that come with the package."""


class DatasetForm(NamedTuple):
    """One way of naming a dataset, and what it means."""

    spec: str
    description: str


def dataset_forms() -> tuple[DatasetForm, ...]:
    """Every form of `open_dataset`'s argument, for lists and help.

    >>> [form.spec for form in dataset_forms()][:2]
    ['photo-patches', 'photo-patches/train']
    """
    return (
        DatasetForm("photo-patches", "embedded: 1,024 test crops of 16 photographs, 64 × 64"),
        DatasetForm("photo-patches/train", "embedded: the 5,120 crops to train on"),
        DatasetForm(
            "FOLDER", "one subfolder of images per class, as torchvision's ImageFolder"
        ),
        DatasetForm(
            "FOLDER --labels FILE", "a flat folder; the file says 'name label' per line"
        ),
        DatasetForm("FILE.npz", "arrays such as images and labels, or x_test and y_test"),
        DatasetForm(
            "FILE.npy", "an array of images, with labels.npy beside it or --labels FILE"
        ),
        DatasetForm(
            "torchvision:NAME?root=FOLDER&split=test",
            "a dataset torchvision knows, already on disk; NAME such as CIFAR10",
        ),
    )


def open_dataset(
    spec: str | Path | Dataset | tuple[Any, Any],
    *,
    labels_file: str | Path | None = None,
    background: str | None = None,
) -> Dataset:
    """The dataset that a name, a path or a pair of arrays stands for.

    Args:
        spec: one of `dataset_forms()`, (images, labels), or a dataset, which is returned.
        labels_file: labels for a flat folder or for an array file; see `noctule.data.flat`
            and `noctule.data.arrays` for its forms.
        background: The colour behind transparent images in files, as a name or "#rrggbb";
            white by default.

    Warns:
        NoctuleWarning: files in the folder are left out, with their number and kinds.

    Raises:
        InputError: if there is no such dataset, with the nearest name or path, or if it
            cannot be used as it is, with what to do.
    """
    if labels_file is not None:
        labels_file = path_like(labels_file, "labels_file").expanduser()
    if spec == "":
        raise InputError("the dataset's name is empty", remedy=_forms_text())
    if isinstance(spec, Path) or (isinstance(spec, str) and not _is_named(spec)):
        path = Path(spec).expanduser()
        dataset = _open_path(path, labels_file)
        dataset.source = {"spec": str(path.absolute())}
        if labels_file is not None:
            dataset.source = {**dataset.source, "labels_file": str(labels_file.absolute())}
        if dataset.left_out:
            warnings.warn(
                f"{path}: left out are {dataset.left_out}", NoctuleWarning, stacklevel=2
            )
        return _on_background(dataset, background)
    if labels_file is not None:
        raise InputError(
            f"{spec if isinstance(spec, str) else 'this dataset'} has labels of its own",
            where=labels_file,
            remedy="A labels file goes with a flat folder or an array file.",
        )
    if isinstance(spec, Dataset):
        return _on_background(spec, background)
    if isinstance(spec, str):
        dataset = _open_named(spec)
        dataset.source = {"spec": spec}
        return _on_background(dataset, background)
    return _on_background(_open_pair(spec), background)


def _on_background(dataset: Dataset, background: str | None) -> Dataset:
    """The dataset with a background for its transparent images, if one is asked for."""
    if background is None:
        return dataset
    from noctule.data.decode import background_colour

    colour = background_colour(background)
    if dataset.background is None:
        raise InputError(
            f"the images of {dataset.name} have no transparency",
            where="background",
            remedy="Leave it out: it is for images in files.",
        )
    dataset = copy.copy(dataset)  # the caller's stays as it is
    dataset.background = colour
    if dataset.source is not None:
        dataset.source = {**dataset.source, "background": colour}
    return dataset


def _is_named(spec: str) -> bool:
    return spec in EMBEDDED or spec.startswith("torchvision:")


def _open_named(spec: str) -> Dataset:
    if spec.startswith("torchvision:"):
        from noctule.data.torchvision_sets import open_torchvision

        return open_torchvision(spec)
    from noctule.data.photo_patches import PhotoPatches

    return PhotoPatches("train" if spec == "photo-patches/train" else "test")


def _open_path(path: Path, labels_file: Path | None) -> Dataset:
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"this path cannot be used: {error.strerror}", where=path) from error
    if is_folder:
        if labels_file is not None:
            from noctule.data.flat import open_flat

            return open_flat(path, labels_file)
        from noctule.data.folder import open_folder

        return open_folder(path)
    if not exists:
        raise _no_such_dataset(path)
    reject_special_files(path)
    if path.suffix.lower() in (".npz", ".npy"):
        from noctule.data.arrays import open_array_file

        return open_array_file(path, labels_file)
    raise InputError("this file is not a dataset", where=path, remedy=_forms_text())


def _open_pair(pair: Any) -> Dataset:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InputError(
            f"a {type(pair).__name__} is not a dataset",
            remedy="Give a name, a path, a Dataset, or a tuple (images, labels).",
        )
    from noctule.data.arrays import open_array_pair

    return open_array_pair(*pair)


def _no_such_dataset(path: Path) -> InputError:
    if len(path.parts) > 1 and path.parts[0] != "photo-patches":
        return missing_path(path, "file or folder")
    guess = nearest(str(path), EMBEDDED)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return InputError(
        f"unknown dataset '{path}', and there is no file or folder of this name",
        remedy=hint + _forms_text(),
    )


def _forms_text() -> str:
    return "A dataset is one of: " + "; ".join(form.spec for form in dataset_forms()) + "."
