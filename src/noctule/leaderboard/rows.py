"""Submitted rows: those that the store reads, and the hash of their images and labels."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import pyarrow as pa

from noctule.store import RunStore


class SubmittedRows(NamedTuple):
    """What the slices hold, or why they were not read.

    Attributes:
        table: outcome rows in `outcomes.SCHEMA`; None if they were not read.
        num_rows: how many the footers promise.
        skipped: how many images the footers call unreadable.
    """

    table: pa.Table | None
    num_rows: int
    skipped: int


def read_submitted(store: RunStore, most_rows: int) -> SubmittedRows:
    """The rows, unless there are more than `most_rows`; what they say is not yet checked.

    Raises:
        InputError: A file is damaged, is not the one whose hash was recorded, is of another
            run, or would unpack to an implausible size.
    """
    notes = store.notes()
    num_rows = sum(one.num_rows for one in notes)
    skipped = sum(len(one.unreadable) for one in notes)
    table = None if num_rows > most_rows else store.unchecked_rows()
    return SubmittedRows(table, num_rows, skipped)


def labels_sha256(table: pa.Table) -> str:
    r"""SHA-256 (hex) of the images and their labels, in any order and however often.

    Of one line `"ID" LABEL` for each pair (the id as JSON), sorted by id, then by label.

    >>> rows = pa.table({"image_id": ["b", "a", "b"], "label": [1, 0, 1]})
    >>> labels_sha256(rows) == hashlib.sha256(b'"a" 0\n"b" 1\n').hexdigest()
    True
    """
    pairs = table.select(["image_id", "label"]).group_by(["image_id", "label"]).aggregate([])
    listed = sorted(zip(pairs["image_id"].to_pylist(), pairs["label"].to_pylist(), strict=True))
    text = "".join(f"{json.dumps(image_id)} {label}\n" for image_id, label in listed)
    return hashlib.sha256(text.encode()).hexdigest()
