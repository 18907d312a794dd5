"""The stored images of one condition, by index; picklable, so that workers can read them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noctule.data import Dataset
from noctule.data.decode import decode_bytes, decode_file
from noctule.data.files import FileDataset
from noctule.data.sources.arrays import load_npy
from noctule.errors import InputError, UnreadableImageError
from noctule.stored.names import SHARD_SIZE, shard_key, shard_name
from noctule.stored.sums import CHANGED, DIGEST_BYTES, hash_file


class Images(Protocol):
    """Images of one condition, in the order of the stored set's images."""

    def read(self, index: int) -> Image.Image:
        """Image `index` as 8-bit "RGB" or "L".

        Raises:
            UnreadableImageError: it cannot be decoded.
        """

    def file(self, index: int) -> Path | None:
        """The file that image `index` lies in, if it lies in one."""


class FileImages:
    """One file per image.

    Args:
        root: the condition's folder.
        names: path of each image relative to it.
        digests: the SHA-256 that each file must have, 32 bytes each; None asks for none.
    """

    def __init__(self, root: Path, names: Sequence[str], digests: bytes | None = None) -> None:
        self.root = root
        self.names = names
        self.digests = digests

    def read(self, index: int) -> Image.Image:
        """Image `index`, decoded like any other image file."""
        file, name = self.file(index), self.names[index]
        if self.digests is None or not file.is_file():
            return decode_file(file, name)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UnreadableImageError(name, f"{error.strerror}", where=file) from error
        if hashlib.sha256(content).digest() != digest_at(self.digests, index):
            raise UnreadableImageError(name, CHANGED, where=file)
        return decode_bytes(content, name)

    def file(self, index: int) -> Path:
        """The file of image `index`."""
        return self.root / self.names[index]


class ArrayImages:
    """One part of an array (N, height, width, channels) or (N, height, width), uint8.

    Args:
        file: the .npy file; it is mapped, not read.
        start: where the part begins.
        count: how many images it has.

    Raises:
        InputError: the file is damaged, too short, of another type, or no array of images.
    """

    def __init__(self, file: Path, start: int, count: int) -> None:
        self._built_from = (file, start, count)
        images = open_images(file)
        if len(images) < start + count:
            raise InputError(
                f"holds {len(images):,} images, where {start + count:,} are due", where=file
            )
        self._images = images[start : start + count]

    def __reduce__(self) -> tuple[Callable[..., ArrayImages], tuple[Any, ...]]:
        return ArrayImages, self._built_from

    def read(self, index: int) -> Image.Image:
        """Image `index`."""
        pixels = np.array(self._images[index])
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)

    def file(self, index: int) -> Path:
        """The array's file."""
        del index
        return self._built_from[0]


class ShardImages:
    """Images in tar shards of a set that `noctule export` wrote; nothing is extracted.

    Args:
        root: the condition's folder.
        suffix: of the members that are images.
        digests: the SHA-256 that each shard must have, 32 bytes each.
    """

    def __init__(self, root: Path, suffix: str, digests: bytes) -> None:
        self.root = root
        self.suffix = suffix
        self.digests = digests
        self._changed: set[str] = set()
        self._open: tuple[str, tarfile.TarFile] | None = None

    def __reduce__(self) -> tuple[Callable[..., ShardImages], tuple[Any, ...]]:
        return ShardImages, (self.root, self.suffix, self.digests)

    def __del__(self) -> None:
        self._close()

    def read(self, index: int) -> Image.Image:
        """Image `index`, from its shard."""
        member = f"{shard_key(index)}.{self.suffix}"
        try:
            stream = self._shard(index).extractfile(member)
            if stream is None:
                raise KeyError(member)
            return decoded(stream)
        except Exception as error:  # damaged bytes make readers raise nearly anything
            reason = f"damaged: {error}"
            raise UnreadableImageError(member, reason, where=self.file(index)) from error

    def file(self, index: int) -> Path:
        """The shard of image `index`."""
        return self.root / shard_name(index)

    def _shard(self, index: int) -> tarfile.TarFile:
        """The shard; one stays open, as the next image is most likely in it."""
        name = shard_name(index)
        if self._open is None or self._open[0] != name:
            self._close()
            self._refuse_changed(name, index)
            # It stays open for the next images, and is closed with this object.
            self._open = (name, tarfile.open(self.root / name, "r:"))  # noqa: SIM115
        return self._open[1]

    def _refuse_changed(self, name: str, index: int) -> None:
        if name not in self._changed:
            due = digest_at(self.digests, index // SHARD_SIZE)
            if hash_file(self.root, name).sha256 == due.hex():
                return
            self._changed.add(name)
        raise ValueError(CHANGED)

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


class DatasetImages:
    """The images of a dataset, through whatever brings them to the stored images' form.

    Args:
        dataset: where they come from.
        indices: in it, of each image.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def read(self, index: int) -> Image.Image:
        """Image `index`, as the dataset has it."""
        return self.dataset.read(self.indices[index])

    def file(self, index: int) -> Path | None:
        """The file of image `index`, if it has one of its own."""
        if isinstance(self.dataset, FileDataset):
            return self.dataset.file(self.indices[index])
        return None


def digest_at(digests: bytes, index: int) -> bytes:
    """One of many hashes."""
    return digests[DIGEST_BYTES * index : DIGEST_BYTES * (index + 1)]


def open_images(file: Path) -> NDArray[np.uint8]:
    """The mapped array of an .npy file, as uint8 (N, height, width, channels).

    Raises:
        InputError: the file is damaged, of another type, or no array of images.
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


def decoded(stream: IO[bytes]) -> Image.Image:
    """The image in a PNG or JPEG that this package wrote."""
    with Image.open(io.BytesIO(stream.read()), formats=("PNG", "JPEG")) as image:
        image.load()
        return image.copy()
