"""Outcome rows, run identities and run folders with outcomes of the test's choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from noctule.benchmarks import Benchmark
from noctule.outcomes import SCHEMA
from noctule.store import RunIdentity, RunStore


def outcome_rows(
    ids: Sequence[str],
    condition: str = "clean",
    labels: ArrayLike = 0,
    predictions: ArrayLike = 0,
    *,
    ranks: ArrayLike | None = None,
    confidences: ArrayLike = 0.5,
    losses: ArrayLike | None = None,
) -> pa.Table:
    """Rows of one condition; a single number holds for all images.

    Unless `ranks` says otherwise, the label of a wrong prediction has rank 2; unless `losses`
    says otherwise, its probability is what the prediction's confidence leaves, at most as much.
    """
    n = len(ids)
    label, prediction, confidence = (
        np.broadcast_to(values, n) for values in (labels, predictions, confidences)
    )
    right = label == prediction
    if ranks is None:
        ranks = np.where(right, 1, 2)
    if losses is None:
        rest = np.minimum(confidence, 1 - confidence).clip(1e-30)
        losses = -np.log(np.where(right, confidence, rest))
    numbers = [label, prediction, ranks, confidence, losses]
    columns = [pa.array(np.broadcast_to(values, n)) for values in numbers]
    table = pa.table([list(ids), pa.repeat(condition, n), *columns], names=SCHEMA.names)
    return table.cast(SCHEMA)


def run_identity(
    benchmark: Benchmark | Mapping[str, Any],
    num_images: int,
    *,
    model: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    **changes: Any,
) -> RunIdentity:
    """The identity of a run on the CPU; `model` and `dataset` add to their descriptions."""
    data = {"name": "d", "domain": None, "fingerprint": "f", "num_classes": 2}
    plain = RunIdentity(
        model={"name": "m", **(model or {})},
        benchmark=benchmark.to_dict() if isinstance(benchmark, Benchmark) else benchmark,
        dataset={**data, "num_images": num_images, **(dataset or {})},
        seed=0,
        batch_size=1,
        slice_size=num_images,
        precision="float32",
        device_type="cpu",
        on_unreadable="stop",
    )
    return dataclasses.replace(plain, **changes)


def write_run_folder(
    folder: Path,
    identity: RunIdentity,
    rows_of: Callable[[str, np.ndarray], pa.Table],
    *,
    lost: Sequence[int] = (),
    num_slices: int | None = None,
) -> RunStore:
    """A run folder with the rows that `rows_of` gives for a condition and numbers of images.

    Args:
        folder: Folder to write.
        identity: Identity of the run.
        rows_of: Rows of a condition for the images with these numbers.
        lost: Numbers of the images that could not be read.
        num_slices: How many slices are written; all of them if None.
    """
    store = RunStore.create_or_resume(folder, identity)
    for index in range(identity.num_slices)[:num_slices]:
        images = np.array([i for i in identity.images_of(index) if i not in lost], dtype=int)
        unreadable = [(f"{i:05d}", "torn") for i in identity.images_of(index) if i in lost]
        tables = [rows_of(condition, images) for condition in identity.conditions]
        store.write_slice(index, pa.concat_tables(tables).combine_chunks(), unreadable)
    return store
