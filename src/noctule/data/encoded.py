"""Datasets of encoded images inside larger files: archives and tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctule.data.dataset import WHITE, Dataset
from noctule.data.files import SPLIT_NAMES, LeftOut, is_hidden, is_image_name
from noctule.errors import InputError, UnreadableImageError, shown, unknown_name
from noctule.remote import AnyPath, RemoteError

if TYPE_CHECKING:
    from PIL import Image

MAX_IMAGE_BYTES: Final = 2**30
"""Largest size of one encoded image."""


class EncodedDataset(Dataset):
    """Images that are stored as the content of image files, such as JPEG, in larger files.

    Args:
        sizes: Size of each encoded image in bytes, (len(ids),).
        left_out: Description of the files that are not used.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        ids: Sequence[str],
        labels: Sequence[int] | NDArray[np.integer],
        *,
        sizes: Sequence[int],
        domain: str | None = None,
        left_out: str = "",
    ) -> None:
        self.background = WHITE
        self.left_out = left_out
        self.sizes = np.asarray(sizes, np.int64)
        super().__init__(name, class_names, ids, labels, domain=domain)

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The content of image `index` as that of an image file.

        Raises:
            OSError, ValueError: It cannot be read.
            RemoteError: The store that holds it fails.
        """

    @abstractmethod
    def file(self, index: int) -> AnyPath:
        """The file that holds image `index`."""

    def read(self, index: int) -> Image.Image:
        """Image `index` as 8-bit "RGB" or "L", upright; see `noctule.data.decode`."""
        from noctule.data.decode import decode_bytes

        image_id, where = self.ids[index], f"{self.file(index)}, {self.ids[index]}"
        if self.sizes[index] > MAX_IMAGE_BYTES:
            reason = f"{self.sizes[index]:,} bytes, more than {MAX_IMAGE_BYTES:,}"
            raise UnreadableImageError(image_id, reason, where=where)
        try:
            data = self.encoded(index)
        except RemoteError:  # of the store, not of the image
            raise
        except Exception as error:  # decompressors raise any exception for damaged files
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UnreadableImageError(image_id, reason, where=where) from error
        background = self.background or WHITE
        return decode_bytes(data, image_id, background=background, where=where)

    def content(self) -> Iterator[bytes]:
        """The size of each encoded image; and the background, unless it is white."""
        if self.background != WHITE:
            yield f"background {self.background}\n".encode()
        for size in self.sizes:
            yield f"{size}\n".encode()


def check_member(name: str, archive: Path) -> str:
    """The path of a member of an archive, relative to the archive, with slashes.

    Raises:
        InputError: The path is absolute or leads out of the archive.

    >>> check_member("./cat/1.png", Path("a.tar"))
    'cat/1.png'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(
            f"its member '{shown(name)}' has a path outside the archive",
            where=archive,
            remedy="Create the archive again, from within the folder of the images.",
        )
    return str(path)


def is_used(name: str, left_out: LeftOut) -> bool:
    """Whether a member is an image; others are added to `left_out`."""
    parts = PurePosixPath(name).parts
    if not is_image_name(name):
        left_out.add_file(parts[-1] if parts else name)
    elif any(map(is_hidden, parts)):
        left_out.add_hidden(name)
    else:
        return True
    return False


class ClassFolders(NamedTuple):
    """Images in class folders, in the order of a folder on disk.

    Attributes:
        class_names: Names of the classes, sorted.
        names: Paths of the images from the class folder on.
        order: Index of each image among all members.
        labels: Class index of each image.
    """

    class_names: list[str]
    names: list[str]
    order: list[int]
    labels: list[int]


def in_class_folders(
    names: Sequence[str], split: str | None, left_out: LeftOut, where: object
) -> ClassFolders:
    """The classes of an archive's images by their folders, as `noctule.data.sources.folder`.

    Folders around all images are ignored, such as the one that was archived.

    Args:
        names: Paths of the images.
        split: Folder of the split to use, if the archive has several.
        left_out: Receives the images that lie beside the class folders.
        where: The archive, for messages.

    Raises:
        InputError: The archive has no class folders, or splits of which none is chosen.

    >>> folders = in_class_folders(["set/dog/1.png", "set/cat/2.png"], None, LeftOut(), Path())
    >>> folders.class_names, folders.names, folders.order
    (['cat', 'dog'], ['cat/2.png', 'dog/1.png'], [1, 0])
    """
    paths = _without_common({index: name.split("/") for index, name in enumerate(names)})
    tops = {path[0] for path in paths.values() if len(path) > 1}
    if split is not None:
        if split not in tops:
            raise unknown_name("split", split, tops, where=where)
        inside = {index: path[1:] for index, path in paths.items() if path[0] == split}
        paths = _without_common(inside)
    elif tops and {top.lower() for top in tops} <= SPLIT_NAMES:
        raise InputError(
            f"its folders are named like splits, not classes: {', '.join(sorted(tops))}",
            where=where,
            remedy=f"Choose one of them: '{where}?split={sorted(tops)[-1]}'.",
        )
    return class_folders(paths, left_out, where)


def class_folders(
    paths: dict[int, list[str]], left_out: LeftOut, where: object
) -> ClassFolders:
    """Images by their class folders, as `noctule.data.sources.folder`.

    Args:
        paths: Parts of each image's path, by its index; those without a folder are removed.
        left_out: Receives the images that lie beside the class folders.
        where: Where they are, for messages.

    Raises:
        InputError: There are no class folders.
    """
    for index in [index for index, path in paths.items() if len(path) == 1]:
        left_out.add_loose("/".join(paths.pop(index)))
    if not paths:
        raise InputError(
            "contains no images in class folders"
            + (f"; left out: {left_out}" * bool(left_out)),
            where=where,
            remedy="Put the images of each class into a folder of its own.",
        )
    class_names = sorted({path[0] for path in paths.values()})
    label_of = {name: label for label, name in enumerate(class_names)}
    # Folders are sorted as strings, as on disk: "c/a-b" precedes "c/a/b".
    order = sorted(paths, key=lambda i: (paths[i][0], "/".join(paths[i][:-1]), paths[i][-1]))
    return ClassFolders(
        class_names,
        ["/".join(paths[index]) for index in order],
        order,
        [label_of[paths[index][0]] for index in order],
    )


def _without_common(paths: dict[int, list[str]]) -> dict[int, list[str]]:
    """The paths without leading folders that all of them share, except the last."""
    while paths and min(map(len, paths.values())) > 2:
        if len({path[0] for path in paths.values()}) > 1:
            break
        paths = {index: path[1:] for index, path in paths.items()}
    return paths
