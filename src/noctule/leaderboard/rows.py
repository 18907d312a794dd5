"""The rows of a submission, and a hash of their images and labels."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import pyarrow as pa

from noctule.store import RunStore


class SubmittedRows(NamedTuple):
    """The rows of a submission, or their number if there are too many to read.

    Attributes:
        table: Outcome rows in `outcomes.SCHEMA`; None if they were not read.
        num_rows: Number of rows according to the file footers.
        skipped: Number of unreadable images according to the file footers.
    """

    table: pa.Table | None
    num_rows: int
    skipped: int


def read_submitted(store: RunStore, max_rows: int) -> SubmittedRows:
    """Read the rows, unless there are more than `max_rows`. Their values are not checked yet.

    Raises:
        InputError: A file is damaged, differs from its recorded hash, belongs to another run,
            or would unpack to an implausible size.
    """
    notes = store.notes()
    num_rows = sum(note.num_rows for note in notes)
    skipped = sum(len(note.unreadable) for note in notes)
    table = None if num_rows > max_rows else store.unchecked_rows()
    return SubmittedRows(table, num_rows, skipped)


def labels_sha256(table: pa.Table) -> str:
    r"""SHA-256 (hex) of all distinct pairs of image id and label, independent of their order.

    The hashed text has a line `"ID" LABEL` per pair (the id as JSON), sorted by id and label.

    >>> rows = pa.table({"image_id": ["b", "a", "b"], "label": [1, 0, 1]})
    >>> labels_sha256(rows) == hashlib.sha256(b'"a" 0\n"b" 1\n').hexdigest()
    True
    """
    pairs = table.select(["image_id", "label"]).group_by(["image_id", "label"]).aggregate([])
    listed = sorted(zip(pairs["image_id"].to_pylist(), pairs["label"].to_pylist(), strict=True))
    text = "".join(f"{json.dumps(image_id)} {label}\n" for image_id, label in listed)
    return hashlib.sha256(text.encode()).hexdigest()
