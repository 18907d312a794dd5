"""Wall time of an ImageNet-NOC evaluation of a ResNet, against two bounds.

    python scripts/evaluation.py [--images 96] [--repeats 3] [--device cpu] [--network resnet18]
        [--quick]

In one process and in turn, over a folder of JPEG files (500 × 375, quality 90) cut from sample
photographs:

    noctule   the whole evaluation: decoding, corruption, forward passes, rows on disk
    forward   (a) the same number of forward passes alone, on normalised tensors in memory
    naive     (b) a loop that decodes every image again for each condition, one worker per core

All three show the same network (random weights: only time matters) the same number of images in
batches of the same size, in channels-last layout and the precision that noctule uses on the
device. The ratios are medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from PIL import Image

from noctule.benchmarks import load_benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.data import Dataset, open_dataset
from noctule.data.sources.photo_patches import PhotoPatches, photograph
from noctule.evaluation.loading import in_order, load_batches
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings, default_precision, workers_for
from noctule.evaluation.sources import LiveImages
from noctule.models import Classifier, Preprocessing, load_classifier

BATCH_SIZE = {"cpu": 32, "cuda": 256}
JPEG_SIZE = (500, 375)
IMAGENET = Preprocessing(
    resize_px=256,
    crop_px=(224, 224),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def main() -> None:
    """Run the three in turn and print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--network", choices=("resnet18", "resnet50"), default="resnet18")
    parser.add_argument("--quick", action="store_true", help="check the program, not speed")
    options = parser.parse_args()
    if options.quick:
        options.images, options.repeats = 2, 1
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_jpegs(root / "photos", options.images)
        dataset = open_dataset(root / "photos")
        network = torchvision.models.get_model(
            options.network, weights=None, num_classes=len(dataset.class_names)
        )
        classifier = load_classifier(network, preprocessing=IMAGENET)
        times: dict[str, list[float]] = {"noctule": [], "forward": [], "naive": []}
        where = options.device
        forward(classifier, dataset, where, conditions=1)  # not counted
        for turn in range(options.repeats):
            runs: dict[str, Callable[[], None]] = {
                "forward": lambda: forward(classifier, dataset, where),
                "noctule": lambda out=root / f"run{turn}": noctule(  # type: ignore[misc]
                    classifier, dataset, where, out
                ),
                "naive": lambda: naive(classifier, dataset, where),
            }
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
                print(f"{name:8s} {times[name][-1]:7.2f} s", flush=True)
        report(times)


def report(times: dict[str, list[float]]) -> None:
    """Median ratios, turn by turn."""
    for other in ("forward", "naive"):
        ratios = [a / b for a, b in zip(times["noctule"], times[other], strict=True)]
        print(f"noctule / {other}: {statistics.median(ratios):.3f} "
              f"(from {min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip


def make_jpegs(folder: Path, count: int) -> None:
    """Cut `count` photographs of 500 × 375 px, in one folder per photograph."""
    names = PhotoPatches("test").class_names
    for number in range(count):
        name = names[number % len(names)]
        image = photograph(name).convert("RGB")
        left, top = (7 * number) % 40, (5 * number) % 30
        image = image.crop((left, top, image.width, image.height)).resize(
            JPEG_SIZE, Image.Resampling.BICUBIC
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / name / f"{number:05d}.jpg", quality=90)


def noctule(classifier: Classifier, dataset: Dataset, device: torch.device, out: Path) -> None:
    """The whole evaluation; the self-check would find the network at chance."""
    settings = Settings(
        device=str(device), batch_size=BATCH_SIZE[device.type], self_check=False
    )
    run_images(
        LiveImages(classifier, dataset, load_benchmark("imagenet-noc"), settings), out=out
    )


@torch.inference_mode()
def forward(
    classifier: Classifier, dataset: Dataset, device: torch.device, conditions: int = 9
) -> None:
    """Forward passes alone: (a)."""
    size = BATCH_SIZE[device.type]
    module = classifier.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.randn(size, 3, 224, 224, device=device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    for start in range(0, len(dataset), size):
        part = inputs[: len(dataset) - start]
        for _ in range(conditions):
            with low_precision(device):
                module(part).float().cpu()


@torch.inference_mode()
def naive(classifier: Classifier, dataset: Dataset, device: torch.device) -> None:
    """Decode again for each condition: (b). Even this one has our fast corruptions."""
    module = classifier.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    plan = in_order(dataset, BATCH_SIZE[device.type])
    workers = workers_for(dataset, None)
    for condition in load_benchmark("imagenet-noc").conditions:
        for batch in load_batches(dataset, classifier.preprocessing, plan, workers):
            images = batch.images.to(device)
            if condition.corruption is not None:
                images = CORRUPTIONS[condition.corruption](images, ids=batch.ids)
            inputs = classifier.preprocessing.normalise(images)
            with low_precision(device):
                module(inputs.contiguous(memory_format=torch.channels_last)).float().cpu()


def low_precision(device: torch.device) -> torch.autocast:
    """What noctule does by default: bfloat16 on a GPU."""
    enabled = default_precision(device.type) == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


if __name__ == "__main__":
    main()
