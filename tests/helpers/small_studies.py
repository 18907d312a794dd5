"""A study small enough for tests: two corruptions, 64 crops of 16 px, two epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noctule.config import build_spec
from noctule.data import open_dataset
from noctule.models import Preprocessing
from noctule.studies.spec import Study

SIDE_PX = 16


def write_arrays(folder: Path, *, train: int = 64, test: int = 48) -> None:
    """train.npz and test.npz of photo-patches, 16 classes at 16 px."""
    image = Preprocessing(resize_px=(SIDE_PX, SIDE_PX)).prepare
    for split, count in (("train", train), ("test", test)):
        dataset = open_dataset(f"photo-patches/{split}")
        images = np.stack(
            [image(dataset.read(i)).permute(1, 2, 0).numpy() for i in range(count)]
        )
        np.savez(folder / f"{split}.npz", images=images, labels=dataset.labels[:count])


def study_data(folder: Path) -> dict[str, Any]:
    """The study as it would be read from TOML."""
    return {
        "name": "small",
        "title": "A small study",
        "source": "tests",
        "architecture": "photo-patches",
        "candidates": ["gaussian", "border"],
        "seeds": [0],
        "train": str(folder / "train.npz"),
        "test": str(folder / "test.npz"),
        "images": {"side_px": SIDE_PX, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "recipe": {
            "epochs": 2,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "shift_px": 1,
            "optimiser": {"kind": "adamw"},
            "schedule": {"kind": "one-cycle"},
        },
    }


def small_study(folder: Path, **changes: Any) -> Study:
    """The study, with changes to it."""
    return build_spec(study_data(folder) | changes, Study, where="small.toml")
