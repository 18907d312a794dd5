"""The folder of a stored set while it is written: with nothing odd in it."""

from __future__ import annotations

import os
from pathlib import Path

from noctule.errors import InputError
from noctule.input_files import reject_special_files
from noctule.store.disk import LOCK_FILE, temporaries_of
from noctule.stored.layout import LABELS_FILE
from noctule.stored.manifest import IMAGES_FILE, MANIFEST_FILE, SUMS_FILE


def leftovers(folder: Path) -> list[Path]:
    """What kills have left of writing the set's own files beside the images.

    Other hidden files that end in `.tmp` are not among them: somebody else may need them.
    """
    own = (MANIFEST_FILE, IMAGES_FILE, LABELS_FILE, SUMS_FILE)
    return [path for name in own for path in temporaries_of(folder, name)]


def refuse_occupied(folder: Path) -> None:
    """Refuse what holds more than a kill leaves of the beginning of a set.

    Raises:
        InputError: a file that is none of these is named.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = {LOCK_FILE, IMAGES_FILE, LABELS_FILE, *(path.name for path in leftovers(folder))}
    if foreign := sorted(names - ours):
        raise InputError(
            f"is not empty and not a stored set (it holds {foreign[0]})",
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
                    "is a link, and nothing in a stored set is one",
                    where=path,
                    remedy="Remove it, and give the same command again.",
                )
            reject_special_files(path, folder_allowed=True)
