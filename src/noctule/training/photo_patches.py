"""Rebuilds the classifiers shipped in the package.

    python -m noctule.training.photo_patches [--only NAME] [--folder FOLDER]

Each is trained for a fixed number of epochs on photo-patches/train and measured once on
photo-patches/test: 94.7 % for the ResNet and 75.4 % for the reference, after a few minutes
on 2 idle cores. On one machine the files come out the same to the byte; elsewhere
another order of floating-point sums may move an accuracy by a point.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from noctule._version import __version__
from noctule.data import Dataset, open_dataset
from noctule.models.shipped import PREPROCESSING, SHIPPED, save_trained
from noctule.models.small_nets import ARCHITECTURES
from noctule.training.trainer import Recipe, accuracy, initialised, train

RECIPES: Final = {
    "photo-patches": Recipe(SHIPPED["photo-patches"], epochs=20, learning_rate=2e-3),
    # Half a dozen epochs on purpose: a reference has to leave room above it.
    "photo-patches-reference": Recipe(
        SHIPPED["photo-patches-reference"], epochs=6, learning_rate=1e-3
    ),
}

# The order of the sums in a convolution depends on the number of threads.
_THREADS = 2

_COMMAND = "python -m noctule.training.photo_patches"


def pictures_and_labels(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures of a dataset, preprocessed: uint8 (N, 3, 64, 64), and labels: int64 (N,)."""
    pictures = [PREPROCESSING.picture(dataset.read(i)) for i in range(len(dataset))]
    return torch.stack(pictures), torch.from_numpy(dataset.labels)


def rebuild(name: str, folder: Path, console: Console) -> dict[str, Any]:
    """Trains one shipped classifier, writes it to `folder`, returns its training record."""
    recipe = RECIPES[name]
    trained_on, tested_on = (
        open_dataset("photo-patches/train"),
        open_dataset("photo-patches/test"),
    )
    pictures, labels = pictures_and_labels(trained_on)
    classes = len(trained_on.class_names)
    module = initialised(lambda: ARCHITECTURES[recipe.architecture](classes), recipe.seed)
    started = time.monotonic()

    def tell(epoch: int, loss: float) -> None:
        seconds = time.monotonic() - started
        console.print(
            f"{name}: epoch {epoch + 1}/{recipe.epochs}, loss {loss:.4f}, {seconds:.0f} s"
        )

    train(module, pictures, labels, recipe, PREPROCESSING, tell)
    clean = accuracy(module, *pictures_and_labels(tested_on), PREPROCESSING)
    record = {
        "architecture": recipe.architecture,
        "class_names": list(trained_on.class_names),
        "clean_accuracy": round(clean, 4),
        "command": f"{_COMMAND} --only {name}",
        "noctule_version": __version__,
        "recipe": asdict(recipe),
        "test": {"name": tested_on.name, "fingerprint": tested_on.fingerprint()},
        "train": {"name": trained_on.name, "fingerprint": trained_on.fingerprint()},
    }
    save_trained(folder / f"{name}.safetensors", module, record)
    console.print(f"{name}: clean accuracy {clean:.1%}")
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=_COMMAND, description="Rebuild the shipped classifiers."
    )
    parser.add_argument("--only", choices=sorted(RECIPES), help="one of the two")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(__file__).parent.parent / "models" / "assets",
        help="where to write; the package's own assets unless given",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(_THREADS)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else RECIPES:
        rebuild(name, options.folder, Console())


if __name__ == "__main__":
    main()
