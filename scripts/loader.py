"""Images per second of a DataLoader with two workers, with and without corruptions.

    python scripts/loader.py [--images 1024] [--rounds 5] [--workers 2] [--backend pil]
        [--only rain fog]

The files are JPEGs of 500 × 375 px, made from photographs. Each is decoded with Pillow, resized
to 256 px, cropped to 224 × 224 px and collated into batches of 32. The backend says whether
torchvision resizes PIL images, as its reference scripts do, or tensors, which is faster.
`noctule.corrupt` is called with one image, and with a corruption and severity that depend on
the image's index:

    none      not at all
    cropped   with 3 × 224 × 224
    decoded   with 3 × 375 × 500, before resizing

The three take turns; each round starts new workers, whose first epoch does not count: in it,
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
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as F

import noctule
from timing import add_quick, markdown, sample_images, shown

JPEG_SIZE = (500, 375)
BATCH = 32
LARGEST_LOSS = 0.1
SIDES = ("none", "cropped", "decoded")


class Photos(Dataset[Tensor]):
    """Files that are decoded, cropped and perhaps corrupted."""

    def __init__(self, paths: list[Path], corrupted: str, options: argparse.Namespace) -> None:
        self.paths, self.corrupted, self.backend = paths, corrupted, options.backend
        pairs = [(name, severity) for name in options.only for severity in range(1, 6)]
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
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_jpegs(Path(folder))
        for number in range(options.rounds):
            for side in SIDES[:: 1 if number % 2 == 0 else -1]:
                photos = Photos(paths, side, options)
                rates[side].append(images_per_s(photos, options.workers))
    median = {side: statistics.median(values) for side, values in rates.items()}
    rows = [["corrupted", "images/s", "lost"]]
    for side, rate in median.items():
        rows.append([side, shown(rate), f"{100 * (1 - rate / median['none']):.1f} %"])
    print(markdown(rows))
    met = median["cropped"] >= (1 - LARGEST_LOSS) * median["none"]
    print(
        f"target: at most {100 * LARGEST_LOSS:g} % lost, cropped: {'met' if met else 'missed'}"
    )
    sys.exit(0 if met or options.quick else 1)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = list(noctule.CORRUPTIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", choices=("pil", "tensor"), default="pil")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
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
