"""Datasets whose images are files: reading, fingerprint and the errors of a wrong path."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from noctule.data.dataset import WHITE, Dataset
from noctule.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES: Final = {
    "jpg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "zlib": (".png",),
    "webp": (".webp",),
    "avif": (".avif",),
    "jpg_2000": (".jp2", ".j2k", ".jpx", ".jpc"),
}
"""Endings by the codec that Pillow needs for them; it has the codecs of the others itself."""
_OWN_SUFFIXES: Final = (".bmp", ".gif", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")

# What systems and programs leave among images; a name with a dot in front is hidden anyway.
_HIDDEN: Final = frozenset(
    ("@eaDir", "@Recycle", "@__thumb", "@Recently-Snapshot", "#recycle", "__MACOSX",
     "$RECYCLE.BIN", "lost+found", "System Volume Information")
)  # fmt: skip
_NOT_WORTH_SAYING: Final = ("thumbs.db", "desktop.ini")


@functools.cache
def image_suffixes() -> tuple[str, ...]:
    """Endings, in lower case, that make a file an image: of what can be decoded here.

    >>> {".jpg", ".jfif", ".png", ".gif"} <= set(image_suffixes())
    True
    """
    from PIL import features

    coded = (ends for codec, ends in _SUFFIXES.items() if features.check(codec))
    return tuple(sorted([*_OWN_SUFFIXES, *(one for ends in coded for one in ends)]))


class LeftOut:
    """What lies among the images of a folder and is not used, so that it can be said."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._hidden: list[str] = []
        self._loose: list[str] = []

    def add_hidden(self, path: str) -> None:
        """A hidden folder or image."""
        self._hidden.append(printable(path))

    def add_loose(self, path: str) -> None:
        """An image beside the class folders."""
        self._loose.append(printable(path))

    def add_file(self, name: str) -> None:
        """A file that does not end like an image; hidden ones are not worth saying."""
        if not name.startswith(".") and name.lower() not in _NOT_WORTH_SAYING:
            self._files[Path(name).suffix.lower() or "without suffix"] += 1

    def __str__(self) -> str:
        """The counts, or nothing if there is nothing to say."""
        parts = []
        if self._files:
            kinds = [f"{count} {printable(end)}" for end, count in self._files.most_common()]
            parts.append(f"{self._files.total()} files that are not images ({some(kinds)})")
        if self._hidden:
            parts.append(f"{len(self._hidden)} hidden ({some(self._hidden, most=2)})")
        if self._loose:
            parts.append(
                f"{len(self._loose)} images beside the class folders "
                f"({some(self._loose, most=2)})"
            )
        return shown(", ".join(parts))


class FileDataset(Dataset):
    """One image per file below a root folder.

    Args:
        root: the folder.
        names: path of each image relative to it, with "/" between folders.
        ids: ids other than the names.
        left_out: What else lies in the folder, for people.
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
        left_out: str = "",
    ) -> None:
        self.background = WHITE
        self.left_out = left_out
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

        return decode_file(
            self.file(index), self.ids[index], background=self.background or WHITE
        )

    def content(self) -> Iterator[bytes]:
        """The size of every file in bytes, or that it cannot be had; a background not white."""
        if self.background != WHITE:
            yield f"background {self.background}\n".encode()
        for index in range(len(self)):
            try:
                size = str(self.file(index).stat().st_size)
            except OSError:
                size = "missing"
            yield f"{size}\n".encode()


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image, by how its name ends.

    >>> is_image_name("n01440764/a.JPEG"), is_image_name("notes.txt")
    (True, False)
    """
    return name.lower().endswith(image_suffixes())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's or a program's own, and no part of a dataset.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "@eaDir", "._1.jpg", "cat")]
    [True, True, True, False]
    """
    return name.startswith(".") or name in _HIDDEN


def printable(name: str) -> str:
    r"""A file name as valid Unicode in the form NFC: bytes that are not UTF-8 become escapes.

    Disks keep other forms of one name; an image has the same id, and so the same noise, on all.

    >>> printable("caf" + os.fsdecode(bytes([0xE9])))
    'caf\\udce9'
    """
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())


COMMON_NAMES = {"train", "val", "valid", "validation", "test", "images", "data", "dataset"}


def base_name(path: Path) -> str:
    """The last component of a path, as a dataset's name; of "." the current folder's.

    Names that many datasets have are given with the folder they lie in.

    >>> base_name(Path("/data/flowers")), base_name(Path("/data/imagenet/val"))
    ('flowers', 'imagenet/val')
    """
    whole = path.absolute()
    if whole.stem.casefold() in COMMON_NAMES and whole.parent.name:
        return printable(f"{whole.parent.name}/{whole.name}")
    return printable(whole.name or str(path))


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
    first = ", ".join(names[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"
