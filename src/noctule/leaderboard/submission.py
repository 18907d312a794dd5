"""What a submission is: its claims (submission.toml) and its files.

    submission.toml
    run/run.json
    run/provenance.jsonl
    run/SHA256SUMS
    run/rows/000000.parquet ...

File names, types and sizes are checked before any file is opened. Nothing of a submission is
executed, imported or unpickled.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from noctule.config import Spec, SpecValueError, read_spec
from noctule.errors import InputError
from noctule.store.disk import read_records
from noctule.store.identity import check_depth

SUBMISSION_FILE = "submission.toml"
RUN_FOLDER = "run"
ROWS_FOLDER = f"{RUN_FOLDER}/rows"
RUN_FILE = f"{RUN_FOLDER}/run.json"
PROVENANCE_FILE = f"{RUN_FOLDER}/provenance.jsonl"
SUMS_FILE = f"{RUN_FOLDER}/SHA256SUMS"
_MIB = 1024 * 1024
# A slice of ImageNet-C, 256 images under 76 conditions, takes about 0.3 MiB.
MAX_BYTES = {
    SUBMISSION_FILE: 64 * 1024,
    RUN_FILE: 256 * 1024,
    PROVENANCE_FILE: 4 * _MIB,
    SUMS_FILE: 4 * _MIB,
    "rows": 16 * _MIB,
}
MAX_TOTAL_BYTES = 1024 * _MIB
MAX_FILES = 20_000
_SLICE = re.compile(rf"{ROWS_FOLDER}/\d{{6}}\.parquet")

Short = Annotated[str, Field(min_length=1, max_length=100)]
ErrorRate = Annotated[float, Field(ge=0.0, le=1.0)]
ERROR_TOLERANCE = 0.00005 + 1e-9
"""Claimed errors are fractions with four decimals; half a unit of the last is tolerated."""
CE_TOLERANCE = 0.005 + 1e-9
"""Claimed CEs are in percent with two decimals."""


class Claimed(Spec):
    """The claimed scores, as `noctule leaderboard prepare` writes them.

    Attributes:
        mean_error: Mean error over the corruptions, a fraction in [0, 1] with four decimals.
        clean_error: Error on the clean images, in the same form.
        mce: Mean CE in percent, with two decimals.
        relative_mce: Mean relative CE, in the same form.
        corruptions: Error by corruption over all severities, a fraction with four decimals.
    """

    mean_error: ErrorRate
    clean_error: ErrorRate | None = None
    mce: float | None = None
    relative_mce: float | None = None
    corruptions: dict[str, ErrorRate]


class Submission(Spec):
    """The contents of submission.toml.

    Attributes:
        title: Name of the model on the site.
        track: Name of a track, see `noctule.leaderboard.tracks`.
        architecture: Such as "torchvision:resnet50" or "photo-patches", which can be verified,
            or any other name, which cannot.
        training_data: Such as "ImageNet-1k".
        parameters: Number of parameters of the network.
        link: An https address of a paper or of code.
        notes: Further notes.
        claimed: The claimed scores.
    """

    title: Short
    track: Short
    architecture: Short
    training_data: Short
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = None
    link: Annotated[str, Field(max_length=300)] | None = None
    notes: Annotated[str, Field(max_length=2000)] | None = None
    claimed: Claimed

    @field_validator("title", "architecture", "training_data")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise SpecValueError("is blank", "Use a descriptive text.")
        return text

    @field_validator("link")
    @classmethod
    def _is_https(cls, link: str | None) -> str | None:
        if link is not None and not _is_plain_https(link):
            raise SpecValueError(
                f"{link!r} is not a plain https address", "Use https://HOST/PATH."
            )
        return link


def read_submission(folder: Path) -> Submission:
    """Read the claims of a submission.

    Raises:
        InputError: The file is missing or invalid; the key is named.
    """
    return read_spec(folder / SUBMISSION_FILE, Submission)


def _is_plain_https(link: str) -> bool:
    """Whether it is plain ASCII without white space, quotes or a user name."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    plain = link.isascii() and link.isprintable() and not set(link) & set(" <>\"'\\`")
    host = parts.hostname or ""
    return plain and link.startswith("https://") and "@" not in parts.netloc and "." in host


@dataclass(frozen=True)
class SubmittedFiles:
    """The files of a submission.

    Attributes:
        folder: The submission.
        slices: Names of the Parquet files, such as "000000.parquet", ascending.
        num_bytes: Total size of all files.
    """

    folder: Path
    slices: tuple[str, ...]
    num_bytes: int

    def name_flaw(self) -> str | None:
        """A message if the Parquet files are not numbered from 0 without a gap."""
        for index, name in enumerate(self.slices):
            if name != f"{index:06d}.parquet":
                return f"found {name}, expected {index:06d}.parquet"
        return None

    @property
    def run_folder(self) -> Path:
        """The run folder of the submission."""
        return self.folder / RUN_FOLDER


def list_files(folder: Path) -> SubmittedFiles:
    """Check the names, types and sizes of all files without opening any.

    Raises:
        InputError: The folder is not a submission: a file is missing, too large, a link, or
            does not belong there.
    """
    try:
        if folder.is_symlink() or not folder.is_dir():
            raise InputError(
                "is not a folder", where=folder, remedy="Pass the folder of a submission."
            )
        sizes = _sizes(folder)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=folder) from error
    for name in (SUBMISSION_FILE, RUN_FILE):
        if name not in sizes:
            raise InputError(f"is not a submission: it has no {name}", where=folder)
    slices = sorted(name for name in sizes if _SLICE.fullmatch(name))
    names = tuple(name.rpartition("/")[2] for name in slices)
    return SubmittedFiles(folder, names, sum(sizes.values()))


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The provenance records of a run, one per start, oldest first; [] if there are none."""
    path = folder / "provenance.jsonl"
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES[PROVENANCE_FILE]:
            return []
        starts = read_records(path)
        for start in starts:
            check_depth(start)
        return starts
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error


def _sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file, by name."""
    sizes: dict[str, int] = {}
    total = 0
    for name, size in _walk(folder):
        sizes[name] = size
        total += size
        if len(sizes) > MAX_FILES or total > MAX_TOTAL_BYTES:
            limit = f"{MAX_FILES:,} files or {MAX_TOTAL_BYTES // _MIB:,} MiB"
            raise InputError(f"holds more than {limit}", where=folder)
    return sizes


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        name = f"{prefix}{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and name in (RUN_FOLDER, ROWS_FOLDER):
            yield from _walk(folder / entry.name, f"{name}/")
        else:
            _check_file(folder / entry.name, name, status)
            yield name, status.st_size


def _check_file(path: Path, name: str, status: os.stat_result) -> None:
    """Raise an InputError for a file that does not belong in a submission or is too large."""
    if stat.S_ISLNK(status.st_mode):
        raise InputError("is a link", where=path, remedy="Submit the file itself.")
    kind = "rows" if _SLICE.fullmatch(name) else name
    if not stat.S_ISREG(status.st_mode) or kind not in MAX_BYTES:
        raise InputError(
            "does not belong in a submission",
            where=path,
            remedy=f"Submit only {SUBMISSION_FILE} and {RUN_FOLDER}/.",
        )
    if status.st_size > MAX_BYTES[kind]:
        raise InputError(
            f"is too large: {status.st_size:,} bytes, the limit is {MAX_BYTES[kind]:,}",
            where=path,
        )
