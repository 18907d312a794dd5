"""A finished study folder made of given accuracies: no network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN
from noctule.models import weights_sha256
from noctule.models.sources.trained import trained_bytes
from noctule.sampling import image_words, key_of, unit_interval
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import OverlapMatrix
from noctule.studies.spec import STANDARD, Member
from outcome_rows import outcome_rows, run_identity, write_run_folder
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
    weights = weights_sha256(NETWORK.state_dict())
    identity = run_identity(
        made.study.benchmark,
        num_images,
        model={"name": str(member), "weights_sha256": weights},
        dataset=made.identity["test"],
        batch_size=num_images,
    )
    # Evenly spread over [0, 1), another image for another seed.
    hardness = (np.arange(num_images) * GOLDEN + 0.3 * member.seed) % 1

    def rows_of(condition: str, images: NDArray[np.int64]) -> pa.Table:
        accuracy = accuracies[member.candidate or STANDARD, condition]
        wrong = hardness[images] >= accuracy
        return outcome_rows([f"{i:05}" for i in images], condition, predictions=wrong)

    write_run_folder(made.run_folder(member), identity, rows_of)


def hard_matrix(n: int) -> OverlapMatrix:
    """Uniform overlaps of many candidates: its best set takes the solver very long."""
    ((words, _),) = image_words([key_of("hard", 0)], range(n * n))
    raw = np.triu(unit_interval(words).double().numpy().reshape(n, n), 1)
    return OverlapMatrix(tuple(f"c{i:03}" for i in range(n)), raw + raw.T + np.eye(n))
