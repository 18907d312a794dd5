"""Compiling all loops before they are needed, as for an image of a container."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import torch

from noctule.corruptions import CORRUPTIONS
from noctule.corruptions.checks import MIN_SIDE_PX
from noctule.corruptions.loops.driver import loop_of

DTYPES = (torch.uint8, torch.float32)


def compile_all() -> int:
    """Compile the loops of all corruptions, or load those that are compiled already.

    noctule's own are shared among as many processes as there are processors.

    Returns:
        The number of loops.
    """
    own = [name for name in CORRUPTIONS if CORRUPTIONS.plugin_of(name) is None]
    spawn = multiprocessing.get_context("spawn")  # Numba's threads do not survive a fork
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        count = sum(pool.map(_compile, own))
    return count + sum(_compile(name) for name in CORRUPTIONS if name not in own)


def _compile(name: str) -> int:
    """Corrupt a small image of each dtype, in a layout that is packed and unpacked."""
    corruption, count = CORRUPTIONS[name], 0
    for dtype in DTYPES:
        if loop_of(corruption, dtype):
            image = torch.zeros(1, corruption.channels or 3, MIN_SIDE_PX, MIN_SIDE_PX)
            corruption(image.to(dtype).contiguous(memory_format=torch.channels_last))
            count += 1
    return count
