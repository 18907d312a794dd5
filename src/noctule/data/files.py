"""Datasets whose images are files: reading, fingerprint and the errors of a wrong path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from noctule.data.dataset import Dataset
from noctule.errors import InputError, nearest

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Endings, in lower case, that make a file an image: torchvision's list."""


class FileDataset(Dataset):
    """One image per file below a root folder.

    Args:
        root: the folder.
        names: path of each image relative to it, with "/" between folders.
        ids: ids other than the names.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        root: Path,
        names: Sequence[str],
        labels: Sequence[int] | NDArray[np.integer],
        *,
        ids: Sequence[str] | None = None,
        domain: str | None = None,
    ) -> None:
        self.root = root.absolute()
        self._names = tuple(names)
        ids = [printable(one) for one in names] if ids is None else ids
        super().__init__(name, class_names, ids, labels, domain=domain)

    def file(self, index: int) -> Path:
        """Where image `index` lies on disk."""
        return self.root / self._names[index]

    def read(self, index: int) -> Image.Image:
        """Image `index` as 8-bit "RGB" or "L", upright; see `noctule.data.decode`."""
        from noctule.data.decode import decode_file

        return decode_file(self.file(index), self.ids[index])

    def content(self) -> Iterator[bytes]:
        """The size of every file in bytes, or that it cannot be had."""
        for index in range(len(self)):
            try:
                size = str(self.file(index).stat().st_size)
            except OSError:
                size = "missing"
            yield f"{size}\n".encode()


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image, by how its name ends; hidden files may count.

    >>> is_image_name("n01440764/a.JPEG"), is_image_name("notes.txt")
    (True, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def printable(name: str) -> str:
    r"""A file name as valid Unicode: bytes that are not UTF-8 become escapes.

    >>> printable("caf" + os.fsdecode(bytes([0xE9])))
    'caf\\udce9'
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def base_name(path: Path) -> str:
    """The last component of a path, as a dataset's name; of "." the current folder's.

    >>> base_name(Path("/data/imagenet/val"))
    'val'
    """
    return printable(path.absolute().name or str(path))


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name.

    Raises:
        InputError: if it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise cannot_list(folder, error) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def cannot_list(folder: Path | str, error: OSError) -> InputError:
    """The error for a folder the operating system does not let us look into."""
    return InputError(
        f"this folder cannot be read: {error.strerror or error}",
        where=folder,
        remedy="Check its permissions.",
    )


def missing_path(path: Path, what: str) -> InputError:
    """The error for a path that does not exist, with the nearest existing neighbour.

    Args:
        path: the path that was given.
        what: what was expected there, such as "file or folder".
    """
    parent = path.absolute().parent
    while not parent.is_dir():
        parent = parent.parent
    missing = path.absolute().relative_to(parent).parts[0]
    try:
        guess = nearest(missing, [entry.name for entry in listing(parent)])
    except InputError:
        guess = None
    remedy = f"'{parent}' exists"
    remedy += f" and holds '{guess}'." if guess else f", but holds nothing like '{missing}'."
    return InputError(f"there is no such {what}", where=path, remedy=remedy)


def some(names: Sequence[str], most: int = 5) -> str:
    """A few of many names, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
