"""Train the classifiers that are included in the package.

    python -m noctule.studies.training.photo_patches [--only NAME] [--folder FOLDER]

Each is trained for a fixed number of epochs on photo-patches/train and measured once on
photo-patches/test: 94.9 % for the ResNet and 78.7 % for the reference, after a few minutes on 2
idle cores. On the same machine, the files are reproduced byte by byte; on others, the order of
floating-point sums may change an accuracy by a percentage point.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from torch import nn

import noctule
from noctule._version import __version__
from noctule.data import Dataset, open_dataset
from noctule.data.sources.photo_patches import IMAGE_SIDE_PX
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing, build_untrained
from noctule.models.sources.shipped import PREPROCESSING
from noctule.models.sources.trained import trained_bytes
from noctule.store.disk import write_atomically
from noctule.studies.training.recipe import AdamW, OneCycleSchedule, Recipe
from noctule.studies.training.trainer import TrainingConfig, TrainingRun, init_run, train

ASSETS: Final = Path(noctule.__file__).parent / "models" / "assets"
SEED: Final = 0


def _recipe(epochs: int, learning_rate: float) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=64,
        learning_rate=learning_rate,
        optimiser=AdamW(kind="adamw", weight_decay=0.05),
        schedule=OneCycleSchedule(kind="one-cycle", rise=0.2),
        shift_px=4,
    )


RECIPES: Final = {
    "photo-patches": _recipe(epochs=20, learning_rate=2e-3),
    # Only six epochs, because other networks should be better than the reference.
    "photo-patches-reference": _recipe(epochs=6, learning_rate=1e-3),
}

# The order of the sums in a convolution depends on the number of threads.
_THREADS = 2

_COMMAND = "python -m noctule.studies.training.photo_patches"


def rebuild(name: str, folder: Path, console: Console) -> dict[str, Any]:
    """Train one classifier, write it to `folder` and return its training record."""
    recipe = RECIPES[name]
    train_set, test_set = (
        open_dataset("photo-patches/train"),
        open_dataset("photo-patches/test"),
    )
    config = TrainingConfig(train_set, PREPROCESSING, recipe, SEED)
    classes, side_px = len(train_set.class_names), IMAGE_SIDE_PX
    run = init_run(name, (None,), lambda: build_untrained(name, classes, side_px), config)
    started = time.monotonic()

    def print_epoch(run: TrainingRun) -> None:
        seconds = time.monotonic() - started
        console.print(
            f"{name}: epoch {len(run.losses)}/{recipe.epochs}, "
            f"loss {run.losses[-1]:.4f}, {seconds:.0f} s"
        )

    train([run], config, after_epoch=print_epoch)
    run.module.eval()
    clean = accuracy(run.module, test_set, PREPROCESSING)
    record = {
        "architecture": name,
        "class_names": list(train_set.class_names),
        "clean_accuracy": round(clean, 4),
        "command": f"{_COMMAND} --only {name}",
        "noctule_version": __version__,
        "preprocessing": PREPROCESSING.to_dict(),
        "recipe": recipe.model_dump(mode="json"),
        "seed": SEED,
        "test": {"name": test_set.name, "fingerprint": test_set.fingerprint()},
        "train": {"name": train_set.name, "fingerprint": train_set.fingerprint()},
    }
    write_atomically(folder / f"{name}.safetensors", trained_bytes(run.module, record))
    console.print(f"{name}: clean accuracy {clean:.1%}")
    return record


@torch.inference_mode()
def accuracy(module: nn.Module, dataset: Dataset, preprocessing: Preprocessing) -> float:
    """Accuracy on a dataset, in [0, 1]."""
    right = 0
    for batch in load_batches(dataset, preprocessing, in_order(dataset, 256), workers=0):
        logits = module(preprocessing.normalise(batch.images))
        right += int((logits.argmax(dim=1) == batch.labels).sum())
    return right / len(dataset)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=_COMMAND, description="Train the classifiers that are included in the package."
    )
    parser.add_argument("--only", choices=sorted(RECIPES), help="train only this classifier")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ASSETS,
        help="folder of the weights; by default the assets of the package",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(_THREADS)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else RECIPES:
        rebuild(name, options.folder, Console())


if __name__ == "__main__":
    main()
