"""Labels from a column of a table, or from one file per image: class names and indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.data import imagenet
from noctule.data.dataset import class_index, numbered_classes
from noctule.errors import InputError

_MOST_SHOWN = 80


def classes_of(
    labels: Sequence[str], names: Sequence[str], where: object
) -> tuple[list[str], NDArray[np.int64]]:
    """Class names, and the class index of each image, (len(labels),).

    Args:
        labels: The labels as text: all class indices from 0, or all class names. The classes
            are then the distinct names, sorted.
        names: File names of the images, by which ImageNet's are recognised; may be empty.
        where: The file, for the message.

    Raises:
        InputError: A label is empty, or only some are class indices.

    >>> classes_of(["dog", "cat", "dog"], [], "list.csv")
    (['cat', 'dog'], array([1, 0, 1]))
    """
    used = sorted(set(labels))
    index_of = {text: index for text in used if (index := class_index(text)) is not None}
    for text in used:
        if not text or (index_of and text not in index_of):
            what = f"'{text[:_MOST_SHOWN]}' is not a class index, unlike other labels"
            position = list(labels).index(text)
            image = f", image '{names[position]}'" if names else f", image {position + 1}"
            raise InputError(
                what if text else "an image has no label",
                where=f"{where}{image}",
                remedy="Labels are all class indices from 0, or all class names.",
            )
    if index_of:
        indices = [index_of[label] for label in labels]
        return numbered_labels(names, indices, where), _as_array(indices)
    index_of = {name: index for index, name in enumerate(used)}
    return used, _as_array([index_of[label] for label in labels])


def numbered_labels(
    names: Sequence[str], labels: Sequence[int], where: object, *, by_position: bool = False
) -> list[str]:
    """Names "0", "1", … of the classes that indices refer to; 1000 for ImageNet's images.

    Args:
        names: File names of the images; may be empty.
        labels: Class indices.
        where: The file, for the message.
        by_position: Whether labels were joined to images by position.

    Raises:
        InputError: Labels of ImageNet images follow ImageNet's own class order, or an index is
            negative or implausibly large.
    """
    wrong = imagenet.contradiction(names, labels) if names else None
    in_own_order = max(labels) == imagenet.NUM_CLASSES and min(labels) > 0
    if in_own_order or (wrong and by_position):
        raise _wrong_class_order(wrong, where)
    is_imagenet = bool(names) and imagenet.labels_fit(names, labels)
    return numbered_classes([imagenet.NUM_CLASSES - 1] if is_imagenet else labels, where)


def _as_array(indices: Sequence[Any]) -> NDArray[np.int64]:
    return np.array(indices, np.int64)


def _wrong_class_order(wrong: tuple[str, int, int] | None, where: object) -> InputError:
    what = "the class indices run from 1 to 1000"
    if wrong:
        what = f"'{wrong[0]}' is labelled {wrong[1]}, but its class is {wrong[2]}"
    return InputError(
        f"{what}: the labels are not indices of the sorted WordNet ids, as classifiers expect",
        where=where,
        remedy="ILSVRC2012_validation_ground_truth.txt has its own class order: pass the "
        "development kit's folder, which describes it, as --labels ILSVRC2012_devkit_t12. Or "
        "use a file with WordNet ids, or with lines such as 'ILSVRC2012_val_00000001.JPEG 65'.",
    )
