"""Time and memory of every corruption, and how they grow with the image and the batch.

    python scripts/growth.py [--rounds 5] [--turn-s 0.05] [--mode paper] [--only rain fog]
        [--out docs/performance.svg]

Prints a table:

    ms           Per image of a batch of 32 at 224 px, uint8 and float32, two threads.
    copies       The same as a multiple of copying the batch.
    side         Exponent x of time ~ side^x, from 256 to 2048 px, for one uint8 image in each
                 call and one thread. 2 is linear in pixels.
    batch        Exponent x of time ~ batch^x, from 16 to 256 uint8 images of 224 px, two
                 threads.
    4 MP, 256    Peak memory of one uint8 image of 2048 × 2048 px, and of a batch of 256 at 224
                 px, beyond the images, in multiples of their memory. The result alone is 1.

and draws time against side and batch. All sizes are timed in turns, and the median of the
rounds counts. Every call has other ids, hence other parameters, and drawing them is included.
ImageNet-NOC's corruptions are drawn from their full range; the others have severity 3.
Memory is measured in new processes, which Linux alone allows.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import math
import multiprocessing
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from noctule.corruptions import CORRUPTIONS, MODES
from previous import SEVERITY, benchmark_of
from timing import CORES, Call, add_quick, channels_first, markdown, sample_images, shown

if TYPE_CHECKING:
    import altair as alt

COPY = "copying"
SIDES = (32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FITTED_FROM = {"side": 256, "batch": 16}
SIDE_PX, BATCH, LARGE_PX = 224, 32, 2048
PATH = Path(__file__).parents[1] / "docs" / "performance.svg"


class Case(NamedTuple):
    """What is timed.

    Attributes:
        name: Of the corruption, or `COPY`.
        dtype: Of the images.
        batch: Number of images.
        side_px: Their side.
        threads: Number of threads.
    """

    name: str
    dtype: str
    batch: int
    side_px: int
    threads: int = CORES


def main() -> None:
    """Measure everything, print the table and draw the chart."""
    options = parse_arguments()
    names = [COPY, *options.only]
    shapes = [(1, side, 1) for side in options.sides]
    shapes += [(batch, SIDE_PX, CORES) for batch in {*options.batches, BATCH}]
    cases = [Case(name, "uint8", *shape) for shape in shapes for name in names]
    cases += [Case(name, "float32", BATCH, SIDE_PX) for name in names]
    times = time_cases(cases, options)
    memory = peak_memory(options)
    print(markdown([row_of(name, times, memory, options) for name in ("", *names)]))
    slowest = sorted(options.only, key=lambda name: -times[Case(name, "uint8", BATCH, SIDE_PX)])
    print(f"\nslowest: {', '.join(slowest[:5])}")
    draw(times, options)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = list(CORRUPTIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-s", type=float, default=0.05)
    parser.add_argument("--mode", choices=MODES, default="paper")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--out", type=Path, default=PATH)
    parser.set_defaults(sides=SIDES, batches=BATCHES, large_px=LARGE_PX)
    add_quick(parser)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(
            rounds=1, turn_s=0.0, only=options.only[:2], sides=(32, 256, 512),
            batches=(1, 16, 17), large_px=256,
        )  # fmt: skip
    return options


def time_cases(cases: Sequence[Case], options: argparse.Namespace) -> dict[Case, float]:
    """Median seconds per call."""
    times: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        for (dtype, batch, side_px, threads), group in itertools.groupby(
            cases, key=lambda case: case[1:]
        ):
            torch.set_num_threads(threads)
            images = channels_first(sample_images(batch, (side_px, side_px)), dtype)
            for case in group:
                call = call_of(case.name, images, options.mode)
                times[case].append(seconds_per_call(call, options.turn_s))
    return {case: statistics.median(values) for case, values in times.items()}


def call_of(name: str, images: Tensor, mode: str) -> Call:
    """A call of a corruption, or a copy."""
    if name == COPY:
        return lambda number: images.clone()
    corruption, count = CORRUPTIONS[name].in_mode(mode), len(images)
    severity = SEVERITY[benchmark_of(name)]
    return lambda number: corruption(
        images, ids=range(number * count, (number + 1) * count), severity=severity
    )


def seconds_per_call(call: Call, turn_s: float) -> float:
    """Mean over about this time, after a call that does not count."""
    call(0)
    start = time.perf_counter()
    for number in itertools.count(1):
        call(number)
        seconds = time.perf_counter() - start
        if seconds >= turn_s:
            break
    return seconds / number


def row_of(
    name: str,
    times: Mapping[Case, float],
    memory: Mapping[str, tuple[float, float]],
    options: argparse.Namespace,
) -> list[str]:
    """One row of the table; the heading without a name."""
    if not name:
        return [
            "",
            "ms, uint8",
            "copies",
            "ms, float32",
            "copies",
            "side",
            "batch",
            "4 MP",
            "256",
        ]
    row = [name]
    for dtype in ("uint8", "float32"):
        seconds = times[Case(name, dtype, BATCH, SIDE_PX)]
        copying = times[Case(COPY, dtype, BATCH, SIDE_PX)]
        row += [shown(1e3 * seconds / BATCH), shown(seconds / copying)]
    by_side = {side: times[Case(name, "uint8", 1, side, 1)] for side in options.sides}
    by_batch = {batch: times[Case(name, "uint8", batch, SIDE_PX)] for batch in options.batches}
    row += [
        f"{exponent(by_side, FITTED_FROM['side']):.2f}",
        f"{exponent(by_batch, FITTED_FROM['batch']):.2f}",
    ]
    return row + [f"{value:.1f}" for value in memory.get(name, (1.0, 1.0))]


def exponent(seconds: Mapping[int, float], first: int) -> float:
    """Slope of the logarithms, by least squares.

    >>> round(exponent({1: 9.0, 2: 4.0, 4: 16.0, 8: 64.0}, first=2), 6)
    2.0
    """
    points = [
        (math.log(size), math.log(value)) for size, value in seconds.items() if size >= first
    ]
    return statistics.linear_regression(*zip(*points, strict=True)).slope


# --------------------------------------------------------------------------------------- memory


def peak_memory(options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Peaks for a large image and for many images, by corruption, each in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["noctule.corruptions", "previous"])
    shapes = [(1, options.large_px), (max(options.batches), SIDE_PX)]
    with context.Pool(1, maxtasksperchild=1) as pool:
        peaks = pool.starmap(
            peak_copies,
            [(name, *shape, options.mode) for name in options.only for shape in shapes],
            chunksize=1,
        )
    return dict(zip(options.only, zip(peaks[::2], peaks[1::2], strict=True), strict=True))


def peak_copies(name: str, batch: int, side_px: int, mode: str) -> float:
    """Peak memory of one call beyond the images, in multiples of their memory."""
    torch.set_num_threads(CORES)
    small = channels_first(sample_images(2, (SIDE_PX, SIDE_PX)))
    call_of(name, small, mode)(0)  # compiles, reads textures, fills tables
    images = channels_first(sample_images(batch, (side_px, side_px)))
    call = call_of(name, images, mode)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident_bytes("VmRSS")
    call(0)
    return (resident_bytes("VmHWM") - before) / images.nbytes


def resident_bytes(which: str) -> int:
    """Resident memory of this process: "VmRSS" now, "VmHWM" at its peak."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{which}:\s*(\d+) kB", status)[1])


# ---------------------------------------------------------------------------------------- chart


def draw(times: Mapping[Case, float], options: argparse.Namespace) -> None:
    """Draw time against the side and against the batch."""
    import altair as alt

    from noctule.report.charts import Figure, save_figure

    panels = [
        panel(
            "side of one image, px; one thread", "ms per image",
            {(name, side): 1e3 * times[Case(name, "uint8", 1, side, 1)]
             for name in [COPY, *options.only] for side in options.sides},
        ),
        panel(
            f"images of {SIDE_PX} px in a batch; two threads", "ms per batch",
            {(name, batch): 1e3 * times[Case(name, "uint8", batch, SIDE_PX)]
             for name in [COPY, *options.only] for batch in options.batches},
        ),
    ]  # fmt: skip
    figure = Figure(
        "performance",
        "Time of the corruptions.",
        "Two charts with logarithmic axes: time against the side of an image, and against the "
        "number of images. All lines are straight, and parallel to that of copying, once "
        "images or batches are large.",
        alt.hconcat(*panels),
        responsive=False,
    )
    save_figure(figure, options.out)


def panel(x_title: str, y_title: str, ms: Mapping[tuple[str, int], float]) -> alt.LayerChart:
    """Lines through the points, on logarithmic axes."""
    import altair as alt

    from noctule.report.charts import COLORS, layered

    names = list(dict.fromkeys(name for name, _ in ms))
    sizes = list(dict.fromkeys(size for _, size in ms))
    mean = "geometric mean"
    for size in sizes:
        ms_of = [ms[name, size] for name in names if name != COPY]
        ms = {**ms, (mean, size): math.exp(statistics.fmean(map(math.log, ms_of)))}
    series = dict.fromkeys(names, "each corruption") | {COPY: COPY, mean: mean}
    records = [
        {"name": name, "series": series[name], "size": size, "ms": value}
        for (name, size), value in ms.items()
    ]
    data = alt.Chart(alt.InlineData(values=records))
    powers = [10.0**power for power in range(-6, 6)]
    color = alt.Color(
        "series:N",
        scale=alt.Scale(
            domain=["each corruption", mean, COPY], range=["#bbbbbb", COLORS[0], COLORS[1]]
        ),
        legend=alt.Legend(title=None, orient="top"),
    )
    lines = data.encode(
        x=alt.X("size:Q", title=x_title, scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(values=sizes, format="d")),
        y=alt.Y("ms:Q", title=y_title, scale=alt.Scale(type="log"),
                axis=alt.Axis(values=powers, format="~g")),
        detail="name:N",
        color=color,
    )  # fmt: skip
    each = lines.transform_filter("datum.series == 'each corruption'").mark_line(
        strokeWidth=0.5
    )
    other = lines.transform_filter("datum.series != 'each corruption'").mark_line(strokeWidth=2)
    return layered(each, other).properties(width=215, height=215)


if __name__ == "__main__":
    main()
