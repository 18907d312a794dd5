"""Images to files: the same images give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from noctule.benchmarks import Benchmark, Condition
from noctule.store.disk import sha256_of
from noctule.store.sums import FileSum
from noctule.stored.layout import array_name, condition_folder, shard_key, shard_name
from noctule.stored.manifest import IMAGES_FILE, LABELS_FILE, MANIFEST_FILE, Format, ImageEntry

# zlib's higher levels take several times as long for images a tenth smaller.
PNG_COMPRESS_LEVEL = 1
JPEG_SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class Target:
    """Where images go, and in which form; picklable.

    Attributes:
        folder: The stored set.
        benchmark: The benchmark whose conditions are written.
        entries: Every image of the set, in order.
        class_names: Class names by label.
        format: One of `FORMATS`.
        encoder: See `encoder_settings`.
        image_shape: Channels, height and width of every image.
    """

    folder: Path
    benchmark: Benchmark
    entries: Sequence[ImageEntry]
    class_names: Sequence[str]
    format: Format
    encoder: dict[str, Any]
    image_shape: tuple[int, ...]

    @property
    def array_names(self) -> list[str]:
        """The array files of all conditions, sorted; none in the other formats."""
        if self.format != "npy":
            return []
        return sorted({array_name(condition) for condition in self.benchmark.conditions})

    @property
    def root_files(self) -> list[str]:
        """The files in the set's folder itself, without SHA256SUMS."""
        labels = [LABELS_FILE] if self.format == "npy" else []
        return [MANIFEST_FILE, IMAGES_FILE, *labels, *self.array_names]

    def files(self, images: range) -> list[str]:
        """The files of some images under all conditions, in the order of writing."""
        if self.format == "npy":
            return self.array_names
        return [
            path for condition in self.benchmark.conditions
            for path in self.paths(condition, images)
        ]  # fmt: skip

    def paths(self, condition: Condition, images: range) -> list[str]:
        """The files of some images of one condition, relative to the stored set; no arrays."""
        folder = condition_folder(condition)
        if self.format == "webdataset":
            return [f"{folder}/{shard_name(images.start)}"]
        suffix = suffix_of(self.encoder)
        entries = (self.entries[index] for index in images)
        return [f"{folder}/{entry.folder}/{entry.name}.{suffix}" for entry in entries]

    def write(self, condition: Condition, indices: range, images: Tensor) -> list[FileSum]:
        """Write images of one condition, over whatever a kill has left of them.

        Args:
            condition: The condition.
            indices: Their indices in the set; for tar shards those of one shard.
            images: uint8 (len(indices), channels, height, width).

        Returns:
            The hashes of the files. Of an array, the hash of the part, under the name of the
            condition's folder.
        """
        if self.format == "npy":
            content = images.permute(0, 2, 3, 1).contiguous().numpy()
            # Written and not mapped, so that a full disk is an error and not a crash.
            with (self.folder / array_name(condition)).open("r+b") as stream:
                stream.seek(self._offset(condition, indices))
                stream.write(content.data)
            return [_part_sum(condition, content.data)]
        if self.format == "webdataset":
            contents = [self._shard(condition, indices, images)]
        else:
            contents = [encoded(image, self.encoder) for image in images]
        sums = []
        for path, data in zip(self.paths(condition, indices), contents, strict=True):
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            sums.append(FileSum(sha256_of(data), path))
        return sums

    def _shard(self, condition: Condition, indices: range, images: Tensor) -> bytes:
        """A tar of KEY.png or KEY.jpg, KEY.cls and KEY.json for each image.

        Written with tarfile: its USTAR headers are the same bytes on every machine.
        """
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as shard:
            for index, image in zip(indices, images, strict=True):
                entry = self.entries[index]
                record = {
                    "id": entry.id,
                    "label": entry.label,
                    "class": self.class_names[entry.label],
                    "condition": str(condition),
                }
                for suffix, content in (
                    (suffix_of(self.encoder), encoded(image, self.encoder)),
                    ("cls", str(entry.label).encode()),
                    ("json", json.dumps(record).encode()),
                ):
                    # Owner, mode and time of a new TarInfo are constants.
                    member = tarfile.TarInfo(f"{shard_key(index)}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        return stream.getvalue()

    def part_sums(self, indices: range) -> list[FileSum]:
        """The hashes of what arrays hold of these indices, as `write` returns them."""
        sums = []
        for condition in self.benchmark.conditions:
            with (self.folder / array_name(condition)).open("rb") as stream:
                stream.seek(self._offset(condition, indices))
                content = stream.read(len(indices) * math.prod(self.image_shape))
            sums.append(_part_sum(condition, content))
        return sums

    def _offset(self, condition: Condition, indices: range) -> int:
        """Where the first of these images lies in the condition's array, in bytes."""
        severities = self.benchmark.severities
        block = severities.index(condition.severity) if severities and condition.severity else 0
        first = block * len(self.entries) + indices.start
        return len(self._header(condition)[0]) + first * math.prod(self.image_shape)

    def _header(self, condition: Condition) -> tuple[bytes, int]:
        """The header of the condition's array, and the size of its file."""
        channels, height, width = self.image_shape
        blocks = len(self.benchmark.severities or (None,)) if condition.corruption else 1
        shape = (blocks * len(self.entries), height, width, channels)
        header = io.BytesIO()
        description = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, description)
        return header.getvalue(), len(header.getvalue()) + math.prod(shape)

    def odd_arrays(self) -> dict[str, Condition]:
        """One condition of each array that is missing, or has another header or size."""
        odd = {}
        for condition in self.benchmark.conditions:
            header, size = self._header(condition)
            try:
                with (self.folder / array_name(condition)).open("rb") as stream:
                    fits = stream.read(len(header)) == header
                    fits &= os.fstat(stream.fileno()).st_size == size
            except FileNotFoundError:
                fits = False
            if not fits:
                odd[array_name(condition)] = condition
        return odd

    def create_arrays(self) -> None:
        """Create missing arrays, and replace unsuitable ones, as empty files."""
        for name, condition in self.odd_arrays().items():
            header, size = self._header(condition)
            temporary = self.folder / f".{name}.tmp"
            with temporary.open("wb") as stream:
                stream.write(header)
                stream.truncate(size)
            temporary.replace(self.folder / name)

    def sync_arrays(self) -> None:
        """Wait until what was put into the arrays is on the disk.

        Their hashes are of what is read back at the end, so that images lost in a power cut
        would go unnoticed. Hashes of single files are of what was to be written.
        """
        for name in self.array_names:
            with (self.folder / name).open("r+b") as stream:
                os.fsync(stream.fileno())

    def labels(self) -> bytes:
        """The content of labels.npy: a label for each image of an array of all severities."""
        stream = io.BytesIO()
        labels = np.array([entry.label for entry in self.entries], np.int64)
        np.save(stream, np.tile(labels, len(self.benchmark.severities or (None,))))
        return stream.getvalue()


def _part_sum(condition: Condition, content: bytes | memoryview) -> FileSum:
    return FileSum(hashlib.sha256(content).hexdigest(), condition_folder(condition))


def encoder_settings(format: Format, quality: int | None) -> dict[str, Any]:
    """The encoder's name and settings, JSON-ready.

    >>> encoder_settings("webdataset", 85)
    {'name': 'jpeg', 'quality': 85, 'subsampling': '4:2:0'}
    """
    if format == "npy":
        return {"name": "none"}
    if quality is None:
        return {"name": "png", "compress_level": PNG_COMPRESS_LEVEL}
    return {"name": "jpeg", "quality": quality, "subsampling": JPEG_SUBSAMPLING}


def suffix_of(encoder: Mapping[str, Any]) -> str:
    """The ending of the encoder's files."""
    return {"png": "png", "jpeg": "jpg"}[encoder["name"]]


def encoded(image: Tensor, encoder: dict[str, Any]) -> bytes:
    """An image, uint8 (channels, height, width), as PNG or JPEG."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    encodable = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    stream = io.BytesIO()
    settings = {key: value for key, value in encoder.items() if key != "name"}
    encodable.save(stream, encoder["name"].upper(), **settings)
    return stream.getvalue()
