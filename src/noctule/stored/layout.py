"""Which published layout a folder has, and where each condition lies in it.

Known are

- class folders: CORRUPTION/SEVERITY/CLASS/IMAGE, as ImageNet-C and ImageNet-C-bar have it. The
  corruptions may lie in the folders of ImageNet-C's archives: noise, blur, weather, digital and
  extra. Severity folders are named 1 to 5 or, as in ImageNet-C-bar, by five numbers, the
  smallest of which is severity 1; the folder of a full range is named `full`. Mixtures of the
  two are refused.
- arrays: CORRUPTION.npy with the images of every severity, one severity after the other, and
  labels.npy, as CIFAR-10-C and CIFAR-100-C have it.
- tar shards: CORRUPTION/SEVERITY/000000.tar, as `noctule export --format webdataset` writes
  them.

Uncorrupted images lie in `clean` or clean.npy, if they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from noctule.benchmarks import CLEAN, Benchmark, Condition
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.data.files import is_folder, listing, missing_path, some
from noctule.errors import InputError
from noctule.stored.manifest import Manifest
from noctule.stored.names import FULL
from noctule.stored.sums import AGAIN

Kind = Literal["folders", "arrays", "shards"]

CATEGORIES = ("noise", "blur", "weather", "digital", "extra")
LABELS_FILE = "labels.npy"


@dataclass(frozen=True)
class Place:
    """Where the images of one condition lie.

    Attributes:
        path: a severity's folder, or an array file.
        block: which of the array's equal parts they are, from 0.
        blocks: how many the array has.
    """

    path: Path
    block: int = 0
    blocks: int = 1


@dataclass(frozen=True)
class Layout:
    """A folder that holds every corrupted condition of a benchmark.

    Attributes:
        kind: "folders", "arrays" or "shards".
        places: by condition, in the benchmark's order; clean first, if it is there.
    """

    kind: Kind
    places: Mapping[Condition, Place]


def refuse_no_folder(folder: Path) -> None:
    """Raise InputError if a stored set's folder is not there, or is a file."""
    if not folder.is_dir():
        if folder.exists():
            raise InputError("is a file, not a folder of a stored set", where=folder)
        raise missing_path(folder, "folder")


def find_layout(folder: Path, benchmark: Benchmark, manifest: Manifest | None) -> Layout:
    """Where the conditions of a benchmark lie.

    Args:
        folder: the stored set.
        benchmark: whose conditions are wanted; what else is there does not matter.
        manifest: the stored set's, if it has one.

    Raises:
        InputError: the folder lacks conditions or labels, which are named.
    """
    kind = _kind(folder, benchmark, manifest)
    found = {
        condition: _array_place(folder, condition, manifest)
        if kind == "arrays"
        else _folder_place(folder, condition)
        for condition in benchmark.conditions
    }
    places = {condition: place for condition, place in found.items() if place is not None}
    missing = [str(one) for one in found if one not in places and one.corruption is not None]
    if missing:
        raise _lacks(folder, benchmark, missing, manifest)
    return Layout(kind, places)


def _kind(folder: Path, benchmark: Benchmark, manifest: Manifest | None) -> Kind:
    if manifest is not None:
        kinds: dict[str, Kind] = {"npy": "arrays", "webdataset": "shards"}
        return kinds.get(manifest.format, "folders")
    if (folder / LABELS_FILE).is_file():
        return "arrays"
    names = [f"{CORRUPTIONS[one].published_name}.npy" for one in benchmark.corruptions]
    if arrays := [name for name in names if (folder / name).is_file()]:
        raise InputError(
            f"lacks {LABELS_FILE}, which arrays such as {arrays[0]} need",
            where=folder,
            remedy="Put it there: it has a label for each image, or for each of one severity.",
        )
    return "folders"


def _array_place(folder: Path, condition: Condition, manifest: Manifest | None) -> Place | None:
    if condition.corruption is None:
        path = folder / f"{CLEAN}.npy"
        return Place(path) if path.is_file() else None
    path = folder / f"{CORRUPTIONS[condition.corruption].published_name}.npy"
    severities: tuple[int | None, ...] = SEVERITIES
    if manifest is not None:
        severities = manifest.the_benchmark(folder).severities or (None,)
    if not path.is_file() or condition.severity not in severities:
        return None
    return Place(path, severities.index(condition.severity), len(severities))


def _folder_place(folder: Path, condition: Condition) -> Place | None:
    if condition.corruption is None:
        return Place(folder / CLEAN) if (folder / CLEAN).is_dir() else None
    name = CORRUPTIONS[condition.corruption].published_name
    parents = (folder, *(folder / category for category in CATEGORIES))
    for place in (parent / name for parent in parents):
        if place.is_dir() and (path := _severity_folders(place).get(condition.severity)):
            return Place(path)
    return None


def _severity_folders(place: Path) -> dict[int | None, Path]:
    """The severity folders of one corruption, by severity."""
    names = [entry.name for entry in listing(place) if is_folder(entry)]
    full: dict[int | None, Path] = {None: place / FULL} if FULL in names else {}
    severities = {name: _number(name) for name in names if name != FULL}
    numbered = {name: value for name, value in severities.items() if value is not None}
    as_severities = {str(severity) for severity in SEVERITIES} & set(numbered)
    if len(as_severities) == len(numbered):
        return full | {int(name): place / name for name in numbered}
    # Of `1, 1.0, 2, 4, 5` nobody can tell which one severity 3 is.
    if (
        as_severities
        or len(set(numbered.values())) != len(numbered)
        or len(numbered) != len(SEVERITIES)
    ):
        raise InputError(
            f"its severity folders are {', '.join(sorted(numbered))}, which are not "
            f"{len(SEVERITIES)} severities",
            where=place,
            remedy="Severity folders are named 1 to 5, or all by numbers such as 1.5, five of "
            "them and each another one.",
        )
    ascending = sorted(numbered, key=lambda name: numbered[name])
    return full | {
        severity: place / name for severity, name in zip(SEVERITIES, ascending, strict=True)
    }


def _number(text: str) -> float | None:
    # Not all that float() takes: "nan" and "1_0" are names.
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdecimal() else None


def _lacks(
    folder: Path, benchmark: Benchmark, missing: list[str], manifest: Manifest | None
) -> InputError:
    total = len(benchmark.conditions) - 1
    names = [entry.name.removesuffix(".npy") for entry in listing(folder)]
    holds = f"It holds {some(names)}. " if names else "It is empty. "
    remedy = f"{holds}Complete it, or choose its benchmark with --benchmark."
    if manifest is not None:
        made_for = manifest.the_benchmark(folder)
        due = {str(condition) for condition in made_for.conditions}
        remedy = f"It was made for {made_for.name}. Choose its benchmark with --benchmark."
        remedy = AGAIN if due.issuperset(missing) else remedy
    return InputError(
        f"lacks {len(missing)} of the {total} conditions of {benchmark.name}: "
        f"{some(missing, most=8)}",
        where=folder,
        remedy=remedy,
    )
