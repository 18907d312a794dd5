"""What a run notes of its network's architecture."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.evaluation.settings import Settings
from noctule.models.fingerprint import architecture_fingerprint
from noctule.stored import evaluate_stored, export

BENCHMARK = Benchmark(
    name="one", title="One", source="a test", corruptions=("hue",), severities=(1,)
)


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2)
    )


def test_the_fingerprint_is_of_the_shapes() -> None:
    # 4 filters of 3 × 3 × 3 and their biases, then 4 × 2 weights and 2 biases: 112 + 10 = 122.
    shapes = "[[2],[2,4],[4],[4,3,3,3]]"
    assert architecture_fingerprint(network()) == {
        "parameters": 122,
        "shapes_sha256": hashlib.sha256(shapes.encode()).hexdigest(),
    }
    assert architecture_fingerprint(network(5)) != architecture_fingerprint(network())
    # The same count in other shapes: 6 × 1 and 1 weights and biases, or 2 × 2 and 3 of them.
    one, other = nn.Linear(6, 1), nn.Linear(2, 2)
    other.extra = nn.Parameter(torch.zeros(1))
    first, second = (architecture_fingerprint(module) for module in (one, other))
    assert first["parameters"] == second["parameters"] == 7
    assert first["shapes_sha256"] != second["shapes_sha256"]


def test_live_and_stored_runs_note_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(8) % 2)
    settings = Settings(self_check=False, device="cpu")
    live = noctule.evaluate(
        network(), str(tmp_path / "data.npz"), BENCHMARK, out=tmp_path / "live",
        settings=settings,
    )  # fmt: skip
    export(BENCHMARK, open_dataset(str(tmp_path / "data.npz")), tmp_path / "set", processes=1)
    stored = evaluate_stored(
        network(), tmp_path / "set", out=tmp_path / "stored", settings=settings
    )
    for run in (live.run, stored.run):
        assert [one["architecture_fingerprint"] for one in run.starts()] == [
            architecture_fingerprint(network())
        ]
        assert run.starts()[0]["class_names"] == ["0", "1"]
