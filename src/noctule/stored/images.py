"""The stored images of one condition, by index; picklable, so that workers can read them."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noctule.data import Dataset
from noctule.data.decode import decode_bytes, decode_file
from noctule.data.files import FileDataset
from noctule.data.sources.arrays import load_npy
from noctule.errors import InputError, UnreadableImageError
from noctule.store.sums import SUMS_FILE, hash_file
from noctule.stored.layout import SHARD_SIZE, shard_key, shard_name

DIGEST_BYTES = 32
CHANGED = (
    f"it is not what was written: its hash is not that in {SUMS_FILE}; "
    "rerun the command that exported it to write it again"
)


class Images(Protocol):
    """Images of one condition, in the order of the stored set's images."""

    def read(self, index: int) -> Image.Image:
        """Image `index` as 8-bit "RGB" or "L".

        Raises:
            UnreadableImageError: It cannot be decoded.
        """

    def file(self, index: int) -> Path | None:
        """The file that holds image `index`, if there is one."""


class FileImages(NamedTuple):
    """One file per image.

    Attributes:
        root: The condition's folder.
        names: Path of each image relative to it.
        digests: The SHA-256 that each file must have, 32 bytes each; None checks none.
    """

    root: Path
    names: Sequence[str]
    digests: bytes | None = None

    def read(self, index: int) -> Image.Image:
        """Image `index`, decoded like any other image file."""
        name = self.names[index]
        file = self.root / name
        if self.digests is None or not file.is_file():
            return decode_file(file, name)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UnreadableImageError(name, f"{error.strerror}", where=file) from error
        start = DIGEST_BYTES * index
        if hashlib.sha256(content).digest() != self.digests[start : start + DIGEST_BYTES]:
            raise UnreadableImageError(name, CHANGED, where=file)
        return decode_bytes(content, name)

    def file(self, index: int) -> Path:
        """The file of image `index`."""
        return self.root / self.names[index]


class ArrayImages:
    """One part of an array (N, height, width, channels) or (N, height, width), uint8.

    Args:
        path: The .npy file; it is mapped, not read.
        start: Where the part begins.
        count: Number of its images.

    Raises:
        InputError: The file is damaged, too short, of another type, or not an array of images.
    """

    def __init__(self, path: Path, start: int, count: int) -> None:
        self._arguments = (path, start, count)
        images = open_images(path)
        if len(images) < start + count:
            raise InputError(
                f"holds {len(images):,} images, where {start + count:,} are expected",
                where=path,
            )
        self._images = images[start : start + count]

    def __reduce__(self) -> tuple[Callable[..., ArrayImages], tuple[Any, ...]]:
        return ArrayImages, self._arguments

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        pixels = np.array(self._images[index])
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)

    def file(self, index: int) -> Path:
        """The array's file."""
        del index
        return self._arguments[0]


class ShardImages:
    """Images in tar shards of a set that `noctule export` wrote; nothing is extracted.

    Args:
        root: The condition's folder.
        suffix: Ending of the members that are images.
        digests: The SHA-256 that each shard must have, 32 bytes each.
    """

    def __init__(self, root: Path, suffix: str, digests: bytes) -> None:
        self._arguments = (root, suffix, digests)
        # The next image is most likely in the same shard.
        self._members = functools.lru_cache(maxsize=1)(self._index)

    def __reduce__(self) -> tuple[Callable[..., ShardImages], tuple[Any, ...]]:
        return ShardImages, self._arguments

    def read(self, index: int) -> Image.Image:
        """Image `index`, from its shard."""
        member = f"{shard_key(index)}.{self._arguments[1]}"
        try:
            members = self._members(index // SHARD_SIZE)
            if members is None:
                raise ValueError(CHANGED)
            start, size = members[member]
            with self.file(index).open("rb") as shard:
                shard.seek(start)
                content = io.BytesIO(shard.read(size))
            with Image.open(content, formats=("PNG", "JPEG")) as image:
                image.load()
                return image.copy()
        except Exception as error:  # damaged bytes make readers raise nearly anything
            reason = f"damaged: {error}"
            raise UnreadableImageError(member, reason, where=self.file(index)) from error

    def file(self, index: int) -> Path:
        """The shard of image `index`."""
        return self._arguments[0] / shard_name(index)

    def _index(self, number: int) -> dict[str, tuple[int, int]] | None:
        """Offset and size of a shard's files, by name; None if it was changed."""
        root, _, digests = self._arguments
        name = shard_name(number * SHARD_SIZE)
        expected = digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]
        if hash_file(root, name).sha256 != expected.hex():
            return None
        with tarfile.open(root / name, "r:") as shard:
            members = {member.name: member for member in shard}  # the last of a name counts
        return {
            name: (member.offset_data, member.size)
            for name, member in members.items()
            if member.isreg()
        }


class ChosenImages(NamedTuple):
    """Some images of a condition.

    Attributes:
        whole: All of its images.
        indices: Index among them of each chosen one.
    """

    whole: Images
    indices: Sequence[int]

    def read(self, index: int) -> Image.Image:
        """Chosen image `index`."""
        return self.whole.read(self.indices[index])

    def file(self, index: int) -> Path | None:
        """The file of chosen image `index`, if there is one."""
        return self.whole.file(self.indices[index])


class DatasetImages(NamedTuple):
    """Images of a dataset.

    Attributes:
        dataset: The dataset.
        indices: Index in it of each image.
    """

    dataset: Dataset
    indices: Sequence[int]

    def read(self, index: int) -> Image.Image:
        """Image `index`, as the dataset has it."""
        return self.dataset.read(self.indices[index])

    def file(self, index: int) -> Path | None:
        """The file of image `index`, if it has one of its own."""
        if isinstance(self.dataset, FileDataset):
            return self.dataset.file(self.indices[index])
        return None


def open_images(file: Path) -> NDArray[np.uint8]:
    """The mapped array of an .npy file, as uint8 (N, height, width, channels).

    Raises:
        InputError: The file is damaged, of another type, or not an array of images.
    """
    images = load_npy(file, mmap=True)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        raise InputError(
            f"is an array of {images.dtype}, shape {images.shape}",
            where=file,
            remedy="A stored array is uint8, (images, height, width, channels).",
        )
    return images
