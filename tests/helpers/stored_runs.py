"""Runs with outcomes of one's choice, as evaluating a model would have stored them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noctule.benchmarks import Benchmark
from noctule.outcomes import SCHEMA
from noctule.store import RunIdentity, RunStore

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
    data = {
        "name": "d",
        "domain": None,
        "fingerprint": "f",
        "num_images": count,
        "num_classes": 2,
    }
    identity = RunIdentity(
        {"name": model}, benchmark.to_dict(), {**data, **(dataset or {})}, seed, 8, 50,
        "float32", "cpu", "skip",
    )  # fmt: skip
    store = RunStore.create_or_resume(folder, identity)
    for index in range(identity.num_slices if finished else 0):
        images = [i for i in identity.images_of(index) if i not in lost]
        gone = [(f"{i:05d}", "torn") for i in identity.images_of(index) if i in lost]
        tables = [_rows(name, images, wrong[name]) for name in identity.conditions]
        store.write_slice(index, pa.concat_tables(tables), gone)
    return store


def _rows(condition: str, images: Sequence[int], wrong: Sequence[int]) -> pa.Table:
    n = len(images)
    predictions = [int(wrong[i]) for i in images]
    ranks = [1 + one for one in predictions]
    columns: list[Any] = [[f"{i:05d}" for i in images], [condition] * n, np.zeros(n)]
    # Of two classes as likely as each other: probability 1/2, loss ln 2.
    columns += [predictions, ranks, np.full(n, 0.5), np.full(n, np.log(2))]
    return pa.table(columns, names=SCHEMA.names).cast(SCHEMA)
