"""Whether a stored set is still what was written, and whether it can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from noctule.arguments import path_like, whole_number
from noctule.benchmarks import Condition
from noctule.display import notebook_progress
from noctule.errors import InputError
from noctule.evaluation.execution import usable_cores
from noctule.models import Preprocessing
from noctule.sampling import image_words, integers, key_of
from noctule.store.sums import SUMS_FILE, FileSum, read_sums
from noctule.stored.manifest import AGAIN, MANIFEST_FILE, Manifest, read_manifest
from noctule.stored.read import (
    StoredSet,
    open_stored,
    refuse_no_folder,
    refuse_unfinished,
    state_of,
)


@dataclass(frozen=True)
class Verification:
    """The state of a stored set; paths are relative to it.

    Attributes:
        num_files: Number of files that should be there.
        missing: Files that are missing.
        changed: Files with another hash, that cannot be read, or that have become links.
        extra: Files and links that should not be there.
        num_remade: Number of images that were made again.
        differing: CONDITION/ID of images that came out differently.
    """

    num_files: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    extra: tuple[str, ...]
    num_remade: int = 0
    differing: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.changed or self.extra or self.differing)


def verify(
    folder: str | Path,
    *,
    again: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare every file of a stored set with its hash.

    Args:
        folder: What `noctule export` wrote.
        again: Number of images to make again from the uncorrupted ones and compare to the bit,
            if no file is missing or changed. They are drawn with replacement; if there are no
            more images than that, each is made once.
        progress: Called with (files done, files in all); by default a notebook shows a bar.

    Raises:
        InputError: The set is not finished, its hashes cannot be read, or images that were
            stored as JPEG, or made on a GPU that is missing here, are to be made again.
    """
    folder = path_like(folder, "folder").expanduser()
    again = whole_number(again, "again", low=0)
    manifest = _manifest(folder, again)
    with notebook_progress(progress, "hashing") as advance:
        states = states_of(folder, list(read_sums(folder, AGAIN)), advance)
    missing = [name for name, state in states.items() if state == "missing"]
    changed = [name for name, state in states.items() if state == "changed"]
    extra = sorted(set(_files(folder)) - states.keys() - {SUMS_FILE})
    differing: list[str] = []
    chosen: list[tuple[Condition, int]] = []
    if again and not missing and not changed:
        stored = open_stored(folder)
        chosen = _chosen(stored, manifest.seed, again)
        device = torch.device("cuda" if "cuda" in manifest.versions else "cpu")
        differing = list(_differing(stored, manifest.seed, chosen, device))
    return Verification(
        len(states), tuple(missing), tuple(changed), tuple(extra), len(chosen), tuple(differing)
    )


def _manifest(folder: Path, again: int) -> Manifest:
    refuse_no_folder(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"is not a stored set: it has no {MANIFEST_FILE}", where=folder)
    refuse_unfinished(folder)
    if again and not manifest.lossless:
        raise InputError(
            "holds JPEG, from which no image can be made again to the bit",
            where=folder,
            remedy="Leave --again out; the hashes are compared in any case.",
        )
    if again and "cuda" in manifest.versions and not torch.cuda.is_available():
        raise InputError(
            "was made on a GPU, where some corruptions round differently, and none is here",
            where=folder,
            remedy="Leave --again out; the hashes are compared in any case.",
        )
    return manifest


def states_of(
    folder: Path, sums: Sequence[FileSum], progress: Callable[[int, int], None]
) -> dict[str, Literal["good", "missing", "changed"]]:
    """Whether each file has its hash, by its path; several files are read at once.

    Args:
        folder: The stored set.
        sums: The hashes to compare with.
        progress: Called with (files done, files in all).
    """
    states = {}
    with ThreadPoolExecutor(usable_cores()) as pool:  # hashing releases the interpreter lock
        found = pool.map(lambda expected: state_of(folder, expected), sums)
        for done, (expected, state) in enumerate(zip(sums, found, strict=True), start=1):
            states[expected.path] = state
            progress(done, len(sums))
    return states


def _files(folder: Path) -> Iterator[str]:
    """Every file, and every link to a folder, relative to the set."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _chosen(stored: StoredSet, seed: int, count: int) -> list[tuple[Condition, int]]:
    """Some corrupted images, chosen by keyed draws; all if there are no more than that."""
    conditions = [one for one in stored.images if one.corruption is not None]
    if count >= len(conditions) * len(stored):
        return [(one, index) for one in conditions for index in range(len(stored))]
    ((words_a, words_b),) = image_words([key_of("verify", seed)], range(count))
    which = integers(words_a, 0, len(conditions) - 1).tolist()
    images = integers(words_b, 0, len(stored) - 1).tolist()
    return [(conditions[number], index) for number, index in zip(which, images, strict=True)]


def _differing(
    stored: StoredSet,
    seed: int,
    chosen: Sequence[tuple[Condition, int]],
    device: torch.device,
) -> Iterator[str]:
    """The images that do not come out as stored when they are made again."""
    for condition, index in chosen:
        image_id = stored.ids[index]
        clean = _stored(stored, Condition(), index)[None].to(device)
        remade = stored.benchmark.corrupt(condition, clean, ids=[image_id], seed=seed)
        if not torch.equal(remade[0].cpu(), _stored(stored, condition, index)):
            yield f"{condition}/{image_id}"


def _stored(stored: StoredSet, condition: Condition, index: int) -> Tensor:
    image = stored.images[condition].read(index)
    grey = image.mode == "L"
    as_it_is = Preprocessing(mode="L", mean=(0.0,), std=(1.0,)) if grey else Preprocessing()
    return as_it_is.prepare(image)
