"""Outcome rows, joined by image id to one matrix row per image and one column per condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from noctule.errors import InputError

KEYS = ("image_id", "condition")
COLUMNS = (*KEYS, "label_rank", "confidence", "loss")
"""The columns of outcome rows that metrics are computed from."""

_POSSIBLE: dict[str, tuple[Callable[[NDArray[Any]], NDArray[np.bool_]], str]] = {
    "label_rank": (lambda rank: rank >= 1, "a rank below 1"),
    # Both are false of NaN.
    "confidence": (lambda sure: (sure > 0) & (sure <= 1), "a confidence outside (0, 1]"),
    "loss": (lambda loss: (loss >= 0) & (loss < np.inf), "a loss that is no number from 0 on"),
}


@dataclass(frozen=True)
class OutcomeMatrix:
    """What a model did on each image (row) under each condition (column).

    Attributes:
        image_ids: Ids of the images, sorted, so that nothing depends on the order of the rows.
        conditions: Names of the conditions.
        columns: (images, conditions) by column of the outcome rows: "label_rank", int32, 1
            where the prediction is right; "confidence", float32, in (0, 1]; "loss", float32.
    """

    image_ids: pa.StringArray
    conditions: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]

    @property
    def label_rank(self) -> NDArray[np.int32]:
        """Rank of the label among the classes."""
        return self.columns["label_rank"]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of the predicted class."""
        return self.columns["confidence"]

    @property
    def loss(self) -> NDArray[np.float32]:
        """Cross entropy, in nats."""
        return self.columns["loss"]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the prediction is not the label."""
        return self.label_rank > 1


class OutcomeReader:
    """Joins rows by image id; one join serves all runs whose rows are in the same order."""

    def __init__(self) -> None:
        self._keys: pa.Table | None = None
        self._positions: RowPositions | None = None

    def read(self, rows: pa.Table, conditions: Sequence[str]) -> OutcomeMatrix:
        """See `outcome_matrix`."""
        keys = rows.select(KEYS)
        positions, conditions = self._positions, tuple(conditions)
        if (
            positions is None
            or positions.conditions != conditions
            or not keys.equals(self._keys)
        ):
            positions = row_positions(rows, conditions)
            self._keys, self._positions = keys, positions
        columns = {
            name: positions.matrix(rows[name])
            for name in _POSSIBLE
            if name in rows.column_names
        }
        for name, values in columns.items():
            possible, flaw = _POSSIBLE[name]
            check_possible(positions.image_ids, conditions, possible(values), flaw)
        return OutcomeMatrix(positions.image_ids, conditions, columns)


def outcome_matrix(rows: pa.Table, conditions: Sequence[str]) -> OutcomeMatrix:
    """Join rows by image id; rows of other conditions are left out.

    Args:
        rows: Outcome rows with `KEYS` and some of the other `COLUMNS`, in any order.
        conditions: Names of the conditions wanted.

    Raises:
        InputError: There are no rows, an image lacks a condition or has it twice, or an outcome
            is impossible.
    """
    return OutcomeReader().read(rows, conditions)


class RowPositions(NamedTuple):
    """The positions of outcome rows in a matrix of images (sorted by id) by conditions.

    Attributes:
        image_ids: Ids of the images, sorted.
        conditions: Names of the conditions.
        rows: int64 (images, conditions), the index of the row at this position.
    """

    image_ids: pa.StringArray
    conditions: tuple[str, ...]
    rows: NDArray[np.int64]

    def matrix(self, column: pa.ChunkedArray) -> NDArray[Any]:
        """The values of a column of the same rows, (images, conditions)."""
        return np.asarray(column)[self.rows]


def row_positions(rows: pa.Table, conditions: Sequence[str]) -> RowPositions:
    """Join rows by image id; rows of other conditions are left out.

    Args:
        rows: Outcome rows with at least image_id and condition, in any order.
        conditions: Names of the conditions wanted.

    Raises:
        InputError: There are no rows, or an image lacks a condition or has it twice.
    """
    wanted = pa.array(list(conditions), pa.string())
    column = pc.index_in(rows["condition"], value_set=wanted)
    number = np.flatnonzero(np.asarray(column.is_valid()))
    rows, column = rows.filter(column.is_valid()), column.drop_null()
    image_ids = pc.unique(rows["image_id"]).sort()
    if len(image_ids) == 0:
        raise InputError("there are no outcome rows under these conditions", where="rows")
    shape = (len(image_ids), len(conditions))
    image = pc.index_in(rows["image_id"], value_set=image_ids)
    position = np.asarray(image).astype(np.int64) * shape[1] + np.asarray(column)
    _check_each_once(
        np.bincount(position, minlength=shape[0] * shape[1]), image_ids, conditions
    )
    order = np.empty_like(position)
    order[position] = number
    return RowPositions(image_ids, tuple(conditions), order.reshape(shape))


def check_possible(
    image_ids: pa.StringArray,
    conditions: Sequence[str],
    possible: NDArray[np.bool_],
    what: str,
) -> None:
    """Raise an InputError that names the first impossible outcome.

    Args:
        image_ids: Ids of the images.
        conditions: Names of the conditions.
        possible: bool (images, conditions).
        what: What is wrong with the others, as a noun phrase.
    """
    if possible.all():
        return
    image, column = (int(index) for index in np.argwhere(~possible)[0])
    raise InputError(
        f"under '{conditions[column]}' image '{image_ids[image]}' has {what}",
        where="rows",
        remedy="noctule did not write these rows as they are; evaluate the model again.",
    )


def check_same_images(model: OutcomeMatrix, reference: OutcomeMatrix) -> None:
    """Raise an InputError unless both were evaluated on the same images."""
    if model.image_ids.equals(reference.image_ids):
        return
    for ours, theirs, side in (
        (model.image_ids, reference.image_ids, "the reference run"),
        (reference.image_ids, model.image_ids, "this run"),
    ):
        lacking = ours.filter(pc.invert(pc.is_in(ours, value_set=theirs)))
        if len(lacking):
            raise InputError(
                f"{side} lacks {len(lacking)} of {len(ours)} images, first '{lacking[0]}'",
                where="--reference",
                remedy="Evaluate both models on the same data.",
            )


def _check_each_once(
    counts: NDArray[np.int64], image_ids: pa.StringArray, conditions: Sequence[str]
) -> None:
    flaws = np.flatnonzero(counts != 1)
    if len(flaws):
        image, column = divmod(int(flaws[0]), len(conditions))
        number = int((counts[column :: len(conditions)] != 1).sum())
        kind = "no row" if counts[flaws[0]] == 0 else f"{counts[flaws[0]]} rows"
        raise InputError(
            f"condition '{conditions[column]}' has {kind} for image '{image_ids[image]}', "
            f"and {number} of {len(image_ids)} images do not have exactly one row",
            where="rows",
            remedy="Every image needs one outcome under every condition.",
        )
