"""Datasets of image files, and errors for missing paths."""

from __future__ import annotations

import functools
import itertools
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
"""Suffixes of the formats for which Pillow needs an external codec, by codec."""
_OWN_SUFFIXES: Final = (".bmp", ".gif", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")

# Left among images by systems and programs; names that start with a dot are hidden anyway.
_HIDDEN: Final = frozenset(
    ("@eaDir", "@Recycle", "@__thumb", "@Recently-Snapshot", "#recycle", "__MACOSX",
     "$RECYCLE.BIN", "lost+found", "System Volume Information")
)  # fmt: skip
_SYSTEM_FILES: Final = ("thumbs.db", "desktop.ini")


@functools.cache
def image_suffixes() -> tuple[str, ...]:
    """Suffixes, in lower case, of the image files that this installation can decode.

    >>> {".jpg", ".jfif", ".png", ".gif"} <= set(image_suffixes())
    True
    """
    from PIL import features

    by_codec = [suffixes for codec, suffixes in _SUFFIXES.items() if features.check(codec)]
    return tuple(sorted([*_OWN_SUFFIXES, *itertools.chain(*by_codec)]))


class LeftOut:
    """Files and folders in a dataset's folder that are not used."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._hidden: list[str] = []
        self._loose: list[str] = []

    def add_hidden(self, path: str) -> None:
        """Add a hidden folder or image."""
        self._hidden.append(printable(path))

    def add_loose(self, path: str) -> None:
        """Add an image beside the class folders."""
        self._loose.append(printable(path))

    def add_file(self, name: str) -> None:
        """Add a file without an image suffix; hidden and system files are ignored."""
        if not name.startswith(".") and name.lower() not in _SYSTEM_FILES:
            self._files[Path(name).suffix.lower() or "without suffix"] += 1

    def __str__(self) -> str:
        """The counts with examples; empty if nothing is left out."""
        parts = []
        if self._files:
            kinds = [f"{count} {printable(kind)}" for kind, count in self._files.most_common()]
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
        root: The folder.
        names: POSIX paths of the images, relative to `root`.
        ids: Ids of the images; by default their names.
        left_out: Description of the files that are not used.
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
        ids = [printable(path) for path in names] if ids is None else ids
        super().__init__(name, class_names, ids, labels, domain=domain)

    def file(self, index: int) -> Path:
        """The path of image `index`."""
        return self.root / self._names[index]

    def read(self, index: int) -> Image.Image:
        """Image `index` as 8-bit "RGB" or "L", upright; see `noctule.data.decode`."""
        from noctule.data.decode import decode_file

        return decode_file(
            self.file(index), self.ids[index], background=self.background or WHITE
        )

    def content(self) -> Iterator[bytes]:
        """The size of each file, or "missing"; and the background, unless it is white."""
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
    """Whether a file or folder belongs to a system or program, not to the dataset.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "@eaDir", "._1.jpg", "cat")]
    [True, True, True, False]
    """
    return name.startswith(".") or name in _HIDDEN


def printable(name: str) -> str:
    r"""A file name as NFC-normalised Unicode, with bytes that are not UTF-8 escaped.

    File systems normalise names differently; an image needs the same id, and so the same noise,
    on all of them.

    >>> printable("caf" + os.fsdecode(bytes([0xE9])))
    'caf\\udce9'
    """
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())


SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}
COMMON_NAMES = {"train", "val", "valid", "validation", "test", "images", "data", "dataset"}


def base_name(path: Path) -> str:
    """The last component of a path, as the name of a dataset; "." is resolved.

    Common names such as "val" are prefixed with the parent folder.

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
        InputError: The folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise cannot_list(folder, error) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one, and not a circular link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def cannot_list(folder: Path | str, error: OSError) -> InputError:
    """The error for a folder that cannot be read."""
    return InputError(
        f"this folder cannot be read: {error.strerror or error}",
        where=folder,
        remedy="Check its permissions.",
    )


def missing_path(path: Path, what: str) -> InputError:
    """The error for a path that does not exist; it suggests the nearest existing name.

    Args:
        path: The missing path.
        what: The expected object, such as "file or folder".
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
    remedy += (
        f" and contains '{guess}'." if guess else f", but contains no name like '{missing}'."
    )
    return InputError(f"there is no such {what}", where=path, remedy=remedy)


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and the number of the others.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    first = ", ".join(names[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"
