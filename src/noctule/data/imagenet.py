"""Recognise the ImageNet validation set, to which published reference errors apply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

DOMAIN: Final = "imagenet-1k-val"
NUM_CLASSES: Final = 1000

_WNIDS_FILE: Final = Path(__file__).with_name("imagenet-wnids.json")
_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(_n\d{8})?")

# Labels of the first images as indices into the sorted WordNet ids, which classifiers use.
# ImageNet's own ground-truth file has another order, from 1: it labels the first image 490.
_FIRST_LABELS: Final = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332)


def domain_of(
    names: Sequence[str], class_names: Sequence[str], labels: Sequence[int]
) -> str | None:
    """`DOMAIN` if names, classes and labels are those of validation images, otherwise None.

    The images may be a subset of the 50,000; the classes are the 1000 WordNet ids, or 1000
    others that the labels fit.
    """
    is_validation = all_validation_names(names) and (
        has_all_wnids(class_names)
        or (len(class_names) == NUM_CLASSES and labels_fit(names, labels))
    )
    return DOMAIN if is_validation else None


def has_all_wnids(class_names: Iterable[str]) -> bool:
    """Whether the classes are exactly the 1000 WordNet ids of ILSVRC 2012, in any order."""
    return tuple(sorted(class_names)) == wnids()


@cache
def wnids() -> tuple[str, ...]:
    """The 1000 WordNet ids of ILSVRC 2012, sorted: the order in which classifiers have them.

    >>> wnids()[:2], len(wnids())
    (('n01440764', 'n01443537'), 1000)
    """
    return tuple(json.loads(_WNIDS_FILE.read_text(encoding="utf-8")))


def validation_number(name: str) -> int | None:
    """The number of a validation image, from 1; None for other file names.

    >>> validation_number("n01751748/ILSVRC2012_val_00000001.JPEG")
    1
    """
    match = _VAL_NAME.fullmatch(PurePosixPath(name).stem)
    return int(match[1]) if match else None


def validation_name(number: int) -> str:
    """The file name of a validation image.

    >>> validation_name(1)
    'ILSVRC2012_val_00000001.JPEG'
    """
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def all_validation_names(names: Iterable[str]) -> bool:
    """Whether all files are named like validation images."""
    return all(validation_number(name) is not None for name in names)


def contradiction(names: Sequence[str], labels: Sequence[int]) -> tuple[str, int, int] | None:
    """Name, label and true class of the first image with a label known to be wrong, or None.

    Args:
        names: File names.
        labels: Class indices, which should index the sorted WordNet ids from 0.
    """
    for name, label in zip(names, labels, strict=True):
        number = validation_number(name)
        if number is not None and 1 <= number <= len(_FIRST_LABELS):
            true = _FIRST_LABELS[number - 1]
            if label != true:
                return name, label, true
    return None


def labels_fit(names: Sequence[str], labels: Sequence[int]) -> bool:
    """Whether integer labels of validation images are plausible for the 1000 classes.

    They are not if a known label is wrong, or if all labels are small: then they belong to a
    subset or a grouping (100, 200 or 16 classes are common).
    """
    return (
        all_validation_names(names)
        and min(labels) >= 0
        and NUM_CLASSES // 2 <= max(labels) < NUM_CLASSES
        and contradiction(names, labels) is None
    )
