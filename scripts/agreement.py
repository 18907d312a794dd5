"""Compares ImageNet-C with the packages made from its authors' code, at length.

    PYTHONPATH=tests:tests/helpers python scripts/agreement.py [--seeds 100]

Writes agreement.csv, agreement.md, imagenet-c.png and imagenet-c-bar.png in docs/. The
comparison is that of tests/corruptions/test_agreement.py, with more seeds: about 6 minutes on
2 idle cores.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from corruption_cases import CROPS
from imagenet_c_agreement import (
    BANDS,
    DETERMINISTIC,
    NAMES,
    STATISTICS,
    STOCHASTIC,
    compare,
    difference,
    our_images,
    sample,
    smallest_p_value,
    their_images,
)
from imagenet_c_images import write_images
from imagenet_c_peers import REFERENCES
from noctule.corruptions import SEVERITIES

DOCS = Path(__file__).parents[1] / "docs"
PROCESSES = 2
LEVELS_OF_255 = ("mean_change", "mean_abs_change", "spread")


class Row(NamedTuple):
    """A line of agreement.csv; empty where it does not apply.

    Of a deterministic corruption, `found` says how far the two images of a photograph are
    apart. Of a stochastic one, the others compare a statistic, averaged over the photographs.
    """

    corruption: str
    severity: int
    package: str
    photograph: str
    statistic: str
    found: float | None
    theirs: float | None
    their_sd: float | None
    ours: float | None
    our_sd: float | None
    seeds: int | None
    p_mean: float | None
    p_distribution: float | None


def main() -> None:
    """Compare everything and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    seeds = parser.parse_args().seeds
    conditions = [(name, severity, seeds) for name in NAMES for severity in SEVERITIES]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, spawn, torch.set_num_threads, (1,)) as pool:
        rows = [row for part in pool.map(compare_condition, conditions) for row in part]
    with (DOCS / "agreement.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows([_text(value) for value in row] for row in rows)
    (DOCS / "agreement.md").write_text(page(rows), encoding="utf-8")
    write_images(DOCS)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def compare_condition(condition: tuple[str, int, int]) -> list[Row]:
    """All lines on (corruption, severity, number of seeds)."""
    name, severity, seeds = condition
    compared = _same_images if name in DETERMINISTIC else _same_distributions
    return list(compared(name, severity, range(seeds)))


def _same_images(name: str, severity: int, seeds: Sequence[int]) -> Iterator[Row]:
    for crop in CROPS:
        (theirs,), (ours,) = (
            side(name, crop, severity=severity, seeds=seeds[:1])
            for side in (their_images, our_images)
        )
        for statistic, found in difference(theirs, ours)._asdict().items():
            package = REFERENCES[name].package
            yield Row(name, severity, package, crop, statistic, found, *[None] * 7)


def _same_distributions(name: str, severity: int, seeds: Sequence[int]) -> Iterator[Row]:
    theirs, ours = (
        sample(side, name, severity=severity, seeds=seeds)
        for side in (their_images, our_images)
    )
    for statistic, one in compare(theirs, ours).items():
        package = REFERENCES[name].package
        values = (one.theirs, one.their_sd, one.ours, one.our_sd, len(seeds))
        yield Row(
            name,
            severity,
            package,
            "",
            statistic,
            None,
            *values,
            one.p_mean,
            one.p_distribution,
        )


# ----------------------------------------------------------------------------------------- page


def page(rows: Sequence[Row]) -> str:
    """The text of agreement.md."""
    seeds = next(row.seeds for row in rows if row.seeds)
    lines = [row for row in rows if row.corruption in STOCHASTIC]
    smallest = min(
        _p_value(_of(lines, name, severity)) for name in STOCHASTIC for severity in SEVERITIES
    )
    conditions = len(STOCHASTIC) * len(SEVERITIES)
    return PAGE.format(
        references="\n".join(_reference_line(name) for name in NAMES),
        same="\n".join(_same_line(rows, name) for name in DETERMINISTIC),
        group_equal="\n".join(
            _alike_line(_of(lines, name, severity))
            for name in STOCHASTIC
            for severity in SEVERITIES
        ),
        seeds=seeds,
        statistics=len(STATISTICS),
        tests=2 * len(STATISTICS),
        conditions=conditions,
        limit=f"{0.01 / conditions:.5f}",
        smallest=f"{smallest:.2g}",
        verdict="above" if smallest > 0.01 / conditions else "below",
    )


def _of(rows: Sequence[Row], name: str, severity: int) -> dict[str, Row]:
    return {r.statistic: r for r in rows if (r.corruption, r.severity) == (name, severity)}


def _reference_line(name: str) -> str:
    return f"| `{name}` | {REFERENCES[name].package} | {REFERENCES[name].why} |"


def _same_line(rows: Sequence[Row], name: str) -> str:
    """PSNR by severity, and how far values are apart at most, over both photographs."""
    of_name = [row for row in rows if row.corruption == name]
    cells = []
    for severity in SEVERITIES:
        least = min(
            float(row.found or 0)
            for row in of_name
            if (row.severity, row.statistic) == (severity, "psnr_db")
        )
        cells.append("identical" if math.isinf(least) else f"{least:.1f}")
    most = max(int(row.found or 0) for row in of_name if row.statistic == "most_levels")
    return f"| `{name}` | {' | '.join(cells)} | {most} |"


def _alike_line(of: dict[str, Row]) -> str:
    first = of[STATISTICS[0]]
    cells = [_cell(of[key], 255) for key in LEVELS_OF_255] + [_cell(of["psnr_db"], 1)]
    band = max((of[key] for key in BANDS), key=lambda row: abs(_distance(row)) / _error(row))
    low = band.statistic.split("_")[1]
    cells.append(f"{_distance(band):+z.2f} ± {_error(band):.2f} (from {low})")
    cells.append(f"{_p_value(of):.2g}")
    return f"| `{first.corruption}` | {first.severity} | {' | '.join(cells)} |"


def _cell(row: Row, factor: float) -> str:
    """Theirs, what ours has more, and the standard error of that."""
    theirs, more, error = (
        f"{value * factor:{sign}z.2f}"
        for value, sign in ((row.theirs, ""), (_distance(row), "+"), (_error(row), ""))
        if value is not None
    )
    return f"{theirs} {more} ± {error}"


def _distance(row: Row) -> float:
    assert row.ours is not None
    assert row.theirs is not None
    return row.ours - row.theirs


def _error(row: Row) -> float:
    assert row.our_sd is not None
    assert row.their_sd is not None
    assert row.seeds is not None
    return math.hypot(row.our_sd, row.their_sd) / math.sqrt(row.seeds)


def _p_value(of: dict[str, Row]) -> float:
    found = [p for row in of.values() for p in (row.p_mean, row.p_distribution)]
    return smallest_p_value([p for p in found if p is not None])


PAGE = """\
# ImageNet-C beside the packages made from it

The authors of ImageNet-C published a program, `make_imagenet_c.py`. Three packages derive from
it: imagecorruptions, imgcorr (imagecorruptions for a newer NumPy) and corrupt-tta. This page
compares noctule's corruptions, in released mode, with these packages at every severity, on two
photographs of 224 × 224 px. `make agreement` writes this page; `make test` repeats the
comparison with fewer seeds. All numbers are in [agreement.csv](agreement.csv).

![The corruptions at five severities, by a package and by noctule](imagenet-c.png)

The image shows the package on the left and noctule on the right. The package's frost is
omitted, because it contains photographs that may not be distributed; noctule's frost is shown
in paper mode. [Another image](imagenet-c-bar.png) shows the corruptions of ImageNet-C-bar.

## Which package represents the authors' program

Every package changed something. The table lists the package that each corruption is compared
with, and why. imagecorruptions is not listed: with the same seed it equals imgcorr to the bit
(glass blur uses another random generator).

| corruption | package | why |
|---|---|---|
{references}

## Deterministic corruptions: the same image

PSNR in dB between the package's image and noctule's; the smaller value of two photographs. The
last column is the largest difference between two pixel values, in levels of 255, over all
severities.

| corruption | 1 | 2 | 3 | 4 | 5 | largest difference |
|---|---|---|---|---|---|---|
{same}

Where values differ by one level, they are close to a whole number, and float64 and float32
truncate them differently. If all values differed by one level, the PSNR would be 48.1 dB.

## Random corruptions: the same distribution

Both implementations corrupt both photographs with {seeds} seeds. For the change (corrupted
minus clean), {statistics} statistics are computed and averaged over the photographs: mean, mean
absolute value, spread (standard deviation over the image), red minus blue, PSNR against the
clean photograph, horizontal share of the gradients, displacement to the right and down, and
power in eight octaves of spatial frequency. A cell contains the package's mean over the seeds,
the difference of noctule's mean from it, and the standard error of that difference. Changes are
in levels of 255. The spectrum column gives the octave with the largest difference relative to
its standard error, in dB, and its lowest frequency, in cycles per image.

p is the smallest of {tests} p-values, multiplied by {tests} (Bonferroni): for every
statistic, Welch's test of the means and the Kolmogorov–Smirnov test of the distributions.
With {conditions} rows, a p below {limit} would mean a difference. The smallest is {smallest},
which is {verdict} it.

| corruption | severity | mean | mean absolute | spread | PSNR | spectrum | p |
|---|---|---|---|---|---|---|---|
{alike}

Not covered: sizes other than 224 px, where the packages keep lengths in pixels and noctule
scales them; and paper mode, whose departures are listed in the docstrings.
"""


if __name__ == "__main__":
    main()
