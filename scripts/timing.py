"""Timing in turns: each side of a comparison is a process of its own, or several.

A program of this folder starts itself again with `--serve` for each side, and these processes
wait for requests. Turns take about `turn_s` seconds for each side, in reversed order every
other round, so that drift of the machine meets all sides; and all lines of a table are gone
through several times, so that a bad minute does not decide on one of them. The median over all
rounds counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:
    import torch

CORES = 2
PAUSE_S = 0.01  # threads of the other side spin for a moment
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Of the options of comparisons, for a run that shows only that everything works.
QUICK = {"sizes": [(32, 32)], "images": 2, "passes": 1, "rounds": 1, "turn_s": 0.0}

RgbImages = NDArray[np.uint8]  # (images, height, width, 3)
Size = tuple[int, int]  # width, height
Call = Callable[[int], object]  # given its number, which counts up
Times = Mapping[str, Mapping[str, Sequence[float]]]  # ms per image, by line and side


def comparison_parser(description: str, names: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the options of all comparisons."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--size-px", dest="sizes", type=parse_size, nargs="+", metavar="SIZE",
        default=[(32, 32), (224, 224), (640, 480)],
        help="sides of the images, such as 224 or 640x480",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=32, help="in a batch")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="in each pass")
    parser.add_argument("--turn-s", type=float, default=0.2)
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="NAME")
    add_quick(parser)
    return parser


def add_quick(parser: argparse.ArgumentParser) -> None:
    """The option that shows in seconds that everything works."""
    parser.add_argument("--quick", action="store_true", help="check the program, not speed")


def parse_comparison(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line; a quick run has two lines."""
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK, only=options.only[:2])
    return options


def parse_size(text: str) -> Size:
    """Width and height.

    >>> parse_size("224"), parse_size("640x480")
    ((224, 224), (640, 480))
    """
    width, _, height = text.partition("x")
    return int(width), int(height or width)


def sample_images(count: int, size: Size) -> RgbImages:
    """Photographs, scaled and cropped to this size, and repeated."""
    from noctule.data.sources.photo_patches import PhotoPatches, photograph

    names = PhotoPatches("test").class_names
    images = [
        np.asarray(
            ImageOps.fit(photograph(name).convert("RGB"), size, Image.Resampling.BICUBIC)
        )
        for name in names[:count]
    ]
    return np.stack([images[number % len(images)] for number in range(count)])


def channels_first(images: RgbImages, dtype: str = "uint8") -> torch.Tensor:
    """The images as noctule takes them: (images, 3, height, width)."""
    import torch

    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return batch if dtype == "uint8" else batch.float() / 255


# ---------------------------------------------------------------------- the processes of a side


class Worker:
    """A process that makes calls on request and times them."""

    def __init__(
        self, program: str, arguments: Sequence[str], path: Sequence[Path] = ()
    ) -> None:
        """Start it.

        Args:
            program: Path of the program, whose option `--serve` leads to `serve`.
            arguments: Its arguments after this option.
            path: Folders in which it looks for modules first.
        """
        known = os.environ.get("PYTHONPATH")
        folders = [*map(str, path), *([known] if known else [])]
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(folders)
        self.process = subprocess.Popen(
            [sys.executable, program, "--serve", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def begin(self, request: Mapping[str, Any]) -> None:
        """Let it begin with a request; see `serve`."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def seconds(self) -> float:
        """Wait for the answer: infinite if a call failed."""
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args!r} ended before it answered")
        return float(answer)

    def stop(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(prepare: Callable[..., Call]) -> None:
    """Answer requests until standard input ends, with the seconds that they took.

    A request is a line of JSON: the number of `calls`, the number of `threads` of each library,
    and the arguments of `prepare`, which returns the function to call. Its results are kept.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    warnings.simplefilter("ignore")
    prepared: dict[str, tuple[Call, Iterator[int]] | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        calls, threads = request.pop("calls"), request.pop("threads")
        key = json.dumps(request)
        seconds = math.inf
        try:
            if key not in prepared:
                prepared[key] = prepare(**request), itertools.count()
            set_threads(threads)
            if (found := prepared[key]) is not None:
                seconds = seconds_of(*found, calls)
        except Exception as error:  # whatever it is, this side does not run it
            print(f"{' '.join(sys.argv[3:])} fails at {request}: {error!r}", file=sys.stderr)
            prepared[key] = None
        print(seconds, file=answers, flush=True)


def set_threads(count: int) -> None:
    """Limit the threads of those libraries that are in use."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)


def seconds_of(call: Call, numbers: Iterator[int], calls: int) -> float:
    """Time of some calls, with the next of the numbers."""
    start = time.perf_counter()
    for number in itertools.islice(numbers, calls):
        call(number)
    return time.perf_counter() - start


# ----------------------------------------------------------------------------- the main process


class Side(NamedTuple):
    """One that is timed.

    Attributes:
        workers: Processes that run at the same time; the slowest counts.
        request: What each of them does in one call.
        images: Number of images that one call in each of them makes.
        threads: Number of threads of each of them.
    """

    workers: Sequence[Worker]
    request: Mapping[str, Any]
    images: int = 1
    threads: int = 1

    def seconds(self, calls: int) -> float:
        """Time of some calls."""
        for worker in self.workers:
            worker.begin({**self.request, "calls": calls, "threads": self.threads})
        return max([worker.seconds() for worker in self.workers])


class Target(NamedTuple):
    """What ratios should be at least.

    Attributes:
        mean: Their geometric mean.
        least: Each of them.
    """

    mean: float
    least: float


class Table(NamedTuple):
    """A comparison.

    Attributes:
        title: Heading.
        lines: The sides of each line, by their names.
        ours: Names of our sides. A ratio is the time of the fastest other side over the time of
            one of ours.
        target: What ratios should be at least, if anything.
        marks: Pairs (side, line) with a star.
        uncounted: Pairs (side, line) in parentheses, which ratios leave out.
    """

    title: str
    lines: Mapping[str, Mapping[str, Side]]
    ours: Sequence[str]
    target: Target | None = None
    marks: Collection[tuple[str, str]] = ()
    uncounted: Collection[tuple[str, str]] = ()


class Team:
    """The processes of all sides, which have the same images."""

    def __init__(self, program: str, images: RgbImages, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.images = Path(folder) / "images.npy"
        self.program, self.stack = program, stack
        np.save(self.images, images)

    def start(self, *arguments: str, count: int = 1, path: Sequence[Path] = ()) -> list[Worker]:
        """Start as many processes of one side; they get the path of the images first."""
        workers = [
            Worker(self.program, [str(self.images), *arguments], path) for _ in range(count)
        ]
        for worker in workers:
            self.stack.callback(worker.stop)
        return workers


def compare(
    program: str, options: argparse.Namespace, tables: Callable[[Team], Iterable[Table]]
) -> bool:
    """Time and print tables for each size of images; return whether all targets are met."""
    met = []
    for size in options.sizes:
        with ExitStack() as stack:
            for table in tables(Team(program, sample_images(options.images, size), stack)):
                print(f"\n### {table.title}, {size[0]} × {size[1]} px\n")
                met.append(report(table, time_lines(table.lines, options)))
                sys.stdout.flush()
    return all(met)


def time_lines(
    lines: Mapping[str, Mapping[str, Side]], options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    """Time the sides of each line in turns; a side that fails has infinite times."""
    times: dict[str, dict[str, list[float]]] = {
        line: {name: [] for name in sides} for line, sides in lines.items()
    }
    for _ in range(options.passes):
        for line, sides in lines.items():
            calls = {name: calls_per_turn(side, options.turn_s) for name, side in sides.items()}
            for number in range(options.rounds):
                for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                    time.sleep(PAUSE_S)
                    seconds = sides[name].seconds(calls[name])
                    images = calls[name] * sides[name].images * len(sides[name].workers)
                    times[line][name].append(1e3 * seconds / images)
    return times


def calls_per_turn(side: Side, turn_s: float) -> int:
    """Number of calls that take about this time, after calls that do not count."""
    side.seconds(1)  # compiles, reads textures, fills tables
    calls = 1
    while True:
        seconds = side.seconds(calls)
        if seconds >= turn_s / 4:
            return max(1, round(calls * turn_s / seconds))
        calls *= 8


# ------------------------------------------------------------------------------------ the table


def report(table: Table, times: Times) -> bool:
    """Print a Markdown table and a summary; return whether the target is met."""
    sides = list(dict.fromkeys(name for found in times.values() for name in found))
    heads = [f"ratio, {name}" if len(table.ours) > 1 else "ratio" for name in table.ours]
    rows = [["ms per image", *sides, *heads]]
    for line, found in times.items():
        row = [line]
        for name in sides:
            text = shown(statistics.median(found[name])) if name in found else "–"
            text += "*" if (name, line) in table.marks else ""
            row.append(f"({text})" if (name, line) in table.uncounted else text)
        ratios = [ratio(table, line, found, name, statistics.median) for name in table.ours]
        rows.append([*row, *map(shown, ratios)])
    print(markdown(rows) + "\n")
    met = [met_by(name, table, times) for name in table.ours]  # prints all
    return all(met)


def ratio(
    table: Table,
    line: str,
    found: Mapping[str, Sequence[float]],
    name: str,
    of: Callable[[Sequence[float]], float],
) -> float:
    """The time of the fastest other side that counts over that of ours; NaN if none runs."""
    others = {side for side in found if (side, line) not in table.uncounted} - {*table.ours}
    least = min((of(found[side]) for side in others), default=math.inf)
    return least / of(found[name]) if math.isfinite(least) else math.nan


def met_by(name: str, table: Table, times: Times) -> bool:
    """Print a summary of one of our sides, and return whether it meets the target."""
    met = True
    for which, of in (("least disturbed rounds", min), ("medians", statistics.median)):
        ratios = {line: ratio(table, line, found, name, of) for line, found in times.items()}
        ratios = {line: value for line, value in ratios.items() if not math.isnan(value)}
        if not ratios:
            print(f"{name}: nothing to compare with")
            return True
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        print(f"{name}, {which}: {shown(mean)} times as fast in the geometric mean of "
              f"{len(ratios)}, at least {shown(min(ratios.values()))}")  # fmt: skip
    if table.target is not None:
        below = [
            f"{line} {shown(ratio)}"
            for line, ratio in ratios.items()
            if ratio < table.target.least
        ]
        met = mean >= table.target.mean and not below
        verdict = "met" if met else "missed"
        print(f"  target {table.target.mean:g} and {table.target.least:g}: {verdict}; "
              f"below it: {', '.join(below) or 'none'}")  # fmt: skip
    return met


def shown(value: float) -> str:
    """Three digits, or that a side failed.

    >>> shown(0.012345), shown(1234.5), shown(math.inf), shown(math.nan)
    ('0.0123', '1234', 'fails', '–')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "fails"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table with a heading, whose columns but the first are aligned to the right."""
    head, *body = rows
    widths = [max(3, *(len(row[k]) for row in rows)) for k in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (head, rule, *body):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
