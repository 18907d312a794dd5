"""The folder of a frozen set while it is written: locked, and with nothing odd in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from noctule.errors import InputError
from noctule.frozen.layout import LABELS_FILE
from noctule.frozen.manifest import IMAGES_FILE, MANIFEST_FILE, SUMS_FILE
from noctule.input_files import reject_special_files
from noctule.store.disk import temporaries_of

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, and keep every other process from freezing into it.

    Raises:
        InputError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / LOCK_FILE).acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            "another process is freezing into this folder", where=folder
        ) from error
    try:
        with held:
            yield
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """What kills have left of writing the set's own files beside the pictures.

    Other hidden files that end in `.tmp` are not among them: somebody else may need them.
    """
    own = "|".join(map(re.escape, (MANIFEST_FILE, IMAGES_FILE, LABELS_FILE, SUMS_FILE)))
    ours = re.compile(rf"\.(?:{own})\.[0-9]+\.tmp")
    found = temporaries_of(folder, "*")
    return [path for path in found if ours.fullmatch(path.name) and path.is_file()]


def refuse_occupied(folder: Path) -> None:
    """Refuse what holds more than a kill leaves of the beginning of a set.

    Raises:
        InputError: a file that is none of these is named.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = {LOCK_FILE, IMAGES_FILE, LABELS_FILE, *(path.name for path in leftovers(folder))}
    if foreign := sorted(names - ours):
        raise InputError(
            f"is not empty and not a frozen set (it holds {foreign[0]})",
            where=folder,
            remedy="Choose an empty or new folder.",
        )


def reject_odd_entries(folder: Path) -> None:
    """Refuse links, which could lead the writing anywhere, and pipes, which wait forever.

    Raises:
        InputError: something in the folder is neither a file nor a folder.
    """
    for place, folders, names in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *names)):
            if path.is_symlink():
                raise InputError(
                    "is a link, and nothing in a frozen set is one",
                    where=path,
                    remedy="Remove it, and give the same command again.",
                )
            reject_special_files(path, folder_allowed=True)
