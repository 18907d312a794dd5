"""Efficiency of two processes on one run, beside one process of the same number of threads.

    python scripts/scaling.py [--images 256] [--processes 2] [--repeats 3] [--network resnet18]

ImageNet-NOC over JPEG files (500 × 375) cut from sample photographs, with a network of random
weights: only time matters. Slices are of 32 images. Each process has one thread and decodes its
own images, so that N processes have N times the machine of one, if it has as many idle cores.
The time runs from the first batch to the last slice on disk: what precedes it, mostly imports,
takes a few seconds and does not grow with the run. The efficiency is the time of one process
over N times that of N processes. Exits with 1 if its median is below 0.9, except with --quick.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torchvision

from evaluation import IMAGENET, make_jpegs
from noctule.benchmarks import load_benchmark
from noctule.data import open_dataset
from noctule.evaluation.execution import torch_threads
from noctule.evaluation.loop import run_images
from noctule.evaluation.machines import Processes
from noctule.evaluation.settings import Settings
from noctule.evaluation.sources import LiveImages
from noctule.models import load_classifier

TARGET = 0.9


def source(photos: Path, network: str, batch_size: int, device: str) -> LiveImages:
    """The images and the network; picklable, so that each process can open its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dataset = open_dataset(photos)
    classes = len(dataset.class_names)
    module = torchvision.models.get_model(network, weights=None, num_classes=classes)
    images = LiveImages(
        load_classifier(module, preprocessing=IMAGENET),
        dataset,
        load_benchmark("imagenet-noc"),
        Settings(device=device, batch_size=batch_size, workers=0, self_check=False),
    )
    images.identity = replace(images.identity, slice_size=batch_size)
    return images


def seconds(options: argparse.Namespace, photos: Path, out: Path, processes: int) -> float:
    """Time from the first batch to the last slice."""
    first_s: float | None = None

    def progress(done: int, total: int) -> None:
        nonlocal first_s
        if first_s is None:
            first_s = time.perf_counter()

    reopen = functools.partial(source, photos, options.network, options.batch_size)
    fill = Processes(reopen, ["cpu"] * processes).fill if processes > 1 else None
    with torch_threads(1):
        run_images(reopen("cpu"), out=out, progress=progress, fill=fill)
    assert first_s is not None
    return time.perf_counter() - first_s


def main() -> None:
    """Time the runs in turn, and print the efficiency."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="a few images; no target")
    options = parser.parse_args()
    if options.quick:
        options.images, options.repeats, options.batch_size = 8, 1, 2
        options.network = "squeezenet1_1"
    efficiencies = []
    print("| one process, s | processes | s | efficiency |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        make_jpegs(photos, options.images)
        for turn in range(options.repeats):
            one_s, all_s = (
                seconds(options, photos, Path(folder) / f"run{turn}-{count}", count)
                for count in (1, options.processes)
            )
            efficiencies.append(one_s / (options.processes * all_s))
            cells = f"{one_s:.1f} | {options.processes} | {all_s:.1f} | {efficiencies[-1]:.2f}"
            print(f"| {cells} |", flush=True)
    median = statistics.median(efficiencies)
    print(f"Median efficiency: {median:.2f}, at least {TARGET}.")
    if median < TARGET and not options.quick:
        sys.exit(1)


if __name__ == "__main__":
    main()
