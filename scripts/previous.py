"""Milliseconds per image of every corruption, beside an earlier version of noctule.

    python scripts/previous.py [--commit 338a9e0] [--size-px 32 224 640x480] [--images 32]
        [--dtype uint8] [--mode paper] [--passes 3] [--rounds 3] [--only rain fog]

The earlier version's files are taken from this repository, and each version runs in a process
of its own. Both get the same images, seeds and ids. ImageNet-NOC's corruptions are drawn from
their full range, as in its benchmark; the others have severity 3.

    batch     noctule.corrupt of (images, 3, height, width), two threads
    single    noctule.corrupt of (1, 3, height, width), one thread

The ratio is the earlier version's time over this one's. Exits with 1 unless the targets are
met.
"""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import noctule  # of either version
from timing import (
    CORES,
    Call,
    RgbImages,
    Side,
    Table,
    Target,
    Team,
    channels_first,
    compare,
    comparison_parser,
    parse_comparison,
    serve,
)

ROOT = Path(__file__).parents[1]
BENCHMARKS = {
    "noc": "ImageNet-NOC", "imagenet_c": "ImageNet-C", "imagenet_c_bar": "ImageNet-C-bar",
}  # fmt: skip
NO_RELEASED_CODE = {"arlequin", "uniform"}
SEVERITY = {"noc": None, "imagenet_c": 3, "imagenet_c_bar": 3}
TARGETS = {
    ("noc", "batch"): Target(4.0, 1.0),
    ("noc", "single"): Target(6.0, 1.0),
    ("imagenet_c_bar", "batch"): Target(2.0, 1.0),
    ("imagenet_c_bar", "single"): Target(2.0, 1.0),
}
FORMER_MODES = {"paper": "corrected", "released": "published"}


def main() -> None:
    """Time both versions, print tables and say whether the targets are met."""
    names = [name for name in noctule.CORRUPTIONS if name not in NO_RELEASED_CODE]
    parser = comparison_parser(__doc__, names)
    parser.add_argument("--commit", default="338a9e0")
    parser.add_argument("--dtype", choices=("uint8", "float32"), default="uint8")
    parser.add_argument("--mode", choices=tuple(FORMER_MODES), default="paper")
    options = parse_comparison(parser)
    with tempfile.TemporaryDirectory() as folder:
        check_out(options.commit, Path(folder))
        met = compare(__file__, options, partial(tables, options, Path(folder) / "src"))
    sys.exit(0 if met or options.quick else 1)


def check_out(commit: str, folder: Path) -> None:
    """Write the package of a commit into a folder."""
    command = ["git", "-C", str(ROOT), "archive", "--output", folder / "src.tar", commit, "src"]
    subprocess.run(command, check=True)
    with tarfile.open(folder / "src.tar") as archive:
        # Python before 3.11.4 has no filters; the archive is of our own making.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)


def tables(options: argparse.Namespace, former: Path, team: Team) -> Iterator[Table]:
    """Two tables for each benchmark."""
    versions = {
        "this version": team.start(options.dtype, path=[ROOT / "src"]),
        options.commit: team.start(options.dtype, path=[former]),
    }
    for benchmark, title in BENCHMARKS.items():
        names = [name for name in options.only if benchmark_of(name) == benchmark]
        for kind, size in (("batch", (options.images, CORES)), ("single", (1, 1))):
            case = {
                "count": size[0], "severity": SEVERITY[benchmark], "mode": options.mode,
            }  # fmt: skip
            lines = {
                name: {
                    version: Side(workers, {"name": name, **case}, *size)
                    for version, workers in versions.items()
                }
                for name in names
            }
            if lines:
                title_ = f"{title}, {options.dtype}, {options.mode} mode, {kind}"
                yield Table(title_, lines, ["this version"], TARGETS.get((benchmark, kind)))


def benchmark_of(name: str) -> str:
    """The folder of a corruption's kernel: "noc", "imagenet_c" or "imagenet_c_bar"."""
    return noctule.CORRUPTIONS[name].kernel.__module__.split(".")[2]


def serve_version(images: RgbImages, dtype: str) -> None:
    """Time `noctule.corrupt`, in the words of the version that is imported."""
    batch = channels_first(images, dtype)
    this_version = "severity" in inspect.signature(noctule.corrupt).parameters

    def prepare(name: str, count: int, severity: int | None, mode: str) -> Call:
        words: dict[str, Any] = {"severity": severity, "mode": mode}
        if not this_version:
            words = {"level": severity, "mode": FORMER_MODES[mode]}

        parts = batch.split(count)

        def call(number: int) -> object:
            ids = range(number * count, (number + 1) * count)
            return noctule.corrupt(parts[number % len(parts)], name, ids=ids, **words)

        return call

    serve(prepare)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_version(np.load(sys.argv[2]), sys.argv[3])
    else:
        main()
