"""What a frozen set was made from: manifest.json, images.csv and SHA256SUMS beside it.

manifest.json   versions, benchmark, dataset, seed, preprocessing, format, encoder
images.csv      one line per image, in the dataset's order: id, label, folder, name
SHA256SUMS      a hash of every file, as `sha256sum -c` reads it; the last file written
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from noctule._version import __version__
from noctule.benchmarks import Benchmark
from noctule.errors import InputError

SCHEMA_VERSION = 1
MANIFEST_FILE, IMAGES_FILE, SUMS_FILE = "manifest.json", "images.csv", "SHA256SUMS"
PACKAGES = ("numpy", "pillow", "torch", "torchvision")

Format = Literal["png", "jpeg", "webdataset", "npy"]
FORMATS: tuple[Format, ...] = get_args(Format)


class ImageEntry(NamedTuple):
    """One image of a frozen set.

    Attributes:
        id: its id in the dataset it is from.
        label: its class index.
        folder: the class folder its files lie in.
        name: of its files, without the ending.
    """

    id: str
    label: int
    folder: str
    name: str


@dataclass(frozen=True)
class Manifest:
    """Everything that determines the bytes of a frozen set; JSON-ready throughout.

    Attributes:
        benchmark: `Benchmark.to_dict()`.
        dataset: name, domain, fingerprint, num_images, class_names.
        seed: of the corruptions.
        preprocessing: resize_px, crop_px, interpolation and mode of the stored pictures.
        picture_px: their height and width.
        format: one of `FORMATS`.
        encoder: its name and settings.
        versions: of noctule and of the packages that may change a byte.
        schema_version: of the frozen set.
    """

    benchmark: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    preprocessing: Mapping[str, Any]
    picture_px: Sequence[int]
    format: Format
    encoder: Mapping[str, Any]
    versions: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data as JSON gives it back."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    @property
    def lossless(self) -> bool:
        """Whether the stored pictures are, to the bit, what live evaluation sees."""
        return bool(self.encoder["name"] != "jpeg")

    def the_benchmark(self, where: object) -> Benchmark:
        """The benchmark it holds."""
        return Benchmark.from_dict(self.benchmark, where=where)


def versions_here() -> dict[str, str]:
    """Versions of noctule and of the packages that may change a byte."""
    return {"noctule": __version__, **{name: version(name) for name in PACKAGES}}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a frozen set; None if there is none, as in others' published folders.

    Raises:
        InputError: it cannot be read, or another version of noctule wrote it.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data["schema_version"]
        if found == SCHEMA_VERSION:
            manifest = Manifest(**data)
            _check_types(manifest)
            return manifest
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"is not a frozen set's manifest: {error}", where=path) from error
    raise InputError(
        f"was written by another noctule (version {found} of frozen sets, this one knows "
        f"{SCHEMA_VERSION})",
        where=path,
        remedy="Use the noctule that wrote it.",
    )


def _check_types(manifest: Manifest) -> None:
    if manifest.format not in FORMATS:
        raise ValueError(f"unknown format {manifest.format!r}")
    _ = manifest.encoder["name"], manifest.dataset["num_images"] + manifest.seed
    if not all(isinstance(one, str) for one in manifest.dataset["class_names"]):
        raise TypeError("class names are no text")


def images_text(images: Sequence[ImageEntry]) -> str:
    """The content of images.csv.

    >>> print(images_text([ImageEntry("cat/a,1.jpg", 0, "cat", "a,1")]), end="")
    id,label,folder,name
    "cat/a,1.jpg",0,cat,"a,1"
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ImageEntry._fields)
    writer.writerows(images)
    return text.getvalue()


def read_images(folder: Path, num_images: int) -> list[ImageEntry]:
    """The entries of images.csv.

    Raises:
        InputError: it cannot be read, or does not have `num_images` entries.
    """
    path = folder / IMAGES_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            heading, *rows = csv.reader(file)
        if tuple(heading) != ImageEntry._fields or len(rows) != num_images:
            raise ValueError(f"{len(rows)} entries where {num_images} are due")
        return [ImageEntry(one, int(label), *names) for one, label, *names in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"is not a frozen set's list of images: {error}", where=path
        ) from error
