"""Run folders with outcomes written by hand, for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import Benchmark
from outcome_rows import outcome_rows, run_identity, write_run_folder

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
    identity = run_identity(
        benchmark,
        len(labels),
        model={"name": folder.name, **(model or {})},
        dataset={"name": "made-up", "domain": "made-up", "num_classes": 3, **(dataset or {})},
        seed=seed,
        slice_size=-(-len(labels) // 2),
    )
    confident = np.full(len(labels), 0.9) if confidence is None else np.asarray(confidence)

    def rows_of(condition: str, images: NDArray[np.int64]) -> pa.Table:
        predicted, label = np.asarray(predictions[condition]), np.asarray(labels)
        ids = [f"i{number}" for number in images]
        return outcome_rows(
            ids, condition, label[images], predicted[images], confidences=confident[images]
        )

    store = write_run_folder(folder, identity, rows_of, num_slices=None if finished else 1)
    if start is not None:
        store.record_start(start)
    return folder
