"""Run folders with outcomes written by hand, for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noctule.benchmarks import Benchmark
from noctule.outcomes import SCHEMA
from noctule.store import RunIdentity, RunStore

BENCHMARK = Benchmark.from_dict(
    {
        "name": "two",
        "title": "Two corruptions",
        "source": "tests",
        "metric": "relative_ce",
        "corruptions": ["hue", "blur"],
        "severities": "full",
        "references": [
            {
                "model": "ref",
                "domain": "made-up",
                "source": "tests",
                "errors": {"clean": 0.1, "hue": 0.5, "blur": 0.6},
            }
        ],
    }
)
LABELS = [0, 0, 1, 1, 2, 2, 0, 1, 2, 0]
PREDICTIONS = {
    "clean": [0, 0, 1, 1, 2, 0, 0, 1, 2, 1],
    "hue": [0, 2, 1, 1, 2, 0, 0, 1, 1, 1],
    "blur": [2, 2, 0, 1, 0, 0, 0, 1, 1, 2],
}


def write_run(
    folder: Path,
    *,
    predictions: Mapping[str, Sequence[int]],
    labels: Sequence[int],
    confidence: Sequence[float] | None = None,
    benchmark: Benchmark = BENCHMARK,
    model: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    start: Mapping[str, Any] | None = None,
    seed: int = 0,
    finished: bool = True,
) -> Path:
    """A run of images "i0", "i1", … with these predictions by condition; two slices."""
    n_images = len(labels)
    identity = RunIdentity(
        model={"name": folder.name, **(model or {})},
        benchmark=benchmark.to_dict(),
        dataset={
            "name": "made-up",
            "domain": "made-up",
            "fingerprint": "f",
            "num_images": n_images,
            "num_classes": 3,
            **(dataset or {}),
        },
        seed=seed,
        batch_size=1,
        slice_size=-(-n_images // 2),
        precision="float32",
        device_type="cpu",
        on_unreadable="stop",
    )
    store = RunStore.create_or_resume(folder, identity)
    confident = np.full(n_images, 0.9) if confidence is None else np.asarray(confidence)
    for index in range(identity.num_slices)[: None if finished else 1]:
        images = np.array(identity.images_of(index))
        tables = []
        for condition in identity.conditions:
            predicted, label = (
                np.asarray(predictions[condition])[images],
                np.asarray(labels)[images],
            )
            sure = confident[images]
            left = np.minimum(sure, 1 - sure).clip(1e-30)
            columns = [
                [f"i{number}" for number in images],
                pa.repeat(condition, len(images)),
                label,
                predicted,
                np.where(predicted == label, 1, 2),
                sure,
                # The label's probability: the top one's, or what that leaves.
                -np.log(np.where(predicted == label, sure, left)),
            ]
            tables.append(pa.table(columns, names=SCHEMA.names).cast(SCHEMA))
        store.write_slice(index, pa.concat_tables(tables).combine_chunks())
    if start is not None:
        store.record_start(start)
    return folder
