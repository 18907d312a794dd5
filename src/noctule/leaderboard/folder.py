"""The files of a submission: named, bounded and refused before anything in them is read.

    submission.toml
    run/run.json
    run/provenance.jsonl
    run/SHA256SUMS
    run/rows/000000.parquet ...

Nothing of a submission is ever run, imported or unpickled.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noctule.errors import InputError
from noctule.leaderboard.submission import SUBMISSION_FILE
from noctule.store.disk import read_records
from noctule.store.identity import check_depth

RUN_FOLDER = "run"
ROWS_FOLDER = f"{RUN_FOLDER}/rows"
RUN_FILE = f"{RUN_FOLDER}/run.json"
PROVENANCE_FILE = f"{RUN_FOLDER}/provenance.jsonl"
SUMS_FILE = f"{RUN_FOLDER}/SHA256SUMS"
_MIB = 1024 * 1024
# A slice of ImageNet-C, 256 images under 76 conditions, has about 0.3 MiB.
MOST_BYTES = {
    SUBMISSION_FILE: 64 * 1024,
    RUN_FILE: 256 * 1024,
    PROVENANCE_FILE: 4 * _MIB,
    SUMS_FILE: 4 * _MIB,
    "rows": 16 * _MIB,
}
MOST_BYTES_IN_ALL = 1024 * _MIB
MOST_FILES = 20_000
_FOLDERS = (RUN_FOLDER, ROWS_FOLDER)
_SLICE = re.compile(rf"{ROWS_FOLDER}/\d{{6}}\.parquet")


@dataclass(frozen=True)
class SubmittedFiles:
    """The files of a submission that may be read.

    Attributes:
        folder: the submission.
        slices: names of the Parquet files, such as "000000.parquet", ascending.
        num_bytes: size of all files.
    """

    folder: Path
    slices: tuple[str, ...]
    num_bytes: int

    def slice_path(self, name: str) -> Path:
        """Where one Parquet file is."""
        return self.folder / ROWS_FOLDER / name

    def name_flaw(self) -> str | None:
        """What is wrong if the Parquet files are not numbered from 0 without a gap."""
        for index, name in enumerate(self.slices):
            if name != f"{index:06d}.parquet":
                return f"{name} is there, where {index:06d}.parquet is due"
        return None

    @property
    def run_folder(self) -> Path:
        """The run folder inside."""
        return self.folder / RUN_FOLDER


def list_files(folder: Path) -> SubmittedFiles:
    """Look at names, kinds and sizes; nothing is opened.

    Raises:
        InputError: not a submission: a file that does not belong there, a link, a file that is
            too large, or one that is missing.
    """
    try:
        if folder.is_symlink() or not folder.is_dir():
            raise InputError(
                "is not a folder", where=folder, remedy="Name a submission's folder."
            )
        found = _sizes(folder)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=folder) from error
    for name in (SUBMISSION_FILE, RUN_FILE):
        if name not in found:
            raise InputError(f"is not a submission: it has no {name}", where=folder)
    slices = sorted(name for name in found if _SLICE.fullmatch(name))
    names = tuple(name.rpartition("/")[2] for name in slices)
    return SubmittedFiles(folder, names, sum(found.values()))


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The provenance of every start of a run, the first one first; [] if there is none."""
    path = folder / "provenance.jsonl"
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES[PROVENANCE_FILE]:
            return []
        starts = read_records(path)
        for start in starts:
            check_depth(start)
        return starts
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file, by its name."""
    found: dict[str, int] = {}
    total = 0
    for name, size in _walk(folder):
        found[name] = size
        total += size
        if len(found) > MOST_FILES or total > MOST_BYTES_IN_ALL:
            most = f"{MOST_FILES:,} files or {MOST_BYTES_IN_ALL // _MIB:,} MiB"
            raise InputError(f"holds more than {most}", where=folder)
    return found


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        name = f"{prefix}{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and name in _FOLDERS:
            yield from _walk(folder / entry.name, f"{name}/")
        else:
            _refuse(folder / entry.name, name, status)
            yield name, status.st_size


def _refuse(path: Path, name: str, status: os.stat_result) -> None:
    """InputError for what is not a file of a submission, or is too large."""
    if stat.S_ISLNK(status.st_mode):
        raise InputError("is a link", where=path, remedy="Submit the file itself.")
    kind = "rows" if _SLICE.fullmatch(name) else name
    if not stat.S_ISREG(status.st_mode) or kind not in MOST_BYTES:
        raise InputError(
            "does not belong in a submission",
            where=path,
            remedy=f"Submit {SUBMISSION_FILE} and {RUN_FOLDER}/ only.",
        )
    if status.st_size > MOST_BYTES[kind]:
        raise InputError(
            f"is too large: {status.st_size:,} bytes, and {MOST_BYTES[kind]:,} are allowed",
            where=path,
        )
