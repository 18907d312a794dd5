"""Submitted rows: read with bounds, and looked over for what no honest row can be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from noctule.errors import InputError
from noctule.leaderboard.folder import SubmittedFiles
from noctule.outcomes import SCHEMA
from noctule.store.disk import damaged, read_summary

TEXT_COLUMNS = ("image_id", "condition")
MOST_TEXT_BYTES = 256
_MOST_BYTES_PER_ROW = 256
# Rounding of float32 softmaxes over a thousand classes.
PROBABILITY_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-4


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


def read_submitted(files: SubmittedFiles, most_rows: int) -> SubmittedRows:
    """The rows, unless there are more than `most_rows`.

    Texts are read as dictionaries: a long one repeated a million times stays one text.

    Raises:
        InputError: a file is damaged, has other columns, or would grow beyond all measure.
    """
    num_rows = skipped = 0
    for name in files.slices:
        path = files.slice_path(name)
        try:
            summary = read_summary(path)
        except RecursionError as error:
            raise damaged(path, "its note on unreadable images") from error
        num_rows += summary.num_rows
        skipped += len(summary.unreadable)
    if num_rows > most_rows:
        return SubmittedRows(None, num_rows, skipped)
    tables = [_read_slice(files, name) for name in files.slices]
    return SubmittedRows(pa.concat_tables([SCHEMA.empty_table(), *tables]), num_rows, skipped)


def _read_slice(files: SubmittedFiles, name: str) -> pa.Table:
    path = files.slice_path(name)
    try:
        with pq.ParquetFile(
            path, page_checksum_verification=True, read_dictionary=list(TEXT_COLUMNS)
        ) as file:
            _check_growth(file.metadata, path)
            table = file.read().replace_schema_metadata(None)
        for column in TEXT_COLUMNS:
            _check_texts(table[column], column)
        table = table.cast(SCHEMA)
        table.validate(full=True)  # Parquet does not see to it that text is UTF-8
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, str(error)) from error


def _check_growth(footer: pq.FileMetaData, path: object) -> None:
    groups = (footer.row_group(index) for index in range(footer.num_row_groups))
    total = sum(group.total_byte_size for group in groups)
    most = _MOST_BYTES_PER_ROW * footer.num_rows + 1024 * 1024
    if total > most:
        raise InputError(
            f"would take {total:,} bytes for {footer.num_rows:,} rows when unpacked",
            where=path,
        )


def _check_texts(column: pa.ChunkedArray, name: str) -> None:
    for chunk in column.chunks:
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
        if longest > MOST_TEXT_BYTES:
            raise ValueError(f"a text of {longest:,} bytes in the column {name}")


def completeness_flaw(
    table: pa.Table, conditions: Sequence[str], num_images: int
) -> str | None:
    """What is wrong if not every image has exactly one row under every condition."""
    found = pc.unique(table["condition"]).to_pylist()
    if missing := [name for name in conditions if name not in found]:
        return f"there are no rows under {', '.join(missing[:5])}"
    if foreign := sorted(set(found) - set(conditions)):
        return f"there are rows under '{foreign[0]}', which the benchmark does not have"
    ids = pc.unique(table["image_id"])
    if len(ids) != num_images:
        return f"rows are of {len(ids):,} images, and {num_images:,} are due"
    place = _places(table, ids, conditions)
    counts = np.bincount(place, minlength=num_images * len(conditions))
    if len(flaws := np.flatnonzero(counts != 1)):
        image, column = divmod(int(flaws[0]), len(conditions))
        kind = "no row" if counts[flaws[0]] == 0 else f"{counts[flaws[0]]} rows"
        return f"image '{ids[image]}' has {kind} under {conditions[column]}"
    return None


def _places(table: pa.Table, ids: pa.Array, conditions: Sequence[str]) -> NDArray[np.int64]:
    image = np.asarray(pc.index_in(table["image_id"], value_set=ids)).astype(np.int64)
    known = pa.array(list(conditions), pa.string())
    column = np.asarray(pc.index_in(table["condition"], value_set=known)).astype(np.int64)
    places: NDArray[np.int64] = image * len(conditions) + column
    return places


def label_flaw(table: pa.Table) -> str | None:
    """What is wrong if an image has two labels."""
    pairs = table.select(["image_id", "label"]).group_by("image_id")
    spread = pairs.aggregate([("label", "min"), ("label", "max")])
    differ = spread.filter(pc.not_equal(spread["label_min"], spread["label_max"]))
    if len(differ) == 0:
        return None
    first = differ.slice(0, 1).to_pylist()[0]
    return (
        f"image '{first['image_id']}' has the labels {first['label_min']} and "
        f"{first['label_max']}"
    )


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


def row_flaws(table: pa.Table, classes: int) -> dict[str, str | None]:
    """What no row of a softmax over `classes` can be: the first flaw of each kind, or None."""
    label, prediction, rank = (
        np.asarray(table[name]).astype(np.int64)
        for name in ("label", "prediction", "label_rank")
    )
    confidence, loss = (
        np.asarray(table[name]).astype(np.float64) for name in ("confidence", "loss")
    )
    right = label == prediction
    outside = (
        _outside(label, 0, classes - 1)
        | _outside(prediction, 0, classes - 1)
        | _outside(rank, 1, classes)
    )
    in_range = (confidence > 0) & (confidence <= 1)
    likely = in_range & (confidence >= 1 / classes - PROBABILITY_TOLERANCE)
    return {
        "ranks": _first(table, outside, f"is not within {classes} classes")
        or _first(table, (rank == 1) != right, "has rank 1 and is wrong, or the reverse"),
        "confidence": _first(
            table, ~likely, f"has a confidence that is not from 1/{classes} to 1"
        ),
        "loss": _loss_flaw(table, classes, rank, right, confidence, loss),
    }


def _loss_flaw(
    table: pa.Table,
    classes: int,
    rank: NDArray[np.int64],
    right: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    loss: NDArray[np.float64],
) -> str | None:
    """The label's probability exp(-loss) has to fit the top one's and its own rank.

    Of the r - 1 classes before the label each is at least as likely as it, and the first has
    the confidence c: so p <= (1 - c) / (r - 1). They have at most c each, and what is left is
    shared by the label and those after it, none likelier: p >= (1 - c (r - 1)) / (C - r + 1).
    """
    sane = np.isfinite(loss) & (loss >= 0) & np.isfinite(confidence) & (confidence > 0)
    before = np.clip(rank - 1, 0, classes - 1)
    with np.errstate(all="ignore"):
        probability = np.exp(-loss)
        high = np.where(right, 1.0, (1 - confidence) / np.maximum(before, 1))
        low = (1 - confidence * before) / (classes - before)
        own = np.abs(loss + np.log(confidence))
    fits = probability <= np.minimum(high, confidence) + PROBABILITY_TOLERANCE
    fits &= probability >= low - PROBABILITY_TOLERANCE
    fits &= ~right | (own <= LOSS_TOLERANCE)
    return _first(table, ~sane, "has a loss that is not a number from 0") or _first(
        table, ~fits, "has a loss that its confidence and rank do not allow"
    )


def _outside(values: NDArray[np.int64], low: int, high: int) -> NDArray[np.bool_]:
    outside: NDArray[np.bool_] = (values < low) | (values > high)
    return outside


def _first(table: pa.Table, flawed: NDArray[np.bool_], what: str) -> str | None:
    """The first flawed row with its values, and how many there are."""
    places = np.flatnonzero(flawed)
    if len(places) == 0:
        return None
    row = table.slice(int(places[0]), 1).to_pylist()[0]
    values = ", ".join(f"{name} {row[name]:g}" for name in SCHEMA.names[2:])
    return (
        f"{len(places):,} of {len(table):,} rows: '{row['image_id']}' under "
        f"{row['condition']} {what} ({values})"
    )
