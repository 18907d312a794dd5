"""A zoo of models over JPEG files, with and without the shared stream and the cache of crops.

    python scripts/zoo.py [--models 10] [--images 300] [--network NAME] [--quick]

ImageNet-NOC over JPEG files (500 × 375) cut from sample photographs, in one process without
workers, so that decoding is not hidden behind forward passes. The weights are random: only time
matters.

The default network pools and has one linear layer: on a CPU it takes about as long as a large
network on a GPU. --network takes a name of torchvision.

    alone           each model in a run of its own
    cached          the same, with --cache: the first model fills it
    shared          all models in one stream of images
    shared, cached  the same, with the cache filled
    forward         the forward passes alone: what no sharing saves
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torchvision

from evaluation import IMAGENET, forward, make_jpegs
from noctule import Settings, evaluate, evaluate_many
from noctule.data import Dataset, open_dataset
from noctule.models import Classifier, load_classifier


def zoo(count: int, network: str | None, classes: int) -> dict[str, Classifier]:
    """Networks of different weights."""
    models = {}
    for seed in range(count):
        torch.manual_seed(seed)
        if network is None:
            pooled = torch.nn.AvgPool2d(32), torch.nn.Flatten()
            module: torch.nn.Module = torch.nn.Sequential(
                *pooled, torch.nn.Linear(3 * 7 * 7, classes)
            )
        else:
            module = torchvision.models.get_model(network, weights=None, num_classes=classes)
        classifier = load_classifier(module, preprocessing=IMAGENET)
        models[f"m{seed}"] = replace(classifier, name=f"m{seed}")
    return models


def variants(
    models: dict[str, Classifier], data: Dataset, root: Path
) -> dict[str, Callable[[], object]]:
    """What is timed, in this order."""
    plain = Settings(device="cpu", workers=0, self_check=False)
    cached = replace(plain, cache=root / "cache")

    def alone(settings: Settings, folder: str) -> None:
        for name, model in models.items():
            evaluate(model, data, out=root / folder / name, settings=settings)

    def shared(settings: Settings, folder: str) -> None:
        assert not evaluate_many(models, data, out=root / folder, settings=settings).failed

    return {
        "alone": lambda: alone(plain, "a"),
        "cached": lambda: alone(cached, "b"),
        "shared": lambda: shared(plain, "c"),
        "shared, cached": lambda: shared(cached, "d"),
        "forward": lambda: [forward(one, data, torch.device("cpu")) for one in models.values()],
    }


def main() -> None:
    """Time each variant, and print ratios to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--network")
    parser.add_argument("--quick", action="store_true", help="check the program, not speed")
    options = parser.parse_args()
    if options.quick:
        options.models, options.images = 2, 2
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_jpegs(root / "photos", options.images)
        data = open_dataset(root / "photos")
        models = zoo(options.models, options.network, len(data.class_names))
        # Not counted: compiled corruptions are loaded.
        evaluate(models["m0"], data, out=root / "warm",
                 settings=Settings(device="cpu", workers=0, self_check=False))  # fmt: skip
        print("| | s | ratio |\n|---|---|---|")
        first_s = None
        for name, run in variants(models, data, root).items():
            start_s = time.perf_counter()
            run()
            took_s = time.perf_counter() - start_s
            first_s = first_s or took_s
            print(f"| {name} | {took_s:.1f} | {took_s / first_s:.2f} |", flush=True)


if __name__ == "__main__":
    main()
