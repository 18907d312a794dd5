"""The base class of datasets: stable ids, labels, class names and decoded images."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from noctule.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


# Far above any labelled dataset; a larger number is an id, not a class index.
_MOST_CLASSES = 1_000_000
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?")

WHITE: Final = "#ffffff"


class Dataset(ABC):
    """Labelled images in a fixed order; picklable, so that worker processes can read them.

    Args:
        name: Name in tables and in the run record.
        class_names: Names of the classes, in label order.
        ids: Unique, stable ids of the images, such as relative POSIX paths or "test/000123".
            Outcome rows are keyed and joined by them.
        labels: Class indices in [0, len(class_names)), (len(ids),).
        domain: Image population to which published reference errors refer, such as
            "imagenet-1k-val"; None if unknown.

    Raises:
        InputError: There are no images, an id occurs twice, or a label is out of range.
    """

    in_memory: ClassVar[bool] = False  # reading is too cheap to be worth worker processes

    background: str | None = None
    """Background of transparent images as "#rrggbb"; None if images cannot be transparent."""

    left_out: str = ""
    """Description of the files that are not used."""

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
        """Arguments of `open_dataset` to reopen it: `spec`, `labels_file` and so on."""
        self.subset: Mapping[str, Any] | None = None
        """Of a stated subset: fingerprint and number of images of the whole, and its limit."""
        self.right_labels: Sequence[tuple[int, ...]] | None = None
        """The right labels of each image, ascending, if several may be; see `right_labels`."""
        self._check()

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The image at `index` as 8-bit "RGB" or "L"; the caller may modify it.

        Raises:
            UnreadableImageError: The image cannot be decoded; its id is named.
        """

    @abstractmethod
    def content(self) -> Iterator[bytes]:
        """Bytes for the fingerprint, which change when the images change.

        They are the sizes of files, because reading 50,000 photographs would take as long as an
        evaluation, and the values of arrays.
        """

    def fingerprint(self) -> str:
        """SHA-256 (hex) of class names, ids, labels and `content()`.

        Path and name are not included: a moved or renamed copy is the same dataset.
        """
        digest = hashlib.sha256()
        digest.update(json.dumps([self.class_names, self.ids], ensure_ascii=True).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        if self.right_labels is not None:
            digest.update(json.dumps(self.right_labels).encode())
        for data in self.content():
            digest.update(data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        left_out = f"; left out: {self.left_out}" if self.left_out else ""
        return (
            f"<{type(self).__name__} {self.name!r}: {len(self)} images, "
            f"{len(self.class_names)} classes{left_out}>"
        )

    def _check(self) -> None:
        if not len(self.ids):
            raise InputError("this dataset has no images", where=self.name)
        if len(self.ids) != len(self.labels):
            raise InputError(
                f"{len(self.ids)} images but {len(self.labels)} labels", where=self.name
            )
        if len(set(self.ids)) != len(self.ids):
            repeated = Counter(self.ids).most_common(1)[0][0]
            raise InputError(f"the image id '{repeated}' occurs twice", where=self.name)
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
    """Refuse lone surrogates, which cannot be encoded as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name!a} is not valid Unicode text",
            where=where,
            remedy="Rename this image or class.",
        ) from error


def class_index(label: str) -> int | None:
    """The integer value of a label in any usual notation; None for a name.

    >>> [class_index(text) for text in ("10", "+10", "10.0", "1e1", "10.5", "class_10")]
    [10, 10, 10, 10, None, None]
    """
    if not _NUMBER.fullmatch(label):
        return None
    number = Decimal(label)
    return int(number) if number == number.to_integral_value() else None


def numbered_classes(labels: Sequence[int] | NDArray[np.integer], where: object) -> list[str]:
    """Names for classes without one: "0", "1", … up to the highest index.

    >>> numbered_classes([2, 0], "labels.txt")
    ['0', '1', '2']

    Raises:
        InputError: An index is negative or implausibly large.
    """
    low, high = min(labels, default=0), max(labels, default=-1)
    if low < 0 or high >= _MOST_CLASSES:
        raise InputError(
            f"{low if low < 0 else high} is not a class index",
            where=where,
            remedy=f"Class indices start at 0, with at most {_MOST_CLASSES:,} classes.",
        )
    return [str(index) for index in range(high + 1)]
