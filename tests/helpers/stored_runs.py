"""Runs with outcomes of one's choice, as evaluating a model would have stored them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import Benchmark
from noctule.store import RunStore
from outcome_rows import outcome_rows, run_identity, write_run_folder

Wrong = Mapping[str, Sequence[int]]


def stored_run(
    folder: Path,
    wrong: Wrong,
    *,
    model: str = "m",
    spec: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    seed: int = 0,
    lost: Sequence[int] = (),
    finished: bool = True,
) -> RunStore:
    """A run whose model is wrong (1) or right (0) on each image, by condition.

    The benchmark is of the conditions' corruptions over their full ranges, unless `spec` says
    otherwise. Images in `lost` could not be read.
    """
    names = [name.partition("@")[0] for name in wrong if name != "clean"]
    plain = {
        "name": "b",
        "title": "t",
        "source": "s",
        "corruptions": list(dict.fromkeys(names)),
    }
    benchmark = Benchmark.from_dict({**plain, **(spec or {})})
    count = len(next(iter(wrong.values())))
    identity = run_identity(
        benchmark, count, model={"name": model}, dataset=dataset, seed=seed, batch_size=8,
        slice_size=50, on_unreadable="skip",
    )  # fmt: skip

    def rows_of(condition: str, images: NDArray[np.int64]) -> pa.Table:
        ids = [f"{i:05d}" for i in images]
        return outcome_rows(ids, condition, predictions=np.asarray(wrong[condition])[images])

    num_slices = None if finished else 0
    return write_run_folder(folder, identity, rows_of, lost=lost, num_slices=num_slices)
