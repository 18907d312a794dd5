"""Milliseconds per image of every corruption, beside the released code's.

    python scripts/corruptions.py [--images 32] [--size-px 224] [--repeats 30]
        [--device cpu]

Both sides use both of two cores: noctule with two threads, the released code as two processes,
which is why its figures, measured with one, are halved. They were taken on another machine of
the same type (2 cores, AMD EPYC); runs drift by about 30 %. Each corruption is called on
a batch with new ids every time, drawing included; the median of the repeats counts. On a GPU
the batch lies there already, and a call ends when the GPU has done its work.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch

from noctule.corruptions import CORRUPTIONS
from noctule.data.sources.photo_patches import PhotoPatches, photograph
from noctule.models import Preprocessing

# ms per image, 224 × 224 float32, one image at a time, one process.
PUBLISHED_MS = {
    "quantization": 0.10, "gaussian": 0.72, "salt_pepper": 1.28, "blur": 2.73,
    "thumbnail_resize": 1.13, "pixelate": 0.42, "artifacts": 2.71, "vertical_artifacts": 2.77,
    "rhombus": 3.27, "rain": 10.39, "circle": 3.07, "obstruction": 4.75, "border": 0.33,
    "translation": 0.60, "shear": 0.94, "elastic": 1.07, "rotation": 0.58, "backlight": 0.60,
    "brightness": 0.06, "contrast": 0.07, "color_distortion": 0.13, "gray_scale": 0.69,
    "hue": 2.05, "arlequin": 1.73,
}  # fmt: skip
PROCESSES = 2
NOT_AMONG_THE_23 = {"arlequin", "uniform"}


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", type=torch.device, default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(PROCESSES)
    batch = {
        dtype: images.to(options.device)
        for dtype, images in sample_batch(options.images, options.size_px).items()
    }
    copy_ms = {
        dtype: median_ms(lambda _, x=x: x.clone(), options)  # type: ignore[misc]
        for dtype, x in batch.items()
    }
    print(f"{options.images} images of {options.size_px} px; copying the batch, ms/image: "
          + ", ".join(f"{dtype} {ms:.4f}" for dtype, ms in copy_ms.items()))  # fmt: skip
    print(f"{'ms/image':20s} {'uint8':>8s} {'copies':>7s} {'float32':>8s} {'copies':>7s} "
          f"{'released':>9s} {'ratio':>6s}")  # fmt: skip
    ratios = {}
    for name in CORRUPTIONS:
        ms = {dtype: time_corruption(name, x, options) for dtype, x in batch.items()}
        line = f"{name:20s}"
        for dtype, value in ms.items():
            line += f" {value:8.4f} {value / copy_ms[dtype]:7.1f}"
        if name in PUBLISHED_MS:
            published = PUBLISHED_MS[name] / PROCESSES
            ratios[name] = published / ms["uint8"]
            line += f" {published:9.3f} {ratios[name]:6.1f}"
        print(line, flush=True)
    of_23 = [ratio for name, ratio in ratios.items() if name not in NOT_AMONG_THE_23]
    mean = math.exp(statistics.fmean(map(math.log, of_23)))
    print(f"throughput, uint8, over the released code's: {mean:.1f} × in the geometric mean "
          f"over the {len(of_23)}; slower: "
          + (", ".join(n for n, r in ratios.items() if r < 1) or "none"))  # fmt: skip


def sample_batch(count: int, size_px: int) -> dict[str, torch.Tensor]:
    """Photographs, repeated to fill the batch, in both dtypes."""
    prepare = Preprocessing(resize_px=size_px, crop_px=(size_px, size_px))
    names = PhotoPatches("test").class_names
    images = [prepare.prepare(photograph(names[k % len(names)])) for k in range(count)]
    batch = torch.stack(images)
    return {"uint8": batch, "float32": batch.float() / 255}


def time_corruption(name: str, batch: torch.Tensor, options: argparse.Namespace) -> float:
    """Median ms per image; every call has other ids, hence other parameters."""
    corruption = CORRUPTIONS[name]
    count = len(batch)
    return median_ms(
        lambda turn: corruption(batch, ids=range(turn * count, (turn + 1) * count)), options
    )


def median_ms(call: Callable[[int], object], options: argparse.Namespace) -> float:
    """Median ms per image over the repeats, after two calls that do not count."""
    times = []
    for turn in range(options.repeats + 2):
        start = time.perf_counter()
        call(turn)
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)
        times.append(1e3 * (time.perf_counter() - start) / options.images)
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
