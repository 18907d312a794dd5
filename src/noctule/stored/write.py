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
from noctule.corruptions import CORRUPTIONS
from noctule.stored.manifest import Format, ImageEntry
from noctule.stored.names import condition_folder, shard_key, shard_name
from noctule.stored.sums import FileSum

# zlib's higher severities take several times as long for images a tenth smaller.
PNG_COMPRESS_LEVEL = 1
JPEG_SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class Target:
    """Where images go, and in which form; picklable.

    Attributes:
        folder: the stored set.
        benchmark: whose conditions are written.
        entries: every image of the set, in order.
        class_names: by label.
        format: one of `FORMATS`.
        encoder: see `encoder_settings`.
    """

    folder: Path
    benchmark: Benchmark
    entries: Sequence[ImageEntry]
    class_names: Sequence[str]
    format: Format
    encoder: dict[str, Any]

    def paths(self, condition: Condition, images: range) -> list[str]:
        """The files these images of a condition lie in, relative to the stored set."""
        if self.format == "npy":
            return [array_name(condition)]
        place = condition_folder(condition)
        if self.format == "webdataset":
            return [f"{place}/{shard_name(images.start)}"]
        suffix = suffix_of(self.encoder)
        entries = (self.entries[index] for index in images)
        return [f"{place}/{entry.folder}/{entry.name}.{suffix}" for entry in entries]

    def write(self, condition: Condition, indices: range, images: Tensor) -> list[FileSum]:
        """Write images of one condition, over whatever a kill has left of them.

        Args:
            condition: which.
            indices: their indices in the set; for tar shards those of one shard.
            images: uint8 (len(indices), channels, height, width).

        Returns:
            The hashes of the files; of arrays that of the part, by the condition's folder.
        """
        if self.format == "npy":
            return [self._write_part(condition, indices, images)]
        paths = self.paths(condition, indices)
        if self.format == "webdataset":
            return [self._write_file(paths[0], self._shard(condition, indices, images))]
        return [
            self._write_file(path, encoded(image, self.encoder))
            for path, image in zip(paths, images, strict=True)
        ]

    def _write_file(self, path: str, content: bytes) -> FileSum:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return FileSum(hashlib.sha256(content).hexdigest(), path)

    def _shard(self, condition: Condition, indices: range, images: Tensor) -> bytes:
        """A tar of KEY.png or KEY.jpg, KEY.cls and KEY.json for each image."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as shard:
            for index, image in zip(indices, images, strict=True):
                entry = self.entries[index]
                told = {
                    "id": entry.id,
                    "label": entry.label,
                    "class": self.class_names[entry.label],
                    "condition": str(condition),
                }
                for suffix, content in (
                    (suffix_of(self.encoder), encoded(image, self.encoder)),
                    ("cls", str(entry.label).encode()),
                    ("json", json.dumps(told).encode()),
                ):
                    # Owner, mode and time of a new TarInfo are constants.
                    member = tarfile.TarInfo(f"{shard_key(index)}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        return stream.getvalue()

    def _write_part(self, condition: Condition, indices: range, images: Tensor) -> FileSum:
        """Put images into their place in an array that is there already."""
        content = images.permute(0, 2, 3, 1).contiguous().numpy()
        # Written and not mapped: a full disk is an error then, and no crash.
        with (self.folder / array_name(condition)).open("r+b") as stream:
            stream.seek(self._offset(condition, indices, tuple(images.shape[1:])))
            stream.write(content.data)
        return FileSum(hashlib.sha256(content.data).hexdigest(), condition_folder(condition))

    def part_sums(self, indices: range, shape: tuple[int, ...]) -> list[FileSum]:
        """The hashes of what arrays hold of these indices, as `write` gives them.

        Args:
            indices: their indices in the set.
            shape: channels, height and width of an image.
        """
        sums = []
        for condition in self.benchmark.conditions:
            with (self.folder / array_name(condition)).open("rb") as stream:
                stream.seek(self._offset(condition, indices, shape))
                content = stream.read(len(indices) * math.prod(shape))
            sums.append(
                FileSum(hashlib.sha256(content).hexdigest(), condition_folder(condition))
            )
        return sums

    def _offset(self, condition: Condition, indices: range, shape: tuple[int, ...]) -> int:
        """Where the first of these images lies in the condition's array, in bytes."""
        severities = self.benchmark.severities
        block = severities.index(condition.severity) if severities and condition.severity else 0
        first = block * len(self.entries) + indices.start
        return len(self._header(condition, shape)) + first * math.prod(shape)

    def _header(self, condition: Condition, shape: tuple[int, ...]) -> bytes:
        channels, height, width = shape
        whole = (self._images_in(condition), height, width, channels)
        header = io.BytesIO()
        described = {"descr": "|u1", "fortran_order": False, "shape": whole}
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()

    def _images_in(self, condition: Condition) -> int:
        blocks = len(self.benchmark.severities or (None,)) if condition.corruption else 1
        return blocks * len(self.entries)

    def odd_arrays(self, shape: tuple[int, ...]) -> dict[str, Condition]:
        """The arrays that are not there, or not with the header and the length they must have.

        Args:
            shape: channels, height and width of an image.

        Returns:
            One condition of each, by the file's name.
        """
        return {
            array_name(condition): condition
            for condition in self.benchmark.conditions
            if not self._fits(condition, shape)
        }

    def _fits(self, condition: Condition, shape: tuple[int, ...]) -> bool:
        header = self._header(condition, shape)
        size = len(header) + self._images_in(condition) * math.prod(shape)
        try:
            with (self.folder / array_name(condition)).open("rb") as stream:
                return (
                    stream.read(len(header)) == header
                    and os.fstat(stream.fileno()).st_size == size
                )
        except FileNotFoundError:
            return False

    def create_arrays(self, shape: tuple[int, ...]) -> None:
        """Make the arrays that are not as they must be anew, empty.

        Args:
            shape: channels, height and width of an image.
        """
        for name, condition in self.odd_arrays(shape).items():
            header = self._header(condition, shape)
            temporary = self.folder / f".{name}.tmp"
            with temporary.open("wb") as stream:
                stream.write(header)
                stream.truncate(len(header) + self._images_in(condition) * math.prod(shape))
            temporary.replace(self.folder / name)

    @property
    def array_names(self) -> list[str]:
        """The files of all conditions, sorted, where they are arrays."""
        return sorted({array_name(condition) for condition in self.benchmark.conditions})

    def sync_arrays(self) -> None:
        """Have what was put into the arrays on the disk, and not only on its way there.

        Their hashes are of what is read back at the end: images that a power cut has lost
        would pass. Hashes of single files are of what was to be written.
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


def array_name(condition: Condition) -> str:
    """The file of a condition in the layout of CIFAR-10-C."""
    if condition.corruption is None:
        return f"{condition}.npy"
    return f"{CORRUPTIONS[condition.corruption].published_name}.npy"


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
    """How a file ends that this encoder wrote."""
    return {"png": "png", "jpeg": "jpg"}[encoder["name"]]


def encoded(image: Tensor, encoder: dict[str, Any]) -> bytes:
    """An image, uint8 (channels, height, width), as PNG or JPEG."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    encodable = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    stream = io.BytesIO()
    settings = {key: value for key, value in encoder.items() if key != "name"}
    encodable.save(stream, encoder["name"].upper(), **settings)
    return stream.getvalue()
