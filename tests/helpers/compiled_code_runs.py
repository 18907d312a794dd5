"""Programs that corrupt an image, for the tests of compiled code."""

from __future__ import annotations

import multiprocessing
import os
import sys
import zlib
from typing import Any

import torch

from noctule import corrupt
from noctule.corruptions.loops.compiling import LOOPS

IMAGES = (torch.arange(4 * 3 * 160 * 160) % 251).to(torch.uint8).view(4, 3, 160, 160)
"""Large enough to be shared among threads."""


def checksum() -> int:
    """The checksum of images that are corrupted in two threads."""
    torch.set_num_threads(2)
    return zlib.crc32(corrupt(IMAGES, "brightness", ids=range(4), change=0.1).numpy())


def loads() -> int:
    """How often this process loaded the loop's code instead of compiling it."""
    run: Any = LOOPS["brightness", "uint8"].run
    return sum(run.stats.cache_hits.values())


def audited() -> None:
    """Print the checksum, and every file and folder that is written."""
    written = []

    def note(event: str, arguments: Any) -> None:
        if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(arguments[0])
        elif event in ("os.mkdir", "os.rename"):
            written.append(arguments[event == "os.rename"])

    sys.addaudithook(note)
    print(checksum(), *(path for path in written if isinstance(path, str)), sep="\n")


def in_children() -> None:
    """Print the checksum of this process, of one forked after it, and of a spawned one."""
    print(checksum(), loads())
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found = (
                pool.apply_async(function).get(timeout=200) for function in (checksum, loads)
            )
            print(*found)
