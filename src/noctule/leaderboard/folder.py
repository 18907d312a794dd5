"""The files of a submission: named, bounded and refused before anything in them is read.

    submission.toml
    run/run.json
    run/provenance.jsonl
    run/rows/000000.parquet ...

Nothing of a submission is ever run, imported or unpickled.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.leaderboard.submission import SUBMISSION_FILE
from noctule.store.disk import read_lines

RUN_FOLDER = "run"
ROWS_FOLDER = f"{RUN_FOLDER}/rows"
RUN_FILE = f"{RUN_FOLDER}/run.json"
PROVENANCE_FILE = f"{RUN_FOLDER}/provenance.jsonl"
_MIB = 1024 * 1024
# A slice of ImageNet-C, 256 images under 76 conditions, has about 0.3 MiB.
MOST_BYTES = {
    SUBMISSION_FILE: 64 * 1024,
    RUN_FILE: 256 * 1024,
    PROVENANCE_FILE: 4 * _MIB,
    "rows": 16 * _MIB,
}
MOST_BYTES_IN_ALL = 1024 * _MIB
MOST_FILES = 20_000
MOST_LEVELS = 32
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


def read_record(path: Path) -> dict[str, Any]:
    """run.json as plain data whose numbers are in a sane range; keys may be missing.

    What computes with it (slices, conditions) is thereby bounded.

    Raises:
        InputError: it is not a run's record.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES[RUN_FILE]:
            raise ValueError(f"{size:,} bytes, and {MOST_BYTES[RUN_FILE]:,} are allowed")
        data = json.loads(read_text(path), parse_constant=_no_number, parse_float=_finite)
        _check_depth(data)
        _check_record(data)
    except KeyError as error:
        raise InputError(f"is not a run's record: it lacks {error}", where=path) from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"is not a run's record: {error}", where=path) from error
    record: dict[str, Any] = data
    return record


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The provenance of every start of a run, the first one first; [] if there is none."""
    path = folder / "provenance.jsonl"
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES[PROVENANCE_FILE]:
            return []
        starts = [start for start in read_lines(path) if isinstance(start, dict)]
        for start in starts:
            _check_depth(start)
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


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _check_depth(data: Any) -> None:
    """ValueError if lists and tables are nested beyond what any run notes."""
    inside = [data]
    for _ in range(MOST_LEVELS + 1):
        tables = [one for one in inside if isinstance(one, dict | list)]
        if not tables:
            return
        inside = [
            item for one in tables for item in (one.values() if isinstance(one, dict) else one)
        ]
    raise ValueError(f"more than {MOST_LEVELS} tables and lists, one in another")


def _check_record(data: Any) -> None:
    """ValueError, TypeError or KeyError unless the record has the parts that are used."""
    for key in ("model", "benchmark", "dataset"):
        if not isinstance(data[key], dict):
            raise ValueError(f"{key} is no table")
    if not isinstance(data["dataset"].get("frozen", {}), dict):
        raise ValueError("dataset.frozen is no table")
    if not isinstance(data["model"].get("name"), str):
        raise ValueError("model.name is no text")
    for owner, key, most in (
        (data["dataset"], "num_images", 10**8),
        (data["dataset"], "num_classes", 10**6),
        (data, "slice_size", 10**8),
        (data, "batch_size", 10**8),
    ):
        if type(owner[key]) is not int or not 1 <= owner[key] <= most:
            raise ValueError(f"{key} is not a whole number from 1 to {most:,}")
    for key in ("seed", "schema_version"):
        if type(data[key]) is not int:
            raise ValueError(f"{key} is not a whole number")
    levels, names = data["benchmark"]["levels"], data["benchmark"]["corruptions"]
    if levels != "full" and not (isinstance(levels, list) and len(levels) <= 5):
        raise ValueError('levels are neither "full" nor a list of up to 5')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("corruptions are no list of names")
    if len(names) > 1000:
        raise ValueError("there are more than 1,000 corruptions")
