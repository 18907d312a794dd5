"""SHA256SUMS: the hash of every file of a stored set, and whether the files still have it."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from noctule.errors import InputError
from noctule.evaluation.execution import usable_cores
from noctule.input_files import real_path, reject_special_files
from noctule.stored.manifest import SUMS_FILE

AGAIN = "Give the command that exported it again: it writes what is missing or damaged anew."

CHANGED = (
    f"it is not what was written: its hash is not that in {SUMS_FILE}; "
    "given again, the command that exported it writes it anew"
)
DIGEST_BYTES = 32

State = Literal["good", "missing", "changed"]

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class FileSum(NamedTuple):
    """The SHA-256 of a file, as hex, and its path relative to the stored set."""

    sha256: str
    path: str


def hash_file(folder: Path, name: str) -> FileSum:
    """The SHA-256 of a file of the set; OSError if it is no file: a pipe would never end."""
    with _opened(folder / name) as stream:
        return FileSum(hashlib.file_digest(stream, "sha256").hexdigest(), name)


def _opened(path: Path) -> io.BufferedReader:
    try:
        reject_special_files(path)
    except InputError as error:
        raise OSError(error.what) from error
    return path.open("rb")


def sums_text(sums: Sequence[FileSum]) -> bytes:
    """Lines as `sha256sum` writes and checks them."""
    return "".join(f"{one.sha256}  {one.path}\n" for one in sums).encode()


def read_sums(folder: Path) -> dict[str, str]:
    """The hash of each file, by its path in the stored set.

    Raises:
        InputError: SHA256SUMS cannot be read, or names a file outside the folder.
    """
    return {one.path: one.sha256 for one in _entries(folder / SUMS_FILE)}


def digests_by_place(
    folder: Path, places: Iterable[str], names: Sequence[str]
) -> dict[str, bytes]:
    """The hashes of files that are called alike in several folders, 32 bytes each.

    Millions of hashes as text, by path, would fill a gigabyte.

    Args:
        folder: the stored set.
        places: folders in it.
        names: paths of the files relative to each of these, all of one depth.

    Returns:
        By place, the hashes in the order of the names; 0, which is no file's, where
        SHA256SUMS has none.

    Raises:
        InputError: SHA256SUMS cannot be read, or names a file outside the folder.
    """
    digests = {place: bytearray(DIGEST_BYTES * len(names)) for place in places}
    start_of = {name: DIGEST_BYTES * index for index, name in enumerate(names)}
    depth = names[0].count("/") + 1
    for one in _entries(folder / SUMS_FILE):
        place, *parts = one.path.rsplit("/", depth)
        start = start_of.get("/".join(parts))
        if start is not None and place in digests:
            digests[place][start : start + DIGEST_BYTES] = bytes.fromhex(one.sha256)
    return {place: bytes(digest) for place, digest in digests.items()}


def sum_of(folder: Path, name: str) -> str | None:
    """The hash that one file should have; None if that cannot be found out."""
    try:
        return next(
            (one.sha256 for one in _entries(folder / SUMS_FILE) if one.path == name), None
        )
    except InputError:
        return None


def _entries(path: Path) -> Iterator[FileSum]:
    number, line = 0, "\n"
    try:
        with io.TextIOWrapper(_opened(path), encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith("\n"):
                    yield _parsed(line[:-1], path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path, remedy=AGAIN) from error
    if not line.endswith("\n"):
        raise InputError("is cut short: its last line does not end", where=path, remedy=AGAIN)


def _parsed(line: str, path: Path, number: int) -> FileSum:
    match = _LINE.fullmatch(line)
    if match is None:
        where = f"{path}, line {number}"
        raise InputError("is not a hash and a name", where=where, remedy=AGAIN)
    sha256, name = match.groups()
    if name.startswith("/") or ".." in name.split("/"):
        raise InputError(
            f"'{name}' is outside of the stored set", where=f"{path}, line {number}"
        )
    return FileSum(sha256, name)


def refuse_changed(folder: Path, names: Sequence[str]) -> None:
    """Compare a few small files of a finished set with their hashes.

    Raises:
        InputError: one is missing or changed, or has no hash.
    """
    due = set(names)
    for one in _entries(folder / SUMS_FILE):
        if one.path in due:
            due.remove(one.path)
            if (state := state_of(folder, one)) != "good":
                changed = f"is not what was written: its hash is not that in {SUMS_FILE}"
                what = "is missing" if state == "missing" else changed
                raise InputError(what, where=folder / one.path, remedy=AGAIN)
        if not due:  # they come first, before millions of images
            return
    raise InputError(
        f"has no hash of {', '.join(sorted(due))}", where=folder / SUMS_FILE, remedy=AGAIN
    )


def states_of(
    folder: Path, sums: Mapping[str, str], progress: Callable[[int, int], None]
) -> dict[str, State]:
    """Whether each file has its hash, by its path; several files are read at once.

    Args:
        folder: the stored set.
        sums: as `read_sums` gives them.
        progress: called with (files done, files in all).
    """
    states: dict[str, State] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:  # hashing leaves the interpreter free
        due = (FileSum(sha256, name) for name, sha256 in sums.items())
        found = pool.map(lambda one: state_of(folder, one), due)
        for done, (name, state) in enumerate(zip(sums, found, strict=True), start=1):
            states[name] = state
            progress(done, len(sums))
    return states


def state_of(folder: Path, due: FileSum) -> State:
    """Whether a file is there and has its hash; a link has not."""
    # A link could lead out of the set, and its file change without it.
    if not os.path.lexists(folder / due.path):
        return "missing"
    if real_path(folder / due.path) != real_path(folder) / due.path:
        return "changed"
    try:
        return "good" if hash_file(folder, due.path).sha256 == due.sha256 else "changed"
    except OSError:
        return "changed"
