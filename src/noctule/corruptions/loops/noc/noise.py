"""Compiled loops of noise: gaussian."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.fields import half_normal_table
from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.random import fill_bits16


@functools.cache
def _half_normal() -> NDArray[np.float32]:
    return half_normal_table(torch.device("cpu")).numpy()


@loop("float32", tables={"half_normal": _half_normal})
def gaussian(image: Any, out: Any, sigma: float, noise: Any, half_normal: Any) -> None:
    """See `noctule.corruptions.noc.noise.gaussian`."""
    amplitude = np.float32(sigma)
    flat, result = image.ravel(), out.ravel()
    bits = np.empty(1024, np.uint16)
    for start in range(0, len(flat), len(bits)):
        part, changed = flat[start : start + len(bits)], result[start : start + len(bits)]
        words = bits[: len(part)]
        fill_bits16(noise, start, words)
        for i in range(len(part)):
            changed[i] = min(part[i] + half_normal[words[i]] * amplitude, np.float32(1))
