"""torchvision datasets that are already on disk: "torchvision:CIFAR10"."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import numpy as np

from noctule.data.dataset import Dataset, numbered_classes
from noctule.data.files import FileDataset
from noctule.data.registry import DataRequest, check_options, data_source, parse_options
from noctule.data.sources.arrays import ArrayDataset
from noctule.errors import InputError, nearest, unknown_name

PREFIX: Final = "torchvision:"
DEFAULT_ROOT: Final = "data"


class _Set(NamedTuple):
    splits: tuple[str, ...]  # the first is the default
    flag: bool = False  # whether torchvision takes train=True instead of split="train"
    labels: str = "_labels"
    files: str | None = "_image_files"  # None: images are in the array `data`


_CIFAR_LIKE: Final = _Set(("test", "train"), flag=True, labels="targets", files=None)
_SETS: Final = {
    "CIFAR10": _CIFAR_LIKE,
    "CIFAR100": _CIFAR_LIKE,
    "Country211": _Set(("test", "valid", "train"), labels="samples", files="samples"),
    "DTD": _Set(("test", "val", "train")),
    "EuroSAT": _Set(("all",), labels="samples", files="samples"),
    "FGVCAircraft": _Set(("test", "val", "train", "trainval")),
    "FashionMNIST": _CIFAR_LIKE,
    "Flowers102": _Set(("test", "val", "train")),
    "Food101": _Set(("test", "train")),
    "GTSRB": _Set(("test", "train"), labels="_samples", files="_samples"),
    "Imagenette": _Set(("val", "train"), labels="_samples", files="_samples"),
    "KMNIST": _CIFAR_LIKE,
    "MNIST": _CIFAR_LIKE,
    "OxfordIIITPet": _Set(("test", "trainval"), files="_images"),
    "STL10": _Set(("test", "train"), labels="labels", files=None),
    "SVHN": _Set(("test", "train", "extra"), labels="labels", files=None),
}


@data_source(
    "torchvision",
    (
        "torchvision:NAME?root=FOLDER&split=test",
        "a dataset torchvision knows, already on disk; NAME such as CIFAR10",
    ),
)
def open_named(request: DataRequest) -> Dataset:
    """Open a torchvision dataset; see `open_torchvision`."""
    return open_torchvision(request.text)


def open_torchvision(spec: str) -> Dataset:
    """Open "torchvision:NAME?root=FOLDER&split=SPLIT"; nothing is downloaded.

    The default root is "data". The default split is the test split, or "val" if the test split
    has no labels. Ids are "test/000000" and so on, in torchvision's order.

    Raises:
        InputError: The name, an option or the split is unknown, or the files are missing.
    """
    name, root, split = _parse(spec)
    original = _construct(name, root, split, spec)
    labels = getattr(original, _SETS[name].labels)
    files_attribute = _SETS[name].files
    if _SETS[name].labels == files_attribute:  # pairs of file and label
        labels = [label for _, label in labels]
    ids = [f"{split}/{index:06d}" for index in range(len(labels))]
    class_names = _class_names(original, labels)
    shown = f"torchvision:{name}/{split}"
    if files_attribute is None:
        reopen = (
            open_torchvision,
            (f"{PREFIX}{name}?root={quote(str(root.absolute()))}&split={split}",),
        )
        images, indices = np.asarray(original.data), np.asarray(labels)
        return ArrayDataset(
            shown, images, indices, class_names=class_names, ids=ids, reopen=reopen
        )
    entries = getattr(original, files_attribute)
    files = [Path(entry[0] if isinstance(entry, tuple) else entry) for entry in entries]
    names = [file.absolute().relative_to(root.absolute()).as_posix() for file in files]
    return FileDataset(shown, class_names, root, names, labels, ids=ids)


def _parse(spec: str) -> tuple[str, Path, str]:
    name, _, query = spec.removeprefix(PREFIX).partition("?")
    if name not in _SETS:
        guess = nearest(name, _SETS)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise InputError(
            f"unknown torchvision dataset '{name}'", remedy=f"{hint}Known: {', '.join(_SETS)}."
        )
    options = parse_options(query, spec)
    check_options(options, ("root", "split"), spec)
    splits = _SETS[name].splits
    split = options.get("split", splits[0])
    if split not in splits:
        raise unknown_name("split", split, splits, where=spec)
    return name, Path(options.get("root", DEFAULT_ROOT)).expanduser(), split


def _construct(name: str, root: Path, split: str, spec: str) -> Any:
    from torchvision import datasets

    options: dict[str, Any] = {"split": split}
    if _SETS[name].flag:
        options = {"train": split == "train"}
    elif len(_SETS[name].splits) == 1:
        options = {}
    try:
        with warnings.catch_warnings():
            # numpy and scipy warn about old archives.
            warnings.simplefilter("ignore")
            return getattr(datasets, name)(str(root), download=False, **options)
    except Exception as error:  # torchvision can raise any exception for damaged files
        call = ", ".join([f"{str(root)!r}", *(f"{k}={v!r}" for k, v in options.items())])
        raise InputError(
            f"torchvision cannot open {name} ({split}) in '{root}': {_first_line(error)}",
            where=spec,
            remedy=f"Use the folder that contains it: '{PREFIX}{name}?root=FOLDER', or "
            "download it once in Python: import torchvision; "
            f"torchvision.datasets.{name}({call}, download=True).",
        ) from error


def _first_line(error: Exception) -> str:
    # Without torchvision's own remedy.
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.split(" You can use download=True")[0].rstrip(".")


def _class_names(original: Any, labels: Sequence[int]) -> list[str]:
    classes = getattr(original, "classes", None)
    if classes is None:
        return numbered_classes(labels, PREFIX)
    return [name if isinstance(name, str) else ", ".join(name) for name in classes]
