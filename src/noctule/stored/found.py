"""The benchmark of a folder of corrupted images whose names noctule has never heard of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noctule.benchmarks import CLEAN, Benchmark, benchmark_names, load_benchmark
from noctule.corruptions import SEVERITIES
from noctule.data.files import base_name, is_folder, is_hidden, listing, some
from noctule.errors import InputError
from noctule.stored.layout import (
    CATEGORIES,
    authors_name,
    holds_classes,
    severity_folders,
)

_FORMS = "Corrupted images lie in NAME/SEVERITY/CLASS/IMAGE or NAME/CLASS/IMAGE."


def found_benchmark(folder: Path) -> Benchmark:
    """The benchmark that a folder holds: a published one, or the corruptions that are found.

    If the names of the folders belong to one published benchmark, it is that one, and what it
    lacks is missing. Otherwise they are the names of corruptions. All must have the severities
    that any has: `find_layout` names those that are missing.

    Raises:
        InputError: The folder does not hold corruptions, some have severities and others not,
            or the names are those of several published benchmarks.
    """
    entries = [entry for entry in listing(folder) if is_folder(entry)]
    names = [one.name for one in entries if not is_hidden(one.name) and one.name != CLEAN]
    _check_names(folder, names)
    published = [
        one
        for one in map(load_benchmark, benchmark_names())
        if one.severities and {*names} <= {authors_name(name) for name in one.corruptions}
    ]
    if len(published) > 1:
        raise InputError(
            f"has no manifest; {some(names)} are corruptions of "
            f"{', '.join(one.name for one in published)}",
            where=folder,
            remedy="Choose one with --benchmark, and for a part of it --corruptions.",
        )
    if published:
        return published[0]
    return Benchmark.from_dict(
        {
            "name": base_name(folder),
            "title": base_name(folder),
            "source": "corrupted images on disk",
            "metric": "mean_error",
            "stored_only": True,
            "corruptions": names,
            "severities": _severities(folder, names) or "full",
        },
        where=folder,
    )


def _check_names(folder: Path, names: Sequence[str]) -> None:
    if not names:
        raise InputError("holds no folders of corruptions", where=folder, remedy=_FORMS)
    if set(names) <= set(CATEGORIES):
        raise InputError(
            f"holds {some(names)}, the archives of ImageNet-C",
            where=folder,
            remedy="Choose its benchmark: --benchmark imagenet-c.",
        )
    if all(name.replace(".", "", 1).isdecimal() for name in names):
        raise InputError(
            f"holds {some(names)}, which are severities or classes, not corruptions",
            where=folder,
            remedy=f"Pass the folder of all corruptions. {_FORMS}",
        )
    for name in names:
        if not any(is_folder(entry) for entry in listing(folder / name)):
            raise InputError(
                "holds no folders", where=folder / name, remedy=f"{_FORMS} Or remove it."
            )


def _severities(folder: Path, names: Sequence[str]) -> list[int]:
    """The severities that any of the corruptions has; none if they hold classes directly."""
    without = [name for name in names if holds_classes(folder / name)]
    if without and len(without) < len(names):
        other = next(name for name in names if name not in without)
        raise InputError(
            f"'{without[0]}' holds folders of classes, and '{other}' folders of severities",
            where=folder,
            remedy="Give all corruptions severities, or evaluate the two kinds as two sets.",
        )
    if without:
        return []
    found: set[int] = set()
    for name in names:
        severities = severity_folders(folder / name)
        if not severities or None in severities:
            raise InputError(
                f"its folders are not named by severities {SEVERITIES[0]} to {SEVERITIES[-1]}",
                where=folder / name,
                remedy=_FORMS,
            )
        found.update(one for one in severities if one is not None)
    return sorted(found)
