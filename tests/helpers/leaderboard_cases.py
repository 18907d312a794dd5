"""Submissions for tests: an honest one from made-up logits, and ways to forge it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

import sealed_runs
from noctule.config import to_toml
from noctule.data import Dataset, open_dataset
from noctule.leaderboard import prepare_submission
from noctule.leaderboard.tracks import load_track
from noctule.models.fingerprint import architecture_fingerprint
from noctule.models.small_nets import PatchResNet
from noctule.outcomes import SCHEMA, outcome_table
from noctule.store import RunStore
from outcome_rows import run_identity, write_run_folder

CLASSES, SLICE_SIZE = 16, 256
TRACK = "photo-patches-same"
DESCRIPTION = {
    "track": TRACK,
    "title": "Honest",
    "architecture": "photo-patches",
    "training_data": "photo-patches/train",
}


def write_run(
    folder: Path,
    dataset: Dataset,
    *,
    seed: int = 0,
    module: nn.Module | None = None,
    name: str = "made-up",
    notes: Mapping[str, Any] | None = None,
    architecture: str = "photo-patches",
) -> RunStore:
    """A run of imagenet-noc on photo-patches with logits from a generator."""
    track = load_track("photo-patches-open")
    benchmark = track.load_benchmark()
    identity = run_identity(
        benchmark,
        len(dataset),
        model={"name": name, "architecture": architecture, "weights": "made up"},
        dataset={
            "name": dataset.name, "domain": dataset.domain,
            "fingerprint": track.fingerprint, "num_classes": CLASSES,
        },
        batch_size=32,
        slice_size=SLICE_SIZE,
    )  # fmt: skip
    generator = np.random.default_rng(seed)

    def rows_of(condition: str, images: NDArray[np.int64]) -> pa.Table:
        labels = torch.tensor(dataset.labels[images])
        noise = torch.tensor(generator.normal(size=(len(images), CLASSES)))
        strength = 4.0 if condition == "clean" else 2.0
        logits = noise + strength * nn.functional.one_hot(labels, CLASSES)
        ids = [dataset.ids[image] for image in images]
        return outcome_table(ids, condition, labels, logits.float())

    store = write_run_folder(folder, identity, rows_of)
    network = module or PatchResNet(CLASSES)
    store.record_start(
        {
            "argv": ["noctule", "evaluate"],
            "architecture_fingerprint": architecture_fingerprint(network),
            **(notes or {}),
        }
    )
    return store


def honest_submission(folder: Path) -> Path:
    """A run and a submission of it."""
    write_run(folder / "run", open_dataset("photo-patches"))
    prepare_submission(folder / "run", folder / "submission", **DESCRIPTION)
    return folder / "submission"


def slice_paths(submission: Path) -> list[Path]:
    """Its Parquet files."""
    return sorted((submission / "run" / "rows").glob("*.parquet"))


def forge_rows(
    change: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]],
) -> Callable[[Path], None]:
    """Change the columns of the first slice, and write it as an honest run would."""

    def forge(submission: Path) -> None:
        path = slice_paths(submission)[0]
        table = pq.read_table(path)
        columns = {
            name: table[name].to_numpy(zero_copy_only=False).copy() for name in SCHEMA.names
        }
        changed = change(columns)
        write_rows(
            path, pa.table([pa.array(changed[one]) for one in SCHEMA.names], SCHEMA.names)
        )

    return forge


def write_rows(path: Path, table: pa.Table) -> None:
    """A slice as noctule writes it, its hash recorded."""
    sealed_runs.write_slice(path, table.cast(SCHEMA))
    sealed_runs.seal(path.parent.parent)


def forge_record(*keys: str, value: Any) -> Callable[[Path], None]:
    """Change a value in run.json."""

    def forge(submission: Path) -> None:
        path = submission / "run" / "run.json"
        data = json.loads(path.read_text())
        place = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(data))
        sealed_runs.seal(path.parent)

    return forge


def forge_claims(**changes: Any) -> Callable[[Path], None]:
    """Change values in submission.toml; those of claims by `claimed_NAME`."""

    def forge(submission: Path) -> None:
        import tomllib

        path = submission / "submission.toml"
        data = tomllib.loads(path.read_text())
        for key, value in changes.items():
            if key.startswith("claimed_"):
                data["claimed"][key.removeprefix("claimed_")] = value
            else:
                data[key] = value
        claimed = data.pop("claimed")
        path.write_text(to_toml({**data, "claimed": claimed}))

    return forge


def forge_fingerprint(module: nn.Module | None) -> Callable[[Path], None]:
    """Change the noted architecture; None removes it."""

    def forge(submission: Path) -> None:
        note = (
            {}
            if module is None
            else {"architecture_fingerprint": architecture_fingerprint(module)}
        )
        (submission / "run" / "provenance.jsonl").write_text(json.dumps({"argv": [], **note}))

    return forge


def copied(honest: Path, folder: Path) -> Path:
    """A copy to forge."""
    return Path(shutil.copytree(honest, folder / "submission"))
