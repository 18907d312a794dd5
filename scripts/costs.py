"""What one image costs: decode, cache, corrupt, forward, store; and what that makes of a zoo.

    python scripts/costs.py [--images 64] [--network resnet50] [--repeats 3]
        [--forward-ms 0.25] [--gpu-corrupt-ms 0.04] [--models 100] [--gpus 8] [--cores 128]
        [--quick]

Measures CPU time, which other programs hardly change, in milliseconds: decoding a JPEG of
500 × 375 px to a crop of 224 px, reading such a crop from the cache and checking it, corrupting
it under one condition of ImageNet-NOC and of ImageNet-C (the mean over the conditions), a
forward pass of the network, and writing an outcome row. Then extrapolates to MODELS models on
50,000 images under 9 and 76 conditions, on GPUS GPUs with CORES CPU cores. The forward pass and
the corruptions on the GPU are arguments: nothing here measures a GPU.

    CPU time = images × (decode × streams + store × models × conditions)
    GPU time = images × conditions × (corrupt × streams + forward × models)

where streams is 1 if all models share a stream, and their number if none do. What takes longer
is what saturates first.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from evaluation import IMAGENET, make_jpegs
from noctule.benchmarks import load_benchmark
from noctule.data import open_dataset
from noctule.evaluation.cache import CropCache
from noctule.evaluation.execution import torch_threads
from noctule.evaluation.loading import read_batch
from noctule.evaluation.lockstep import concatenated
from noctule.outcomes import outcome_tables, reduce_logits
from noctule.store.disk import write_atomically
from noctule.store.slices import SliceNote, slice_bytes

IMAGES, BATCH = 50_000, 32


@dataclass(frozen=True)
class Costs:
    """Milliseconds of CPU time per image; `corrupt_ms` by benchmark, per condition."""

    decode_ms: float
    cached_ms: float
    corrupt_ms: dict[str, float]
    forward_ms: float
    store_ms: float


def per_image_ms(work: Callable[[], object], images: int, repeats: int) -> float:
    """The median CPU time, after a first run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start_s = time.process_time()
        work()
        times.append(time.process_time() - start_s)
    return 1000 * statistics.median(times) / images


def measured(options: argparse.Namespace, root: Path) -> Costs:
    """Each cost, with one thread."""
    make_jpegs(root / "photos", options.images)
    data, indices = open_dataset(root / "photos"), range(options.images)
    cache = CropCache.opened(root / "cache", data, IMAGENET)

    def timed(work: Callable[[], object], images: int = options.images) -> float:
        return per_image_ms(work, images, options.repeats)

    batch = read_batch(data, IMAGENET, indices, cache)
    corrupt_ms = {}
    images, ids = batch.images[:BATCH], batch.ids[:BATCH]
    for name in ("imagenet-noc", "imagenet-c"):
        conditions = load_benchmark(name).conditions[1:]
        corrupt = functools.partial(
            load_benchmark(name).corrupt, images=images, ids=ids, seed=0
        )
        each = [timed(functools.partial(corrupt, one), len(ids)) for one in conditions]
        corrupt_ms[name] = statistics.mean(each)
    module = torchvision.models.get_model(options.network, weights=None).eval()
    inputs = IMAGENET.normalise(batch.images[: min(BATCH, 8)])
    with torch.inference_mode():
        forward_ms = timed(lambda: module(inputs), len(inputs))
        logits = module(inputs)
    reduced = [reduce_logits(batch.ids[: len(inputs)], "shear", batch.labels[: len(inputs)],
                             logits)] * 128  # fmt: skip

    def store() -> None:
        rows = concatenated(outcome_tables(reduced))
        note = SliceNote("", 0, len(rows), (), {})
        write_atomically(root / "rows", slice_bytes(rows, note))

    return Costs(
        decode_ms=timed(lambda: read_batch(data, IMAGENET, indices)),
        cached_ms=timed(lambda: read_batch(data, IMAGENET, indices, cache)),
        corrupt_ms=corrupt_ms,
        forward_ms=forward_ms,
        store_ms=timed(store, 128 * len(inputs)),
    )


def extrapolate(costs: Costs, options: argparse.Namespace) -> None:
    """Print the hours that CPUs and GPUs are busy, and which are the bottleneck."""
    print("| conditions | images | CPU, h | GPU, h | takes, h | saturated first |")
    print("|---|---|---|---|---|---|")
    for conditions in (9, 76):
        for name, streams, decode_ms in (
            ("each model alone", options.models, costs.decode_ms),
            ("alone, cached", options.models, costs.cached_ms),
            ("one stream", 1, costs.decode_ms),
        ):
            store = costs.store_ms * options.models * conditions
            cpu_ms = IMAGES * (decode_ms * streams + store)
            corrupt = options.gpu_corrupt_ms * streams * (conditions - 1)
            gpu_ms = IMAGES * (corrupt + options.forward_ms * options.models * conditions)
            cpu_h, gpu_h = cpu_ms / 3.6e6 / options.cores, gpu_ms / 3.6e6 / options.gpus
            first = "CPU" if cpu_h > gpu_h else "GPU"
            print(f"| {conditions} | {name} | {cpu_h:.2f} | {gpu_h:.2f} | "
                  f"{max(cpu_h, gpu_h):.2f} | {first} |")  # fmt: skip
    one = costs.decode_ms / (options.forward_ms * 9)
    print(f"Cores per GPU under 9 conditions: {one:.1f} for a model alone, "
          f"{one / options.models:.2f} for one stream.")  # fmt: skip


def main() -> None:
    """Measure, and extrapolate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--forward-ms", type=float, default=0.25)
    parser.add_argument("--gpu-corrupt-ms", type=float, default=0.04)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--cores", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="check the program, not speed")
    options = parser.parse_args()
    if options.quick:
        options.images, options.repeats, options.network = 2, 1, "squeezenet1_1"
    with tempfile.TemporaryDirectory() as folder, torch_threads(1):
        costs = measured(options, Path(folder))
    print("| CPU time, ms per image | |\n|---|---|")
    print(f"| decode | {costs.decode_ms:.2f} |\n| from the cache | {costs.cached_ms:.2f} |")
    for name, value in costs.corrupt_ms.items():
        print(f"| corrupt, {name} | {value:.2f} |")
    print(f"| forward, {options.network} | {costs.forward_ms:.1f} |")
    print(f"| store, per row | {costs.store_ms:.4f} |\n")
    extrapolate(costs, options)


if __name__ == "__main__":
    main()
