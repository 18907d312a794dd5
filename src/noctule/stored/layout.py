"""How the files of a stored set are named, and where each condition lies.

Known layouts are

- class folders: CORRUPTION/SEVERITY/CLASS/IMAGE, as in ImageNet-C and ImageNet-C-bar, or
  CORRUPTION/CLASS/IMAGE of corruptions without severities. The
  corruptions may lie in the folders of ImageNet-C's archives: noise, blur, weather, digital and
  extra. Severity folders are named 1 to 5 or, as in ImageNet-C-bar, by five numbers, the
  smallest of which is severity 1; the folder of a full range is named `full`. Mixtures of the
  two are refused.
- arrays: CORRUPTION.npy with the images of every severity, one severity after the other, and
  labels.npy, as in CIFAR-10-C and CIFAR-100-C.
- tar shards: CORRUPTION/SEVERITY/000000.tar, as `noctule export --format webdataset` writes
  them.

Uncorrupted images lie in `clean` or clean.npy, if there are any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from noctule.benchmarks import CLEAN, Benchmark, Condition
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.data import Dataset
from noctule.data.files import (
    is_folder,
    is_hidden,
    is_image_name,
    listing,
    missing_path,
    some,
)
from noctule.errors import InputError
from noctule.stored.manifest import AGAIN, LABELS_FILE, ImageEntry, Manifest

Kind = Literal["folders", "arrays", "shards"]

CATEGORIES = ("noise", "blur", "weather", "digital", "extra")
FULL = "full"
SHARD_SIZE = 256
"""Images in a tar shard."""

# Separators, what other systems forbid, and what would need escapes in SHA256SUMS.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def published_name(condition: Condition) -> str:
    """The folder of a condition's corruption, or the array without its ending."""
    return CLEAN if condition.corruption is None else authors_name(condition.corruption)


def authors_name(corruption: str) -> str:
    """The name that a corruption's authors use; its own if noctule does not know it."""
    known = corruption in CORRUPTIONS
    return CORRUPTIONS[corruption].published_name if known else corruption


def condition_folder(condition: Condition) -> str:
    """Where the images of a condition lie, relative to the stored set.

    >>> condition_folder(Condition("shear", 3)), condition_folder(Condition("shear"))
    ('shear/3', 'shear/full')
    """
    if condition.corruption is None:
        return CLEAN
    return f"{published_name(condition)}/{condition.severity or FULL}"


def array_name(condition: Condition) -> str:
    """The file of a condition in the layout of CIFAR-10-C."""
    return f"{published_name(condition)}.npy"


def shard_name(index: int) -> str:
    """The tar file that image `index` lies in."""
    return f"{index // SHARD_SIZE:06d}.tar"


def shard_key(index: int) -> str:
    """The name of the members of image `index`, without their endings."""
    return f"{index:08d}"


def check_published_names(benchmark: Benchmark) -> None:
    """Refuse a benchmark in which two corruptions would share a folder."""
    owners = {CLEAN: CLEAN, "labels": "the labels"}
    for name in benchmark.corruptions:
        published = authors_name(name)
        if other := owners.get(published.lower()):
            raise InputError(
                f"'{name}' would be written to '{published}', as {other} is",
                where=benchmark.name,
                remedy="Export them as two benchmarks.",
            )
        owners[published.lower()] = f"'{name}'"


def image_entries(dataset: Dataset) -> list[ImageEntry]:
    """Class folder and file name of every image; a file is named after the id's last part.

    Raises:
        InputError: Two images of a class would have files of the same name.
    """
    folders = class_folders(dataset.class_names)
    entries = [
        ImageEntry(image_id, int(label), folders[label], _safe(PurePosixPath(image_id).stem))
        for image_id, label in zip(dataset.ids, dataset.labels, strict=True)
    ]
    owner: dict[tuple[int, str], str] = {}
    for entry in entries:
        # Some file systems ignore case.
        other = owner.setdefault((entry.label, entry.name.casefold()), entry.id)
        if other != entry.id:
            raise InputError(
                f"'{other}' and '{entry.id}' would both be written to "
                f"'{entry.folder}/{entry.name}'",
                where=dataset.name,
                remedy="Rename one of the two images.",
            )
    return entries


def class_folders(class_names: Sequence[str]) -> list[str]:
    """A folder name per class; sorted, they are in the order of the classes.

    ImageFolder and its like count classes this way. If the names are in another order, each
    gets its number in front.

    >>> class_folders(["cat", "dog"]), class_folders(["dog", "a/b"])
    (['cat', 'dog'], ['0-dog', '1-a_b'])
    """
    names = [_safe(name) for name in class_names]
    if names == sorted(names) and len({name.casefold() for name in names}) == len(names):
        return names
    width = len(str(len(names) - 1))
    return [f"{label:0{width}d}-{name}" for label, name in enumerate(names)]


def _safe(name: str) -> str:
    """A name that is one component of a path and not hidden."""
    name = _UNSAFE.sub("_", name)
    return f"_{name[1:]}" if name.startswith(".") else name or "_"


@dataclass(frozen=True)
class Location:
    """Where the images of one condition lie.

    Attributes:
        path: A severity's folder, or an array file.
        block: Which of the array's equal parts it is, from 0.
        blocks: Number of the array's equal parts.
    """

    path: Path
    block: int = 0
    blocks: int = 1


@dataclass(frozen=True)
class Layout:
    """A folder that holds every corrupted condition of a benchmark.

    Attributes:
        kind: "folders", "arrays" or "shards".
        locations: By condition, in the benchmark's order; clean first, if it is there.
    """

    kind: Kind
    locations: Mapping[Condition, Location]


def refuse_no_folder(folder: Path) -> None:
    """Raise InputError if a stored set's folder is not there, or is a file."""
    if not folder.is_dir():
        if folder.exists():
            raise InputError("is a file, not a folder of a stored set", where=folder)
        raise missing_path(folder, "folder")


def find_layout(folder: Path, benchmark: Benchmark, manifest: Manifest | None) -> Layout:
    """Where the conditions of a benchmark lie.

    Args:
        folder: The stored set.
        benchmark: The benchmark whose conditions are wanted; others are ignored.
        manifest: The stored set's manifest, if it has one.

    Raises:
        InputError: The folder lacks conditions or labels, which are named.
    """
    kind = _kind(folder, benchmark, manifest)
    locations = {}
    for condition in benchmark.conditions:
        location = (
            _array_location(folder, condition, manifest)
            if kind == "arrays"
            else _folder_location(folder, condition)
        )
        if location is not None:
            locations[condition] = location
    missing = [
        str(condition)
        for condition in benchmark.conditions
        if condition.corruption is not None and condition not in locations
    ]
    if missing:
        raise _lacks(folder, benchmark, missing, manifest)
    return Layout(kind, locations)


def _kind(folder: Path, benchmark: Benchmark, manifest: Manifest | None) -> Kind:
    if manifest is not None:
        kinds: dict[str, Kind] = {"npy": "arrays", "webdataset": "shards"}
        return kinds.get(manifest.format, "folders")
    if (folder / LABELS_FILE).is_file():
        return "arrays"
    names = [array_name(condition) for condition in benchmark.conditions[1:]]
    if arrays := [name for name in names if (folder / name).is_file()]:
        raise InputError(
            f"lacks {LABELS_FILE}, which arrays such as {arrays[0]} need",
            where=folder,
            remedy="Add it: a label for each image, or for each image of one severity.",
        )
    return "folders"


def _array_location(
    folder: Path, condition: Condition, manifest: Manifest | None
) -> Location | None:
    path = folder / array_name(condition)
    if condition.corruption is None:
        return Location(path) if path.is_file() else None
    severities: tuple[int | None, ...] = SEVERITIES
    if manifest is not None:
        severities = manifest.the_benchmark(folder).severities or (None,)
    if not path.is_file() or condition.severity not in severities:
        return None
    return Location(path, severities.index(condition.severity), len(severities))


def _folder_location(folder: Path, condition: Condition) -> Location | None:
    name = published_name(condition)
    if condition.corruption is None:
        return Location(folder / name) if (folder / name).is_dir() else None
    for parent in (folder, *(folder / category for category in CATEGORIES)):
        if (parent / name).is_dir():
            if holds_classes(parent / name):
                return Location(parent / name) if condition.severity is None else None
            path = severity_folders(parent / name).get(condition.severity)
            if path is not None:
                return Location(path)
    return None


def holds_classes(folder: Path) -> bool:
    """Whether the folders in a corruption's folder hold images: they are classes then."""
    inside = [entry for entry in listing(folder) if is_folder(entry)]
    return any(
        is_image_name(file.name) and not is_hidden(file.name)
        for entry in inside[:1]
        for file in listing(folder / entry.name)
    )


def severity_folders(folder: Path) -> dict[int | None, Path]:
    """The severity folders of one corruption, by severity."""
    names = [entry.name for entry in listing(folder) if is_folder(entry)]
    full: dict[int | None, Path] = {None: folder / FULL} if FULL in names else {}
    values = {name: _number(name) for name in names if name != FULL}
    numbers = {name: value for name, value in values.items() if value is not None}
    as_severities = {str(severity) for severity in SEVERITIES} & set(numbers)
    if len(as_severities) == len(numbers):
        return full | {int(name): folder / name for name in numbers}
    # In `1, 1.0, 2, 4, 5`, nobody knows which folder is severity 3.
    distinct = len(set(numbers.values())) == len(numbers) == len(SEVERITIES)
    if as_severities or not distinct:
        raise InputError(
            f"its severity folders are {', '.join(sorted(numbers))}, which are not "
            f"{len(SEVERITIES)} severities",
            where=folder,
            remedy="Name the severity folders 1 to 5, or use five different numbers such as "
            "1.5 for all of them.",
        )
    ascending = sorted(numbers, key=lambda name: numbers[name])
    return full | {
        severity: folder / name for severity, name in zip(SEVERITIES, ascending, strict=True)
    }


def _number(text: str) -> float | None:
    # Narrower than float(): "nan" and "1_0" are names.
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdecimal() else None


def _lacks(
    folder: Path, benchmark: Benchmark, missing: list[str], manifest: Manifest | None
) -> InputError:
    total = len(benchmark.conditions) - 1
    names = [entry.name.removesuffix(".npy") for entry in listing(folder)]
    holds = f"It holds {some(names)}. " if names else "It is empty. "
    remedy = f"{holds}Complete it, or choose its benchmark with --benchmark."
    if benchmark.stored_only:
        remedy = f"{holds}Complete it, or evaluate a part: --severities, --corruptions, --skip."
    if manifest is not None:
        made_for = manifest.the_benchmark(folder)
        expected = {str(condition) for condition in made_for.conditions}
        remedy = f"It was made for {made_for.name}. Choose its benchmark with --benchmark."
        remedy = AGAIN if expected.issuperset(missing) else remedy
    return InputError(
        f"lacks {len(missing)} of the {total} conditions of {benchmark.name}: "
        f"{some(missing, most=8)}",
        where=folder,
        remedy=remedy,
    )
