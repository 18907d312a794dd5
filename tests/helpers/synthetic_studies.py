"""A finished study folder made of given accuracies: no network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from noctule.benchmarks import CLEAN
from noctule.models import weights_sha256
from noctule.models.trained import trained_bytes
from noctule.outcomes import SCHEMA
from noctule.sampling import image_words, key_of, unit_interval
from noctule.store import RunIdentity, RunStore
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import OverlapMatrix
from noctule.studies.spec import STANDARD, Member
from small_studies import small_study

NETWORK = torch.nn.Linear(1, 1)
GOLDEN = (math.sqrt(5) - 1) / 2
Accuracies = Mapping[tuple[str, str], float]


def write_study(
    folder: Path,
    accuracies: Accuracies,
    *,
    seeds: Sequence[int] = (0,),
    num_images: int = 200,
    **changes: Any,
) -> StudyFolder:
    """A study whose networks are right as often as they are said to be, to 1 in `num_images`.

    Args:
        folder: to write to.
        accuracies: by model and condition, "standard" and "clean" among them.
        seeds: of the study.
        num_images: in the test set.
        changes: to the study of `small_study`.
    """
    candidates = [model for model, condition in accuracies if condition == CLEAN][1:]
    study = small_study(folder, candidates=candidates, seeds=list(seeds), **changes)
    data = {"name": "made", "fingerprint": "f", "num_images": num_images, "num_classes": 4}
    identity = {
        "schema_version": 2, "study": study.to_dict(), "train": data, "test": data,
        "device_type": "cpu", "precision": "float32",
    }  # fmt: skip
    made = StudyFolder.create_or_resume(folder, identity)
    made.record_start({"started_utc": "2026-01-02T03:04:05+00:00", "noctule": "9.8.7",
                       "argv": ["/bin/noctule", "study", "run", "a b.toml"],
                       "commit": "0123456789abcdef", "dirty": True, "python": "3.99",
                       "device": "cpu", "device_name": "A processor"})  # fmt: skip
    for member in study.members:
        made.weights(member).parent.mkdir(parents=True)
        record = {
            "architecture": study.architecture, "class_names": list("abcd"),
            "preprocessing": study.images.preprocessing().to_dict(), "member": str(member),
            "study": dict(made.identity),
        }  # fmt: skip
        made.weights(member).write_bytes(trained_bytes(NETWORK, record))
        _write_run(made, member, accuracies, num_images)
    return made


def _write_run(
    made: StudyFolder, member: Member, accuracies: Accuracies, num_images: int
) -> None:
    identity = RunIdentity(
        model={
            "name": str(member),
            "weights_sha256": weights_sha256(NETWORK.state_dict()),
        },
        benchmark=made.study.benchmark.to_dict(),
        dataset={**made.identity["test"], "domain": None},
        seed=0,
        batch_size=num_images,
        slice_size=num_images,
        precision="float32",
        device_type="cpu",
        on_unreadable="stop",
    )
    store = RunStore.create_or_resume(made.run_folder(member), identity)
    ids = [f"{i:05}" for i in range(num_images)]
    zeros, ones = np.zeros(num_images, np.int32), np.ones(num_images, np.int32)
    tables = []
    for condition in identity.conditions:
        accuracy = accuracies[member.candidate or STANDARD, condition]
        # Evenly spread over [0, 1), another image for another seed.
        hardness = (np.arange(num_images) * GOLDEN + 0.3 * member.seed) % 1
        wrong = (hardness >= accuracy).astype(np.int32)
        columns = [
            ids,
            [condition] * num_images,
            zeros,
            wrong,
            ones + wrong,
            ones / 2,
            ones * math.log(2),
        ]
        tables.append(pa.table(columns, names=SCHEMA.names).cast(SCHEMA))
    store.write_slice(0, pa.concat_tables(tables))


def hard_matrix(n: int) -> OverlapMatrix:
    """Uniform overlaps of many candidates: its best set takes the solver very long."""
    ((words, _),) = image_words([key_of("hard", 0)], range(n * n))
    raw = np.triu(unit_interval(words).double().numpy().reshape(n, n), 1)
    return OverlapMatrix(tuple(f"c{i:03}" for i in range(n)), raw + raw.T + np.eye(n))
