"""What every source of images offers: stable ids, labels, class names, decoded images."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from noctule.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


# Far above any labelled set of images; a greater index is an id, not a class.
_MOST_CLASSES = 1_000_000
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?")

WHITE: Final = "#ffffff"


class Dataset(ABC):
    """A labelled set of images in a fixed order; picklable, so that workers can read it.

    Args:
        name: what the user called it, for tables and the run record.
        class_names: one name per class, in label order.
        ids: one unique, stable id per image: a relative POSIX path, or such as
            "test/000123". Outcome rows are keyed and joined by it.
        labels: (len(ids),) class indices in [0, len(class_names)).
        domain: the image population that published reference errors refer to, such as
            "imagenet-1k-val"; None when it is not certain.

    Raises:
        InputError: for a dataset without images, an id given twice, or a label out of range.
    """

    in_memory: ClassVar[bool] = False  # whether reading is so cheap that no worker pays

    background: str | None = None
    """The colour behind transparent images, as "#rrggbb"; None if it has no such images."""

    left_out: str = ""
    """What lies among its files and is not used, in words."""

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        ids: Sequence[str],
        labels: Sequence[int] | NDArray[np.integer],
        *,
        domain: str | None = None,
    ) -> None:
        self.name = name
        self.domain = domain
        self.class_names = tuple(class_names)
        self.ids: Sequence[str] = tuple(ids)
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64).reshape(-1)
        self.source: Mapping[str, str] | None = None
        """What to give `open_dataset` to open it again: `spec`, `labels_file`, `background`."""
        self._check()

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The image at `index` as 8-bit "RGB" or "L"; the caller may write to it.

        Raises:
            UnreadableImageError: if it cannot be decoded, naming the image.
        """

    @abstractmethod
    def content(self) -> Iterator[bytes]:
        """Bytes that change when the images change, in order: the fingerprint's raw material.

        For files their sizes (reading 50,000 photographs only to name them would cost as
        much as evaluating them), for arrays the values.
        """

    def fingerprint(self) -> str:
        """SHA-256, as 64 hex digits, over class names, ids, labels and `content()`.

        The folder's place and the dataset's name are not part of it: a moved or renamed copy
        is the same dataset.
        """
        digest = hashlib.sha256()
        digest.update(json.dumps([self.class_names, self.ids], ensure_ascii=True).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        for piece in self.content():
            digest.update(piece)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        without = f"; left out: {self.left_out}" if self.left_out else ""
        return (
            f"<{type(self).__name__} {self.name!r}: {len(self)} images, "
            f"{len(self.class_names)} classes{without}>"
        )

    def _check(self) -> None:
        if not len(self.ids):
            raise InputError("this dataset has no images", where=self.name)
        if len(self.ids) != len(self.labels):
            raise InputError(
                f"{len(self.ids)} images but {len(self.labels)} labels", where=self.name
            )
        if len(set(self.ids)) != len(self.ids):
            twice = Counter(self.ids).most_common(1)[0][0]
            raise InputError(f"the image id '{twice}' occurs twice", where=self.name)
        for name in (*self.ids, *self.class_names):
            _check_unicode(name, self.name)
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.class_names):
            raise InputError(
                f"labels run from {low} to {high}, but there are {len(self.class_names)} "
                f"classes, so they must lie in 0 to {len(self.class_names) - 1}",
                where=self.name,
            )


def _check_unicode(name: str, where: str) -> None:
    """Refuse half of a surrogate pair, which no file of rows can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name!a} is not valid Unicode text",
            where=where,
            remedy="Rename this image or class.",
        ) from error


def class_index(label: str) -> int | None:
    """The whole number that a label is, in any usual notation; None for a name.

    >>> [class_index(text) for text in ("10", "+10", "10.0", "1e1", "10.5", "class_10")]
    [10, 10, 10, 10, None, None]
    """
    if not _NUMBER.fullmatch(label):
        return None
    number = Decimal(label)
    return int(number) if number == number.to_integral_value() else None


def numbered_classes(labels: Sequence[int] | NDArray[np.integer], where: object) -> list[str]:
    """Names for classes that have only an index: "0", "1", … up to the highest in use.

    >>> numbered_classes([2, 0], "labels.txt")
    ['0', '1', '2']

    Raises:
        InputError: for an index that is negative or beyond any plausible number of classes.
    """
    low, high = min(labels, default=0), max(labels, default=-1)
    if low < 0 or high >= _MOST_CLASSES:
        raise InputError(
            f"{low if low < 0 else high} is not a class index",
            where=where,
            remedy=f"Classes count from 0, and there are at most {_MOST_CLASSES:,}.",
        )
    return [str(index) for index in range(high + 1)]
