"""Find rows that no classifier can have produced; checked whenever rows are written or read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from noctule.outcomes import SCHEMA

# Rounding of float32 softmaxes over a thousand classes.
PROBABILITY_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-4
UNKNOWN_CLASSES = 2**31 - 1
"""The number of classes to check rows against if the network's is not known."""


def completeness_flaw(
    table: pa.Table, conditions: Sequence[str], num_images: int
) -> str | None:
    """What is wrong if not every image has exactly one row under every condition."""
    if num_images == len(table) == 0:  # all of them were skipped
        return None
    found = pc.unique(table["condition"]).to_pylist()
    if missing := [name for name in conditions if name not in found]:
        return f"there are no rows under {', '.join(missing[:5])}"
    if foreign := sorted(set(found) - set(conditions)):
        return f"there are rows under '{foreign[0]}', which the benchmark does not have"
    ids = pc.unique(table["image_id"])
    if len(ids) != num_images:
        return f"rows are of {len(ids):,} images instead of {num_images:,}"
    cells = _cells(table, ids, conditions)
    counts = np.bincount(cells, minlength=num_images * len(conditions))
    if len(flaws := np.flatnonzero(counts != 1)):
        image, column = divmod(int(flaws[0]), len(conditions))
        kind = "no row" if counts[flaws[0]] == 0 else f"{counts[flaws[0]]} rows"
        return f"image '{ids[image]}' has {kind} under {conditions[column]}"
    return None


def _cells(table: pa.Table, ids: pa.Array, conditions: Sequence[str]) -> NDArray[np.int64]:
    """Index of each row's cell in the matrix of images and conditions."""
    image = np.asarray(pc.index_in(table["image_id"], value_set=ids)).astype(np.int64)
    known = pa.array(list(conditions), pa.string())
    column = np.asarray(pc.index_in(table["condition"], value_set=known)).astype(np.int64)
    cells: NDArray[np.int64] = image * len(conditions) + column
    return cells


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


def label_range_flaw(table: pa.Table, classes: int) -> str | None:
    """What is wrong if a label is not one of the data's classes."""
    label = np.asarray(table["label"]).astype(np.int64)
    outside = _outside(label, 0, classes - 1)
    return _first(table, outside, f"has a label that is not one of {classes} classes")


def skipped_flaw(table: pa.Table, skipped: Sequence[str]) -> str | None:
    """What is wrong if an image is skipped twice, or is skipped but has rows."""
    if len(set(skipped)) != len(skipped):
        return "an image is skipped twice"
    found = pc.is_in(table["image_id"], value_set=pa.array(list(skipped), pa.string()))
    rows = table.filter(found)
    return f"the skipped image '{rows['image_id'][0]}' has rows" if len(rows) else None


def row_flaws(table: pa.Table, classes: int) -> dict[str, str | None]:
    """The first row of each kind that no softmax over `classes` can produce, or None."""
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
    """Check the label's probability p = exp(-loss) against the confidence c and its rank r.

    Each of the r - 1 classes ranked above the label is at least as likely as it, and the first
    has probability c, so p <= (1 - c) / (r - 1). Each has at most c, and the rest is shared by
    the label and the classes below it, none likelier, so p >= (1 - c (r - 1)) / (C - r + 1).
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
    """The first flawed row with its values, and the number of flawed rows."""
    indices = np.flatnonzero(flawed)
    if len(indices) == 0:
        return None
    row = table.slice(int(indices[0]), 1).to_pylist()[0]
    values = ", ".join(f"{name} {row[name]:g}" for name in SCHEMA.names[2:])
    return (
        f"{len(indices):,} of {len(table):,} rows: '{row['image_id']}' under "
        f"{row['condition']} {what} ({values})"
    )
