"""Images per second of a DataLoader with two workers, with and without corruptions.

    python scripts/loader.py [--images 1024] [--rounds 5] [--workers 2] [--backend pil]
        [--only rain fog]

The files are JPEGs of 500 × 375 px, made from photographs. Each is decoded with Pillow, resized
to 256 px, cropped to 224 × 224 px and collated into batches of 32. The backend says whether
torchvision resizes PIL images, as its reference scripts do, or tensors, which is faster.
`noctule.corrupt` is called with one image, and with a corruption and severity that depend on
the image's index:

    none                not at all
    NAME, cropped       with 3 × 224 × 224 and a corruption of this benchmark
    all, decoded        with 3 × 375 × 500, before resizing, and any corruption

They take turns; each round starts new workers, whose first epoch does not count: in it,
they load the compiled code of all corruptions. The median of the rounds counts. Exits with 1 if
corruptions of cropped images cost more than 10 % of the images per second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as F

import noctule
from noctule.benchmarks import load_benchmark
from timing import add_quick, markdown, sample_images, shown

JPEG_SIZE = (500, 375)
BATCH = 32
LARGEST_LOSS = 0.1
BENCHMARKS = ("imagenet-noc", "imagenet-c", "imagenet-c-bar")


class Side(NamedTuple):
    """Which corruptions, and where: "none", "cropped" or "decoded"."""

    names: Sequence[str]
    where: str


class Photos(Dataset[Tensor]):
    """Files that are decoded, cropped and perhaps corrupted."""

    def __init__(self, paths: list[Path], side: Side, options: argparse.Namespace) -> None:
        self.paths, self.corrupted, self.backend = paths, side.where, options.backend
        pairs = [(name, severity) for name in side.names for severity in range(1, 6)]
        self.choices = random.Random(0).choices(pairs, k=options.images)

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 (3, 224, 224)."""
        image: Any = Image.open(self.paths[index % len(self.paths)]).convert("RGB")
        tensors = self.backend == "tensor"
        if tensors:
            image = F.pil_to_tensor(image)
        if self.corrupted == "decoded":
            pixels = self.corrupt(image if tensors else F.pil_to_tensor(image), index)
            image = pixels if tensors else F.to_pil_image(pixels)
        image = F.center_crop(F.resize(image, [256]), [224, 224])
        pixels = image if tensors else F.pil_to_tensor(image)
        return self.corrupt(pixels, index) if self.corrupted == "cropped" else pixels

    def corrupt(self, pixels: Tensor, index: int) -> Tensor:
        """The image with its corruption."""
        name, severity = self.choices[index]
        return noctule.corrupt(pixels[None], name, severity=severity)[0]


def main() -> None:
    """Time all sides, print a table and say whether the target is met."""
    options = parse_arguments()
    sides = sides_of(options)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_jpegs(Path(folder))
        for number in range(options.rounds):
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                photos = Photos(paths, sides[name], options)
                rates[name].append(images_per_s(photos, options.workers))
    median = {side: statistics.median(values) for side, values in rates.items()}
    rows = [["corrupted", "images/s", "lost"]]
    for side, rate in median.items():
        rows.append([side, shown(rate), f"{100 * (1 - rate / median['none']):.1f} %"])
    print(markdown(rows))
    least = (1 - LARGEST_LOSS) * median["none"]
    missed = [name for name in median if name.endswith("cropped") and median[name] < least]
    verdict = f"missed: {', '.join(missed)}" if missed else "met"
    print(f"target: at most {100 * LARGEST_LOSS:g} % lost of cropped images: {verdict}")
    sys.exit(0 if not missed or options.quick else 1)


def sides_of(options: argparse.Namespace) -> dict[str, Side]:
    """The sides by their names."""
    everything = options.only or list(noctule.CORRUPTIONS)
    sides = {"none": Side(everything, "none")}
    if not options.only:
        for name in BENCHMARKS:
            sides[f"{name}, cropped"] = Side(load_benchmark(name).corruptions, "cropped")
    return sides | {
        "all, cropped": Side(everything, "cropped"),
        "all, decoded": Side(everything, "decoded"),
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = list(noctule.CORRUPTIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", choices=("pil", "tensor"), default="pil")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME")
    add_quick(parser)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(images=6 * BATCH, rounds=1, only=["brightness"])
    return options


def make_jpegs(folder: Path) -> list[Path]:
    """Write photographs."""
    paths = []
    for number, pixels in enumerate(sample_images(16, JPEG_SIZE)):
        paths.append(folder / f"{number:02d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def images_per_s(photos: Photos, workers: int) -> float:
    """Images per second of the second epoch."""
    loader = DataLoader(photos, BATCH, num_workers=workers, persistent_workers=True)
    for _ in loader:  # every corruption, so that workers have its code and its tables
        pass
    start = time.perf_counter()
    timed = sum(len(batch) for batch in loader)
    return timed / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
