"""Files that appear whole or not at all, and slices of rows as Parquet."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from noctule.errors import InputError, OutputError
from noctule.input_files import reject_special_files
from noctule.outcomes import SCHEMA

TEMPORARY_SUFFIX = ".tmp"
_UNREADABLE_KEY = b"noctule.unreadable"


class SliceSummary(NamedTuple):
    """What the footer of a slice says."""

    num_rows: int
    unreadable: list[tuple[str, str]]


@contextmanager
def output_errors(where: object, remedy: str | None = None) -> Iterator[None]:
    """What the system refuses meanwhile becomes an OutputError that names `where`."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise OutputError(what, where=where, remedy=remedy) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole, or leave whatever was there; OSError if it cannot be done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            _sync(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def temporaries_of(folder: Path, name_pattern: str) -> list[Path]:
    """What kills have left of writing the files that match a pattern."""
    return list(folder.glob(f".{name_pattern}.*{TEMPORARY_SUFFIX}"))


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append one JSON line, on a line of its own even if a kill tore the last one."""
    with path.open("ab+") as file:
        line = json.dumps(data) + "\n"
        file.write((line if _ends_a_line(file) else f"\n{line}").encode())
        _sync(file)


def read_lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines; a line torn by a kill is left out."""
    values = []
    reject_special_files(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):  # torn: what it was the start of never took place
            continue
    return values


def parquet_bytes(rows: pa.Table, unreadable: Sequence[tuple[str, str]]) -> bytes:
    """A slice as Parquet: same rows, same bytes, however the rows were put together."""
    note = json.dumps([list(pair) for pair in unreadable]).encode()
    table = rows.combine_chunks().replace_schema_metadata({_UNREADABLE_KEY: note})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        row_group_size=max(1, len(table)),
        write_page_checksum=True,
    )
    return buffer.getvalue()


def read_summary(path: Path) -> SliceSummary:
    """The footer of a slice.

    Raises:
        InputError: it is cut short, is no Parquet, or has other columns.
    """
    reject_special_files(path)
    try:
        footer = pq.read_metadata(path)
        pairs = json.loads(footer.metadata[_UNREADABLE_KEY])
        unreadable = [(image_id, reason) for image_id, reason in pairs]
        columns = footer.schema.to_arrow_schema()
    except (
        pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError
    ) as error:  # fmt: skip
        raise damaged(path, str(error)) from error
    if not columns.equals(SCHEMA):
        raise damaged(path, "its columns are not those of outcome rows")
    return SliceSummary(footer.num_rows, unreadable)


def read_rows(path: Path, columns: Sequence[str]) -> pa.Table:
    """The rows of a slice, its pages checked against their checksums.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns=list(columns)).replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, reason: str) -> InputError:
    """The error for a slice that is not what was written."""
    return InputError(
        f"is damaged: {reason}",
        where=path,
        remedy="Slices are written whole, so suspect the disk. Delete this file and give the "
        "command that started the run again: only this slice is computed anew.",
    )


def _ends_a_line(file: IO[bytes]) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # where a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
