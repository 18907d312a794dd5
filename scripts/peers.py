"""Milliseconds per image of ImageNet-C's 19 corruptions, beside every package made from it.

    PYTHONPATH=tests:tests/helpers python scripts/peers.py [--all-severities]
        [--images 32] [--size-px 224] [--passes 3] [--rounds 3] [--only fog snow]

Both sides use both of two cores, and get what their interfaces ask for, in memory and of bytes:

    noctule   two threads; a batch (images, 3, height, width), with new ids in each call
    a package two processes of one thread; one image (height, width, 3) in each call of its
              `corrupt`, which makes a PIL image of it, but for corrupt-tta; what corrupt-tta
              returns is left as floats

The sides take turns of about 0.3 s, in reversed order every other round, so that drift of
the machine meets all; and all corruptions are gone through several times, so that a bad
minute does not decide on one of them. Medians over all rounds count. The ratio is the
fastest package's time over noctule's, and the best is the same of each side's least
disturbed round. A star says that a package does other, mostly less, work than the authors'
program (see tests/helpers/imagenet_c_peers.py); it counts all the same.

With `--passes 1`, packages are for the most part as in a program's first minutes: the C
library hands their memory back to the system after each image, and takes it again by
hundreds of page faults (gaussian_noise takes a third longer). Once a large block was freed,
as in zoom_blur, it keeps memory. So does noctule, from the first image on.

Exits with 1 unless noctule is as fast as the fastest package in every line, and three times as
fast in the geometric mean over all lines.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from corruptions import sample_batch
from imagenet_c_peers import OTHER_WORK, PACKAGES, import_peer
from noctule.compat import COMMON, VALIDATION
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Mode

PROCESSES = 2
TURN_S = 0.3
PAUSE_S = 0.01  # the other side's idle threads spin for a moment
SEVERITY = 3
TARGET, MEAN_TARGET = 1.0, 3.0


class Side(NamedTuple):
    """One that is timed.

    Attributes:
        images: that one call makes.
        run: makes a number of calls, and gives the seconds they took; infinite if they fail.
    """

    images: int
    run: Callable[[int], float]


class Ratios(NamedTuple):
    """The fastest package's time over noctule's: by medians, and by each side's best round."""

    median: float
    least: float


def main() -> None:
    """Time everything, print a table and say whether the targets are met."""
    options = parse_arguments()
    torch.set_num_threads(PROCESSES)
    batch = sample_batch(options.images, options.size_px)["uint8"]
    images = np.ascontiguousarray(batch.permute(0, 2, 3, 1).numpy())
    print(f"ms/image, {options.size_px} px, {options.mode} mode, batches of {options.images}")
    packages = " ".join(f"{package:>17s}" for package in PACKAGES)
    ratios = f"{'ratio':>7s} {'best':>6s}"
    print(f"{'corruption':20s} {'severity':>5s} {'noctule':>9s} {packages} {ratios}")
    peers = {package: Peer(package, images) for package in PACKAGES}
    severities = SEVERITIES if options.all_severities else (SEVERITY,)
    lines: dict[tuple[str, int], dict[str, list[float]]] = {
        (name, severity): {side: [] for side in ("noctule", *PACKAGES)}
        for name in options.only
        for severity in severities
    }
    try:
        for _ in range(options.passes):
            for (name, severity), found in lines.items():
                sides = {"noctule": our_side(name, severity, batch, options.mode)}
                sides |= {package: peer.side(name, severity) for package, peer in peers.items()}
                for side, times in time_in_turns(sides, options.rounds).items():
                    found[side] += times
    finally:
        for peer in peers.values():
            peer.stop()
    sys.exit(
        0 if targets_are_met([report(*line, found) for line, found in lines.items()]) else 1
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = [*COMMON, *VALIDATION]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=MODES, default="released")
    parser.add_argument("--all-severities", action="store_true")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    return parser.parse_args()


def time_in_turns(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    """Ms per image of each side in each round; infinite for one that fails."""
    calls = {}
    for name, side in sides.items():
        side.run(1)  # compiles, reads textures, fills tables
        once_s = side.run(1)
        calls[name] = max(1, round(TURN_S / once_s)) if once_s > 0 else 1
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            time.sleep(PAUSE_S)
            seconds = sides[name].run(calls[name])
            found[name].append(1e3 * seconds / calls[name] / sides[name].images)
    return found


def report(name: str, severity: int, found: dict[str, list[float]]) -> Ratios:
    """Print one line; the fastest package's time over ours."""
    ms = {side: statistics.median(values) for side, values in found.items()}
    least = {side: min(values) for side, values in found.items()}
    ratios = Ratios(
        *(min(side[package] for package in PACKAGES) / side["noctule"] for side in (ms, least))
    )
    line = f"{name:20s} {severity:5d} {ms['noctule']:9.4f} "
    for package in PACKAGES:
        star = "*" if (package, name) in OTHER_WORK else " "
        line += (
            f"{ms[package]:17.4f}{star}" if math.isfinite(ms[package]) else f"{'fails':>17s} "
        )
    print(f"{line}{ratios.median:7.2f}{ratios.least:7.2f}", flush=True)
    return ratios


def targets_are_met(lines: Sequence[Ratios]) -> bool:
    """Print the mean and the worst ratios; by the medians, whether they are good enough."""
    print("the fastest package's time over noctule's:")
    say("least disturbed rounds", [line.least for line in lines])
    return say("median rounds", [line.median for line in lines])


def say(which: str, ratios: Sequence[float]) -> bool:
    """Print one kind of ratios, and return whether they meet the targets."""
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    slower = sum(ratio < TARGET for ratio in ratios)
    print(f"  {which}: {mean:.2f} in the geometric mean (target {MEAN_TARGET:g}), at least "
          f"{min(ratios):.2f} (target {TARGET:g}); "
          f"slower in {slower} of {len(ratios)}")  # fmt: skip
    return slower == 0 and mean >= MEAN_TARGET


# ------------------------------------------------------------------------------------ two sides


def our_side(name: str, severity: int, batch: torch.Tensor, mode: Mode) -> Side:
    """Ours: batches, whose images have other ids in every call."""
    corruption, count = CORRUPTIONS[name].in_mode(mode), len(batch)
    calls_so_far = itertools.count()

    def run(calls: int) -> float:
        start = time.perf_counter()
        for number in itertools.islice(calls_so_far, calls):
            ids = range(number * count, (number + 1) * count)
            corruption(batch, ids=ids, severity=severity)
        return time.perf_counter() - start

    return Side(count, run)


class Peer:
    """A package in as many processes as there are cores, each with one thread."""

    def __init__(self, package: str, images: NDArray[np.uint8]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connections: list[Connection] = []
        self.processes = []
        for _ in range(PROCESSES):
            here, there = spawn.Pipe()
            process = spawn.Process(target=serve, args=(package, images, there), daemon=True)
            with one_thread():
                process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)

    def side(self, name: str, severity: int) -> Side:
        """One call makes one image in each process; the slower process counts."""
        published = CORRUPTIONS[name].published_name

        def run(calls: int) -> float:
            for connection in self.connections:
                connection.send((published, severity, calls))
            return max(float(connection.recv()) for connection in self.connections)

        return Side(PROCESSES, run)

    def stop(self) -> None:
        """End the processes."""
        for connection in self.connections:
            connection.close()  # ends its loop
        for process in self.processes:
            process.join()


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes started now have one thread in the libraries that ask the environment."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def serve(package: str, images: NDArray[np.uint8], connection: Connection) -> None:
    """Take (published name, severity, calls) and give the seconds taken, until it closes."""
    import cv2  # here, because our side must not depend on it

    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    corrupt = import_peer(package).corrupt
    while True:
        try:
            name, severity, calls = connection.recv()
        except EOFError:
            return
        start = time.perf_counter()
        try:
            for number in range(calls):
                image = images[number % len(images)]
                corrupt(image, severity=severity, corruption_name=name)
        except Exception as error:  # whatever it is, this package does not run it
            print(f"{package} fails at {name}: {error!r}", file=sys.stderr)
            connection.send(math.inf)
        else:
            connection.send(time.perf_counter() - start)


if __name__ == "__main__":
    main()
