"""Whether a stored set is still what was written, and whether it can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from noctule.arguments import path_like, whole_number
from noctule.benchmarks import Condition
from noctule.errors import InputError
from noctule.input_files import reject_special_files
from noctule.models import Preprocessing
from noctule.sampling import image_words, integers, key_of
from noctule.stored.layout import refuse_no_folder
from noctule.stored.manifest import MANIFEST_FILE, SUMS_FILE, Manifest, read_manifest
from noctule.stored.read import StoredSet, open_stored
from noctule.stored.sums import AGAIN, read_sums, states_of


@dataclass(frozen=True)
class Verification:
    """What was found; paths are relative to the stored set.

    Attributes:
        num_files: how many files should be there.
        missing: those that are not.
        changed: those with another hash, that cannot be read, or that have become links.
        extra: files and links that should not be there.
        num_remade: how many images were made again.
        differing: of these, the ones that came out otherwise: CONDITION/ID.
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compare every file of a stored set with its hash.

    Args:
        folder: what `noctule export` wrote.
        again: so many images, chosen by key, are also made again from the uncorrupted ones
            and compared to the bit, if all files are as they were; each once if there are no
            more.
        progress: called with (files done, files in all).

    Raises:
        InputError: the set is not finished, or has no hashes, or they cannot be read; or
            images are to be made again that were stored as JPEG.
    """
    folder = path_like(folder, "folder").expanduser()
    again = whole_number(again, "again", low=0)
    manifest = _manifest(folder, again)
    sums = read_sums(folder)
    states = states_of(folder, sums, progress)
    missing = [name for name, state in states.items() if state == "missing"]
    changed = [name for name, state in states.items() if state == "changed"]
    extra = sorted(name for name in _files(folder) if name not in sums and name != SUMS_FILE)
    differing: list[str] = []
    chosen: list[tuple[Condition, int]] = []
    if again and not missing and not changed:
        stored = open_stored(folder)
        chosen = _chosen(stored, manifest.seed, again)
        differing = list(_differing(stored, manifest.seed, chosen))
    return Verification(
        len(sums), tuple(missing), tuple(changed), tuple(extra), len(chosen), tuple(differing)
    )


def _manifest(folder: Path, again: int) -> Manifest:
    refuse_no_folder(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"is not a stored set: it has no {MANIFEST_FILE}", where=folder)
    reject_special_files(folder / SUMS_FILE)
    if not (folder / SUMS_FILE).exists():
        raise InputError(f"is not finished: it has no {SUMS_FILE}", where=folder, remedy=AGAIN)
    if again < 0:
        raise InputError(f"{again} is less than 0", where="--again")
    if again and not manifest.lossless:
        raise InputError(
            "holds JPEG, from which no image can be made again to the bit",
            where=folder,
            remedy="Leave --again out: the hashes are of the files.",
        )
    return manifest


def _files(folder: Path) -> Iterator[str]:
    """Every file, and every link to a folder, relative to the set."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(place) / name).relative_to(folder).as_posix()


def _chosen(stored: StoredSet, seed: int, count: int) -> list[tuple[Condition, int]]:
    """Some corrupted images, chosen by key; every one if there are no more than asked for."""
    conditions = [one for one in stored.images if one.corruption is not None]
    if count >= len(conditions) * len(stored):
        return [(one, index) for one in conditions for index in range(len(stored))]
    ((words_a, words_b),) = image_words([key_of("verify", seed)], range(count))
    which = integers(words_a, 0, len(conditions) - 1).tolist()
    images = integers(words_b, 0, len(stored) - 1).tolist()
    return [(conditions[number], index) for number, index in zip(which, images, strict=True)]


def _differing(
    stored: StoredSet, seed: int, chosen: Sequence[tuple[Condition, int]]
) -> Iterator[str]:
    """Those of some images that are not made again as they are stored."""
    for condition, index in chosen:
        image_id = stored.ids[index]
        clean = _stored(stored, Condition(), index)
        remade = stored.benchmark.corrupt(condition, clean[None], ids=[image_id], seed=seed)
        if not torch.equal(remade[0], _stored(stored, condition, index)):
            yield f"{condition}/{image_id}"


def _stored(stored: StoredSet, condition: Condition, index: int) -> Tensor:
    image = stored.images[condition].read(index)
    grey = image.mode == "L"
    as_it_is = Preprocessing(mode="L", mean=(0.0,), std=(1.0,)) if grey else Preprocessing()
    return as_it_is.prepare(image)
