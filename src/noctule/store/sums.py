"""SHA256SUMS: a hash and a path per line, as `sha256sum` writes and checks them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from noctule.errors import InputError
from noctule.input_files import reject_special_files

SUMS_FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class FileSum(NamedTuple):
    """The SHA-256 of a file, as hex, and its path relative to the folder of SHA256SUMS."""

    sha256: str
    path: str

    def __str__(self) -> str:
        return f"{self.sha256}  {self.path}"

    @classmethod
    def parse(cls, line: str) -> FileSum | None:
        """A line without its end; None if it is something else."""
        match = _LINE.fullmatch(line)
        return cls(*match.groups()) if match else None


def hash_file(folder: Path, name: str) -> FileSum:
    """The SHA-256 of a file; OSError if it is not a regular file: a pipe would never end."""
    with _opened(folder / name) as stream:
        return FileSum(hashlib.file_digest(stream, "sha256").hexdigest(), name)


def sums_text(sums: Sequence[FileSum]) -> bytes:
    """The content of SHA256SUMS."""
    return "".join(f"{file_sum}\n" for file_sum in sums).encode()


def read_sums(folder: Path, remedy: str) -> Iterator[FileSum]:
    """The entries of a folder's SHA256SUMS, one after the other: there may be millions.

    Raises:
        InputError: It cannot be read, is cut short, or names a file outside the folder.
    """
    path, number, line = folder / SUMS_FILE, 0, "\n"
    try:
        with io.TextIOWrapper(_opened(path), encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith("\n"):
                    yield _checked(line[:-1], f"{path}, line {number}", remedy)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path, remedy=remedy) from error
    if not line.endswith("\n"):
        raise InputError("is cut short: its last line does not end", where=path, remedy=remedy)


def _checked(line: str, where: str, remedy: str) -> FileSum:
    file_sum = FileSum.parse(line)
    if file_sum is None:
        raise InputError("is not a hash and a name", where=where, remedy=remedy)
    if file_sum.path.startswith("/") or ".." in file_sum.path.split("/"):
        raise InputError(f"'{file_sum.path}' is outside the folder", where=where)
    return file_sum


def _opened(path: Path) -> io.BufferedReader:
    try:
        reject_special_files(path)
    except InputError as error:
        raise OSError(error.what) from error
    return path.open("rb")
