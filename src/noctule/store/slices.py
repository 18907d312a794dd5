"""One slice of rows as a Parquet file: the note beside its rows, and reading it safely."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noctule.errors import InputError
from noctule.outcomes import SCHEMA
from noctule.remote import AnyPath
from noctule.store.disk import sha256_of

TEXT_COLUMNS = ("image_id", "condition")
MOST_TEXT_BYTES = 1024
MOST_SLICE_BYTES = 256 * 1024 * 1024
_MOST_BYTES_PER_ROW = MOST_TEXT_BYTES + 256
_NOTE_KEY = b"noctule"


@dataclass(frozen=True)
class SliceNote:
    """The note in the metadata of a slice's file.

    Attributes:
        run: `RunIdentity.digest` of its run.
        index: Number of the slice.
        num_rows: Number of its rows.
        unreadable: (image id, reason) of the images that could not be decoded.
        image_hashes: Hash of each decoded image by its id; see
            `noctule.evaluation.loading.image_hash`.
    """

    run: str
    index: int
    num_rows: int
    unreadable: tuple[tuple[str, str], ...] = ()
    image_hashes: Mapping[str, str] = field(default_factory=dict)


def slice_bytes(rows: pa.Table, note: SliceNote) -> bytes:
    """A slice as Parquet: the same rows give the same bytes, however they were assembled."""
    text = json.dumps(asdict(note), separators=(",", ":")).encode()
    table = rows.combine_chunks().replace_schema_metadata({_NOTE_KEY: text})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        row_group_size=max(1, len(table)),
        write_page_checksum=True,
    )
    return buffer.getvalue()


def checked_bytes(path: AnyPath, data: bytes | OSError, sha256: str | None) -> bytes:
    """The bytes of a slice, if they have the recorded hash.

    Args:
        path: Where it is, for messages.
        data: The bytes, or why it cannot be read.
        sha256: The recorded hash, if there is one.

    Raises:
        InputError: It cannot be read, or has another or no recorded hash.
    """
    if isinstance(data, OSError):
        raise damaged(path, str(data)) from data
    if len(data) > MOST_SLICE_BYTES:
        raise damaged(path, f"it has more than {MOST_SLICE_BYTES:,} bytes")
    if sha256 is None:
        raise damaged(path, "there is no record of its SHA-256 hash")
    if sha256_of(data) != sha256:
        raise damaged(path, "its SHA-256 hash is not the one recorded when it was written")
    return data


def read_note(data: bytes, path: AnyPath) -> SliceNote:
    """The note of a slice; no row is read.

    Args:
        data: Content of the file.
        path: Where it is from, for messages.

    Raises:
        InputError: It is cut short, is not Parquet, or has other columns.
    """
    with _damage_in(path):
        footer = pq.read_metadata(pa.BufferReader(data))
        if _NOTE_KEY not in (footer.metadata or {}):
            raise damaged(path, "it has no record of the run that it belongs to")
        note = _parsed(json.loads(footer.metadata[_NOTE_KEY]))
        columns = footer.schema.to_arrow_schema()
    if not columns.equals(SCHEMA):
        raise damaged(path, "its columns are not those of outcome rows")
    if footer.num_rows != note.num_rows:
        raise damaged(path, f"it has {footer.num_rows} rows instead of {note.num_rows}")
    _check_growth(footer, path)
    return note


def read_rows(data: bytes, path: AnyPath) -> pa.Table:
    """The rows of a slice in `outcomes.SCHEMA`, its pages checked against their checksums.

    Texts are read as dictionaries, so that a long text repeated a million times is kept once.

    Args:
        data: Content of the file, which `read_note` accepts.
        path: Where it is from, for messages.

    Raises:
        InputError: The file is damaged.
    """
    with _damage_in(path):
        with pq.ParquetFile(
            pa.BufferReader(data),
            page_checksum_verification=True,
            read_dictionary=list(TEXT_COLUMNS),
        ) as file:
            table = file.read().replace_schema_metadata(None)
        for column in TEXT_COLUMNS:
            _check_texts(table[column], column)
        table = table.cast(SCHEMA)
        table.validate(full=True)  # Parquet does not check that text is UTF-8
    return table


def damaged(path: AnyPath, reason: str) -> InputError:
    """The error for a slice that is not what was written."""
    return InputError(
        f"is damaged: {reason}",
        where=path,
        remedy="Slices are written whole, so suspect the disk or a program that changed the "
        "file. Restore it; or delete it and rerun the command that started the run: only this "
        "slice is computed again.",
    )


@contextmanager
def _damage_in(path: AnyPath) -> Iterator[None]:
    """Turn whatever a crafted or torn file raises into `damaged`."""
    try:
        yield
    except (
        pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError
    ) as error:  # fmt: skip
        raise damaged(path, str(error)) from error


def _parsed(data: Any) -> SliceNote:
    note = SliceNote(
        run=data["run"],
        index=data["index"],
        num_rows=data["num_rows"],
        unreadable=tuple((image_id, reason) for image_id, reason in data["unreadable"]),
        image_hashes=dict(data["image_hashes"]),
    )
    texts = [note.run, *(text for pair in note.unreadable for text in pair)]
    texts += [*note.image_hashes, *note.image_hashes.values()]
    numbers = (note.index, note.num_rows)
    if {type(one) for one in numbers} != {int} or {type(one) for one in texts} != {str}:
        raise ValueError("what it says of itself is not what noctule writes")
    return note


def _check_growth(footer: pq.FileMetaData, path: AnyPath) -> None:
    groups = (footer.row_group(index) for index in range(footer.num_row_groups))
    total = sum(group.total_byte_size for group in groups)
    most = _MOST_BYTES_PER_ROW * footer.num_rows + 1024 * 1024
    if total > most:
        raise damaged(path, f"it would unpack to {total:,} bytes for {footer.num_rows:,} rows")


def _check_texts(column: pa.ChunkedArray, name: str) -> None:
    for chunk in column.chunks:
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
        if longest > MOST_TEXT_BYTES:
            raise ValueError(f"a text of {longest:,} bytes in the column {name}")
