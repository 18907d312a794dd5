"""Milliseconds per image of ImageNet-C's 19 corruptions, beside every package made from it.

    PYTHONPATH=tests:tests/helpers python scripts/peers.py [--size-px 32 224 640x480]
        [--images 32] [--severities 3] [--passes 3] [--rounds 3] [--only fog snow]

Sides get what their interfaces ask for, in memory and of bytes:

    batch     noctule: a batch (images, 3, height, width), with new ids in each call, and two
              threads. A package: one image (height, width, 3) in each call of its `corrupt`,
              in two processes of one thread at once.
    single    One image in each call, one thread, on both sides. noctule.compat.corrupt gets the
              image as a package does, noctule.corrupt gets it as a tensor (1, 3, height, width)
              with an id.

Lengths are in pixels of the image, as in noctule.compat.corrupt; only noctule.corrupt scales
them with the image, as elsewhere in noctule. Packages make a PIL image of theirs, but for
corrupt-tta; what corrupt-tta returns is left as floats. The ratio is the fastest package's time
over noctule's. A star marks a package that does other, mostly less, work than the authors'
program (see tests/helpers/imagenet_c_peers.py); it counts all the same. A package that fails,
as some do at 32 px, does not count.

`make setup` installs the packages. imagecorruptions-imaug has the same modules as
imagecorruptions, and hence a folder of its own.

With `--passes 1`, packages are for the most part as in a program's first minutes: the C library
hands their memory back to the system after each image, and takes it again by hundreds of page
faults (gaussian_noise takes a third longer). Once a large block was freed, as in zoom_blur, it
keeps memory.

Exits with 1 unless the targets are met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from noctule import compat
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Mode, corrupt
from timing import (
    CORES,
    Call,
    RgbImages,
    Side,
    Table,
    Target,
    Team,
    Worker,
    channels_first,
    compare,
    comparison_parser,
    parse_comparison,
    serve,
)

PACKAGES = ("imagecorruptions", "imagecorruptions-imaug", "imgcorr", "corrupt_tta")
IMAUG_FOLDER = Path(sys.prefix) / "imagecorruptions-imaug"
OURS = {"batch": ["noctule"], "single": ["compat.corrupt", "corrupt"]}
TARGETS = {"batch": Target(8.0, 1.2), "single": Target(4.0, 1.0)}


def main() -> None:
    """Time everything, print tables and say whether the targets are met."""
    parser = comparison_parser(__doc__, [*compat.COMMON, *compat.VALIDATION])
    parser.add_argument("--severities", type=int, choices=SEVERITIES, nargs="+", default=[3])
    parser.add_argument("--mode", choices=MODES, default="released")
    options = parse_comparison(parser)
    met = compare(__file__, options, partial(tables, options))
    sys.exit(0 if met or options.quick else 1)


def tables(options: argparse.Namespace, team: Team) -> Iterator[Table]:
    """A table for batches and one for single images, at each severity."""
    from imagenet_c_peers import OTHER_WORK

    workers = {"noctule": team.start("noctule")}
    for package in PACKAGES:
        path = [IMAUG_FOLDER] if package == "imagecorruptions-imaug" else []
        workers[package] = team.start(package, count=CORES, path=path)
    for severity in options.severities:
        for kind, ours in OURS.items():
            lines = {
                name: sides(kind, name, severity, options, workers) for name in options.only
            }
            title = f"ImageNet-C, severity {severity}, {options.mode} mode, {kind}"
            yield Table(title, lines, ours, TARGETS[kind], OTHER_WORK)


def sides(
    kind: str,
    name: str,
    severity: int,
    options: argparse.Namespace,
    workers: dict[str, list[Worker]],
) -> dict[str, Side]:
    """The sides of one corruption."""
    batch = kind == "batch"
    size = (options.images, CORES) if batch else (1, 1)
    request = {"name": name, "severity": severity, "mode": options.mode}
    found = {
        how: Side(workers["noctule"], {**request, "how": how}, *size) for how in OURS[kind]
    }
    request = {"name": CORRUPTIONS[name].published_name, "severity": severity}
    for package in PACKAGES:
        found[package] = Side(workers[package] if batch else workers[package][:1], request)
    return found


# ---------------------------------------------------------------------- the processes of a side


def serve_package(package: str, images: RgbImages) -> None:
    """Time a package's function."""
    if package == "imagecorruptions-imaug":  # the one that needs no adaptation
        from imagecorruptions import corrupt as function
    else:
        from imagenet_c_peers import import_peer

        function = import_peer(package).corrupt

    def prepare(name: str, severity: int) -> Call:
        return lambda number: function(
            images[number % len(images)], severity=severity, corruption_name=name
        )

    serve(prepare)


def serve_noctule(images: RgbImages) -> None:
    """Time noctule's functions; random numbers are others in each call."""
    batch = channels_first(images)
    alone = batch.split(1)
    count, side_px = len(images), min(images.shape[1:3])

    def prepare(name: str, how: str, severity: int, mode: Mode) -> Call:
        corruption = CORRUPTIONS[name].in_mode(mode)
        if how == "compat.corrupt":
            published = corruption.published_name
            return lambda number: compat.corrupt(
                images[number % count], severity, published, seed=number // count, mode=mode
            )
        if how == "corrupt":
            return lambda number: corrupt(
                alone[number % count], name, ids=[number], severity=severity, mode=mode
            )
        in_pixels = compat._in_pixels(corruption, side_px)
        return lambda number: in_pixels(
            batch, ids=range(number * count, (number + 1) * count), severity=severity
        )

    serve(prepare)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        path, side = sys.argv[2:]
        if side == "noctule":
            serve_noctule(np.load(path))
        else:
            serve_package(side, np.load(path))
    else:
        main()
