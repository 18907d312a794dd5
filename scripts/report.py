"""Wall time and peak memory of the page of many runs.

    python scripts/report.py [--models 100] [--images 50000] [--benchmark imagenet-noc]
                                [--keep FOLDER]

Writes run folders of made-up outcomes as noctule's evaluation would write them, and then times
`noctule report` on all of them in a process of its own. With --keep the runs stay in FOLDER and
are used again the next time; runs that exist already are not written again.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.outcomes import SCHEMA
from noctule.store import RunIdentity, RunStore

CLASSES = 1000
MIB = 1024


def main() -> None:
    """Write the runs, time the page, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--benchmark", default="imagenet-noc")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    benchmark = load_benchmark(options.benchmark)
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        start = time.perf_counter()
        runs = [
            write_run(place / f"model-{model:03}", model, options.images, benchmark)
            for model in range(options.models)
        ]
        print(f"writing {len(runs)} runs: {time.perf_counter() - start:.1f} s")
        seconds, peak = timed_report(runs, Path(temporary) / "report.html")
    rows = options.models * options.images * len(benchmark.conditions)
    print(f"report of {rows:,} outcomes: {seconds:.1f} s, at most {peak:.0f} MiB")


def timed_report(runs: list[Path], out: Path) -> tuple[float, float]:
    """Seconds, and MiB at the most, of `noctule report`."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "noctule", "report", *map(str, runs), "-o", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, usage.ru_maxrss / MIB


def write_run(folder: Path, model: int, images: int, benchmark: Benchmark) -> Path:
    """A run folder of one made-up model, better or worse by its number."""
    identity = RunIdentity(
        model={"name": f"made-up-{model:03}", "weights_sha256": f"{model:064x}"},
        benchmark=benchmark.to_dict(),
        dataset={
            "name": "made-up",
            "domain": "imagenet-1k-val",
            "fingerprint": "0" * 64,
            "num_images": images,
            "num_classes": CLASSES,
        },
        seed=0,
        batch_size=256,
        slice_size=256,
        precision="bfloat16",
        device_type="cuda",
        on_unreadable="stop",
    )
    store = RunStore.create_or_resume(folder, identity)
    for index in store.missing_slices():
        draws = np.random.default_rng([model, index])
        numbers = np.array(identity.images_of(index))
        tables = [
            outcomes(numbers, images, str(condition), model, draws)
            for condition in benchmark.conditions
        ]
        store.write_slice(index, pa.concat_tables(tables).combine_chunks())
    return folder


def outcomes(
    numbers: NDArray[np.int64],
    images: int,
    condition: str,
    model: int,
    draws: np.random.Generator,
) -> pa.Table:
    """Outcomes of a batch: the model errs on a third to two thirds of the images."""
    label = numbers * CLASSES // images
    wrong = draws.random(len(numbers)) < (1 + model % 50 / 50) / 3
    rank = np.where(wrong, draws.integers(2, CLASSES, len(numbers)), 1)
    other = (label + draws.integers(1, CLASSES, len(numbers))) % CLASSES
    confidence = draws.uniform(1e-3, 1.0, len(numbers))
    # What the label can have at most: of `rank - 1` classes before it each is as likely.
    most = np.where(wrong, np.minimum(confidence, (1 - confidence) / (rank - 1 + ~wrong)), 1.0)
    columns = [
        [
            f"class-{one:04}/image-{number:05}.JPEG"
            for one, number in zip(label, numbers, strict=True)
        ],
        pa.repeat(condition, len(numbers)),
        label,
        np.where(wrong, other, label),
        rank,
        confidence,
        -np.log(np.where(wrong, most.clip(1e-30), confidence)),
    ]
    return pa.table(columns, names=SCHEMA.names).cast(SCHEMA)


if __name__ == "__main__":
    main()
