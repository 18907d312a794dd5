"""A cache of decoded crops: the second model on the same images pays no decoding.

One file for each dataset and preprocessing, DIR/KEY.crops, memory-mapped to read:

    4096 bytes         JSON: the key, the shape of a crop, the number of images
    one record each    check (16 bytes), hash of the decoded image (16), flags (1), zeros up to
                       64 bytes, then the crop, uint8 (channels, height, width)

The check is a hash of the key, the index and the whole record, and is written last. A record
that is missing, cut short, damaged, or being written by another process counts as absent, so
that processes fill a cache together without locks: all of them write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import PIL
import torch
from PIL import features
from torch import Tensor

from noctule._version import __version__
from noctule.arguments import path_like
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.models import Preprocessing
from noctule.store.disk import is_file, output_errors, temporary_for, write_atomically

HEADER_BYTES = 4096
RECORD_HEAD_BYTES = 64
SAMPLE = 32  # images that are decoded again before a cache is used
_HASH_BYTES = 16
_VERIFIED: WeakKeyDictionary[Dataset, set[Path]] = WeakKeyDictionary()


class Crop(NamedTuple):
    """A decoded image, resized and cropped.

    Attributes:
        pixels: uint8 (channels, height, width).
        image_hash: `image_hash` of the decoded image.
        is_composited: Whether it was transparent and has been given a background.
    """

    pixels: Tensor
    image_hash: str
    is_composited: bool


class CropCache:
    """The crops of a dataset for one preprocessing, in a file; picklable."""

    def __init__(self, folder: Path, dataset: Dataset, preprocessing: Preprocessing) -> None:
        key = {
            "dataset": dataset.fingerprint(),
            "background": dataset.background,
            "crops": preprocessing.crops.to_dict(),
            # Decoders of other versions may round differently.
            "versions": [__version__, PIL.__version__, features.version("libjpeg_turbo")],
        }
        self._key = json.dumps(key, sort_keys=True)
        self._digest = hashlib.blake2b(self._key.encode(), digest_size=_HASH_BYTES).digest()
        self._num_images = len(dataset)
        self._is_stopped = False
        self.path = folder / f"{self._digest.hex()}.crops"

    @classmethod
    def opened(
        cls, folder: str | Path, dataset: Dataset, preprocessing: Preprocessing
    ) -> CropCache:
        """The cache in a folder, which is made if it does not exist.

        Raises:
            InputError: There is something else, such as the file of another program.
            OutputError: The folder cannot be made.
        """
        folder = path_like(folder, "cache")
        if folder.exists() and not folder.is_dir():
            raise InputError("is not a folder", where=folder, remedy="Pass one to --cache.")
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        cache = cls(folder, dataset, preprocessing)
        if cache.path.exists() or cache.path.is_symlink():
            cache._refuse_other()
        return cache

    def verify(self, dataset: Dataset, preprocessing: Preprocessing) -> None:
        """Decode up to `SAMPLE` of the cached images again, spread evenly; once per dataset.

        Raises:
            InputError: One of them has other pixels now.
        """
        if self.path in _VERIFIED.get(dataset, ()):
            return
        step = max(1, len(dataset) // SAMPLE)
        known, _ = self.read(range(0, len(dataset), step)[:SAMPLE])
        for index, crop in known.items():
            if not torch.equal(preprocessing.prepare(dataset.read(index)), crop.pixels):
                raise InputError(
                    f"holds other pixels of '{dataset.ids[index]}' than {dataset.name}, whose "
                    "images have changed since",
                    where=self.path,
                    remedy="Delete this file, or restore the images.",
                )
        if known:
            _VERIFIED.setdefault(dataset, set()).add(self.path)

    def read(self, indices: Sequence[int]) -> tuple[dict[int, Crop], str]:
        """The crops that the cache holds of some images, and what is wrong with others.

        Args:
            indices: Indices of images.

        Returns:
            Crops by index, and a description of damage, empty if there is none.
        """
        found: dict[int, Crop] = {}
        damaged = 0
        try:
            with (
                self.path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
            ):
                shape = self._shape_in(view[:HEADER_BYTES])
                for index in indices if shape is not None else ():
                    assert shape is not None
                    start, end = _extent(index, shape)
                    record = view[start:end]
                    if len(record) < end - start or not any(record[:_HASH_BYTES]):
                        continue
                    if record[:_HASH_BYTES] != self._check(index, record[_HASH_BYTES:]):
                        damaged += 1
                        continue
                    found[index] = _crop(record, shape)
        except FileNotFoundError:
            return {}, ""
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            return {}, f"{self.path} cannot be read: {error}; images are decoded."
        if damaged:
            return found, f"{self.path} is damaged; these images are decoded again."
        return found, ""

    def write(self, crops: Mapping[int, Crop]) -> str:
        """Add crops, by index; what is wrong if they cannot be written, or else an empty text.

        If it fails, this process writes no more: a full disk does not end a run.
        """
        if self._is_stopped or not crops:
            return ""
        shape = next(iter(crops.values())).pixels.shape
        try:
            if not self.path.exists():
                self._create(shape)
            with self.path.open("r+b") as file:
                if self._shape_in(file.read(HEADER_BYTES)) != tuple(shape):
                    raise OSError(None, "it holds something else")
                for index, crop in crops.items():
                    rest = _record(crop)
                    start, _ = _extent(index, shape)
                    file.seek(start + RECORD_HEAD_BYTES)
                    file.write(rest[RECORD_HEAD_BYTES - _HASH_BYTES :])
                    file.flush()
                    file.seek(start)
                    head = rest[: RECORD_HEAD_BYTES - _HASH_BYTES]
                    file.write(self._check(index, rest) + head)
                    file.flush()
        except OSError as error:
            self._is_stopped = True
            return f"{self.path} cannot be written: {error.strerror}; going on without it."
        return ""

    def _create(self, shape: Sequence[int]) -> None:
        """Make the file, whole, unless another process has made it meanwhile."""
        temporary = temporary_for(self.path)
        try:
            write_atomically(temporary, self._header(shape))
            with suppress(FileExistsError):
                os.link(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _header(self, shape: Sequence[int]) -> bytes:
        content = {"noctule": "crops", "key": self._key, "shape": list(shape)}
        return json.dumps({**content, "images": self._num_images}).encode().ljust(HEADER_BYTES)

    def _shape_in(self, header: bytes) -> tuple[int, ...] | None:
        """The shape of a crop in a header, if it is one of this cache's."""
        try:
            shape = tuple(json.loads(header)["shape"])
            return shape if header == self._header(shape) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def _refuse_other(self) -> None:
        """Raise InputError if the file is not a cache of these images."""
        flaw = None if is_file(self.path) else "is not a regular file"
        if flaw is None:
            with output_errors(self.path), self.path.open("rb") as file:
                if self._shape_in(file.read(HEADER_BYTES)) is None:
                    flaw = "is not a cache of these images, or is damaged"
        if flaw is not None:
            raise InputError(
                flaw, where=self.path, remedy="Delete it, or pass another --cache."
            )

    def _check(self, index: int, rest: bytes) -> bytes:
        digest = hashlib.blake2b(self._digest, digest_size=_HASH_BYTES)
        digest.update(index.to_bytes(8, "little"))
        digest.update(rest)
        return digest.digest()


def _extent(index: int, shape: Sequence[int]) -> tuple[int, int]:
    """First byte of a record, and the first after it."""
    size = RECORD_HEAD_BYTES + int(torch.Size(shape).numel())
    return HEADER_BYTES + index * size, HEADER_BYTES + (index + 1) * size


def _record(crop: Crop) -> bytes:
    """A record without its check."""
    head = bytes.fromhex(crop.image_hash) + bytes([crop.is_composited])
    pixels = crop.pixels.contiguous().numpy().tobytes()
    return head.ljust(RECORD_HEAD_BYTES - _HASH_BYTES, b"\0") + pixels


def _crop(record: bytes, shape: Sequence[int]) -> Crop:
    flags = 2 * _HASH_BYTES
    pixels = torch.frombuffer(bytearray(record[RECORD_HEAD_BYTES:]), dtype=torch.uint8)
    image_hash = record[_HASH_BYTES:flags].hex()
    return Crop(pixels.reshape(tuple(shape)), image_hash, bool(record[flags]))
