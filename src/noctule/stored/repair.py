"""A finished stored set that was damaged becomes an unfinished one; what is good is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from noctule.errors import InputError
from noctule.store.disk import write_atomically
from noctule.stored.layout import LABELS_FILE
from noctule.stored.manifest import IMAGES_FILE, MANIFEST_FILE, SUMS_FILE
from noctule.stored.plan import PIECES_FOLDER, Plan
from noctule.stored.sums import FileSum, read_sums, states_of, sums_text


def good_files(folder: Path, progress: Callable[[int, int], None]) -> dict[str, str]:
    """The hashes of the files that still have them; none if SHA256SUMS cannot be read.

    Args:
        folder: a finished stored set.
        progress: called with (files done, files in all).
    """
    try:
        sums = read_sums(folder)
    except InputError:
        return {}
    states = states_of(folder, sums, progress)
    return {name: sums[name] for name, state in states.items() if state == "good"}


def files_of(plan: Plan, images: range) -> list[str]:
    """The files of a piece, in the order in which they are written."""
    if plan.target.format == "npy":
        return plan.target.array_names
    conditions = plan.target.benchmark.conditions
    return [name for one in conditions for name in plan.target.paths(one, images)]


def damaged_files(plan: Plan, good: Mapping[str, str]) -> list[str]:
    """The files that a finished set should have and that are not good."""
    files = (name for images in plan.pieces for name in files_of(plan, images))
    due = dict.fromkeys((*root_files(plan), *files))
    return [name for name in due if name not in good]


def root_files(plan: Plan) -> list[str]:
    """The files that lie in the set's folder itself, without SHA256SUMS."""
    arrays = [LABELS_FILE, *plan.target.array_names] if plan.target.format == "npy" else []
    return [MANIFEST_FILE, IMAGES_FILE, *arrays]


def reopen(
    plan: Plan, good: Mapping[str, str], damaged: Iterable[str], begin: Callable[[], None]
) -> None:
    """Leave the records of the pieces that are good, and take SHA256SUMS away.

    Arrays are not divided into pieces: those that are damaged go, and all are written anew.

    Args:
        plan: of the set.
        good: the hashes of the files that are as they were written.
        damaged: the other files that the set should have.
        begin: writes what lies beside the images.

    Raises:
        InputError: a folder lies where a file belongs, or a file where a folder does.
    """
    folder = plan.target.folder
    for name in damaged:
        refuse_obstacle(folder, name)
    begin()
    shutil.rmtree(folder / PIECES_FOLDER, ignore_errors=True)
    (folder / PIECES_FOLDER).mkdir()
    as_arrays = plan.target.format == "npy"
    for images in plan.pieces:
        names = files_of(plan, images)
        if all(name in good for name in names):
            sums = (
                plan.target.part_sums(images, plan.image_shape)
                if as_arrays
                else [FileSum(good[name], name) for name in names]
            )
            write_atomically(plan.record(images), sums_text(sums))
    for name in plan.target.array_names if as_arrays else ():
        if name not in good:
            (folder / name).unlink(missing_ok=True)
    (folder / SUMS_FILE).unlink(missing_ok=True)


def refuse_obstacle(folder: Path, name: str) -> None:
    """What cannot be written over: a folder in place of the file, or a file of its folders.

    Raises:
        InputError: it is there; it is named.
    """
    above = (folder / parent for parent in PurePosixPath(name).parents)
    obstacles = [place for place in above if place.is_file()]
    if (folder / name).is_dir():
        obstacles.append(folder / name)
    if obstacles:
        raise InputError(
            f"is in the way of '{name}'",
            where=obstacles[0],
            remedy="Remove it, and give the same command again.",
        )
