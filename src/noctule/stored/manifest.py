"""What a stored set was made from: manifest.json, images.csv and SHA256SUMS beside it.

manifest.json   versions, benchmark, dataset, seed, preprocessing, format, encoder
images.csv      one line per image, in the dataset's order: id, label, folder, name
SHA256SUMS      a hash of every file, as `sha256sum -c` reads it; the last file written
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from noctule._version import __version__
from noctule.benchmarks import Benchmark
from noctule.config import Spec, SpecValueError, build_spec
from noctule.corruptions.checks import MAX_SIDE_PX
from noctule.csv_files import csv_lines, unguard_formula
from noctule.errors import InputError
from noctule.input_files import (
    MAX_LIST_BYTES,
    read_text,
    reject_large_files,
    reject_special_files,
)
from noctule.store.identity import MOST_IMAGES, another, differences

SCHEMA_VERSION = 2
MANIFEST_FILE, IMAGES_FILE, LABELS_FILE = "manifest.json", "images.csv", "labels.npy"
AGAIN = "Rerun the command that exported it: it writes missing and damaged files again."
MOST_CHARACTERS = 60  # of a value in a message
PACKAGES = ("numpy", "pillow", "torch", "torchvision")

Format = Literal["png", "jpeg", "webdataset", "npy"]
FORMATS: tuple[Format, ...] = get_args(Format)


class ImageEntry(NamedTuple):
    """One image of a stored set.

    Attributes:
        id: Its id in the original dataset.
        label: Its class index.
        folder: The class folder of its files.
        name: The name of its files, without the ending.
    """

    id: str
    label: int
    folder: str
    name: str


@dataclass(frozen=True)
class Manifest:
    """Everything that determines the bytes of a stored set; JSON-ready throughout.

    Attributes:
        benchmark: `Benchmark.to_dict()`.
        dataset: name, domain, fingerprint, num_images, class_names.
        seed: Seed of the corruptions.
        preprocessing: resize_px, crop_px, interpolation, mode and so on of the stored images.
        image_px: Height and width of the stored images.
        format: One of `FORMATS`.
        encoder: Name and settings of the encoder.
        versions: Versions of noctule and of the packages that may change a byte.
        schema_version: Version of the form of stored sets.
    """

    benchmark: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    preprocessing: Mapping[str, Any]
    image_px: Sequence[int]
    format: Format
    encoder: Mapping[str, Any]
    versions: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data as JSON gives it back."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    def to_bytes(self) -> bytes:
        """The content of manifest.json."""
        return f"{json.dumps(self.to_dict(), indent=2)}\n".encode()

    @property
    def lossless(self) -> bool:
        """Whether the stored images are, to the bit, what live evaluation sees."""
        return bool(self.encoder["name"] != "jpeg")

    def the_benchmark(self, where: object) -> Benchmark:
        """The benchmark it holds."""
        return Benchmark.from_dict(self.benchmark, where=where)


_Count = Annotated[int, Field(ge=1, le=MOST_IMAGES)]
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]


class _Dataset(Spec):
    name: str
    domain: str | None = None
    fingerprint: str
    num_images: _Count
    class_names: Annotated[tuple[str, ...], Field(min_length=1)]


class _Preprocessing(Spec):
    resize_px: _Side | tuple[_Side, _Side] | None
    crop_px: tuple[_Side, _Side] | None
    interpolation: str
    mode: Literal["RGB", "L"]
    fit: Literal["stretch", "cover", "contain"]
    fill: tuple[int, ...] | None


class _Encoder(Spec):
    name: Literal["none", "png", "jpeg"]
    compress_level: int | None = None
    quality: int | None = None
    subsampling: str | None = None


class _Checked(Spec):
    """The types that a manifest's values must have."""

    benchmark: dict[str, Any]
    dataset: _Dataset
    seed: int
    preprocessing: _Preprocessing
    image_px: tuple[_Count, _Count]
    format: Format
    encoder: _Encoder
    versions: dict[str, str]
    schema_version: int

    @model_validator(mode="after")
    def _encoder_fits(self) -> _Checked:
        fitting = {"npy": ("none",), "png": ("png",), "jpeg": ("jpeg",)}
        names = fitting.get(self.format, ("png", "jpeg"))
        if self.encoder.name not in names:
            raise SpecValueError(
                f"encoder.name: {self.encoder.name!r} does not go with {self.format}"
            )
        return self


def versions_here() -> dict[str, str]:
    """Versions of noctule and of the packages that may change a byte."""
    return {"noctule": __version__, **{name: version(name) for name in PACKAGES}}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a stored set; None if there is none, as in published folders.

    Raises:
        InputError: It cannot be read, has an unsuitable value (the key is named), or was
            written by another version of noctule.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    try:
        data = json.loads(read_text(path))
        found = data["schema_version"]
        if found == SCHEMA_VERSION:
            build_spec(data, _Checked, where=path)
            Benchmark.from_dict(data["benchmark"], where=f"{path}: benchmark")
            return Manifest(**data)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"is not a stored set's manifest: {error}", where=path) from error
    raise InputError(
        f"was written by another noctule (version {found} of stored sets, this one knows "
        f"{SCHEMA_VERSION})",
        where=path,
        remedy="Use the noctule that wrote it.",
    )


def refuse_other_set(existing: Manifest, wanted: Manifest, folder: Path) -> None:
    """Raise InputError with every key in which two manifests differ, and both values."""
    if found := differences(existing.to_dict(), wanted.to_dict()):
        texts = [
            "{} is {} there and {} here".format(key, *_short(old, new))
            for key, old, new in found
        ]
        raise another("stored set", texts, folder)


def _short(*texts: str) -> list[str]:
    """Long values shortened to a little before their first difference and after."""
    if max(map(len, texts)) <= MOST_CHARACTERS:
        return list(texts)
    equal = [len(set(column)) == 1 for column in zip(*texts, strict=False)]
    start = max(0, [*equal, False].index(False) - MOST_CHARACTERS // 3)
    parts = [text[start : start + MOST_CHARACTERS] for text in texts]
    before = "…" if start else ""
    return [
        f"{before}{part}{'…' if start + len(part) < len(text) else ''}"
        for part, text in zip(parts, texts, strict=True)
    ]


def images_text(images: Sequence[ImageEntry]) -> str:
    """The content of images.csv; no name in it is a formula to a spreadsheet.

    >>> print(images_text([ImageEntry("cat/a,1.jpg", 0, "cat", "a,1")]), end="")
    id,label,folder,name
    "cat/a,1.jpg",0,cat,"a,1"
    >>> print(images_text([ImageEntry("=1.jpg", 0, "cat", "=1")]).splitlines()[1])
    '=1.jpg,0,cat,'=1
    """
    return csv_lines([ImageEntry._fields, *images])


def read_images(folder: Path, manifest: Manifest) -> list[ImageEntry]:
    """The entries of images.csv.

    Raises:
        InputError: It cannot be read, or its number of entries or its labels do not agree with
            the manifest.
    """
    path = folder / IMAGES_FILE
    reject_special_files(path)
    try:
        reject_large_files(path, MAX_LIST_BYTES)
        with path.open(encoding="utf-8", newline="") as file:
            heading, *rows = csv.reader(file)
        if tuple(heading) != ImageEntry._fields or len(rows) != manifest.dataset["num_images"]:
            expected = f"{manifest.dataset['num_images']} are expected"
            raise ValueError(f"{len(rows)} entries where {expected}")
        entries = [
            ImageEntry(unguard_formula(key), int(label), *map(unguard_formula, names))
            for key, label, *names in rows
        ]
        classes = range(len(manifest.dataset["class_names"]))
        for entry in entries:
            if entry.label not in classes:
                what = f"'{entry.id}' has label {entry.label} of {len(classes)} classes"
                raise ValueError(what)
        return entries
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"is not a stored set's list of images: {error}", where=path
        ) from error
