"""Corruptions do not depend on what a program around them has set, nor fill its memory."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from corruption_cases import each, sample_images
from noctule import CORRUPTIONS
from noctule.corruptions import MODES, Corruption, Mode, corrupt

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Default(TorchDispatchMode):
    """Notes where the package makes a tensor of the default dtype, if that is bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(getattr(leaf, "dtype", None) == torch.bfloat16 for leaf in tree_leaves(result)):
            frames = [
                f for f in traceback.extract_stack() if "noctule" in Path(f.filename).parts
            ]
            self.found.add(f"{frames[-1].filename}:{frames[-1].lineno}")
        return result


def forget_tables() -> None:
    """Tables that earlier calls have made would hide how they are made."""
    for one in gc.get_objects():
        is_table = type(one) is functools._lru_cache_wrapper
        if is_table and str(getattr(one, "__module__", "")).startswith("noctule.corruptions"):
            one.cache_clear()


@each
def test_nothing_is_of_the_default_dtype(c: Corruption) -> None:
    """Of any size: a scalar added to whole numbers gives bfloat16, of eight bits, otherwise."""
    forget_tables()
    with default_dtype(torch.bfloat16), Default() as seen:
        for mode in MODES if c.has_modes and c.name != "frost" else MODES[:1]:
            for dtype in (torch.uint8, torch.float32):
                c.in_mode(mode)(sample_images(2, 32, 48, dtype=dtype), ids=[0, 1], seed=1)
    assert not seen.found


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_images_are_the_same_whatever_the_default_dtype(dtype: torch.dtype) -> None:
    images = sample_images(1, 224, 288, dtype=torch.float32)
    names = ("thumbnail_resize", "elastic", "translation", "backlight", "checkerboard_cutout")
    for name in names:
        expected = corrupt(images, name, ids=[0])
        forget_tables()
        with default_dtype(dtype):
            assert corrupt(images, name, ids=[0]).equal(expected), name


# --------------------------------------------------------------------------------------- memory

# Of a strip of 16 × 8000 px: 0.4 MB as bytes. A square of its length takes 256 MB as float32.
MOST_MB = 128
# The map of fog is a square, whose lowest and highest values count.
MORE_MB = {"fog": 192}
RESET = Path("/proc/self/clear_refs")


def peak_mb() -> int:
    """The most memory since the last reset."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not os.access(RESET, os.W_OK), reason="Linux counts the peak of a process")
@pytest.mark.parametrize("shape", [(16, 8000), (8000, 16)], ids=["wide", "tall"])
@each
def test_a_strip_takes_memory_in_proportion_to_its_pixels(
    c: Corruption, shape: tuple[int, int]
) -> None:
    image = sample_images(1, *shape)
    for mode in MODES if c.name in {"elastic_transform", "perlin_noise"} else MODES[:1]:
        c.in_mode(mode)(sample_images(1, 32, 32), severity=1)  # tables do not count
        RESET.write_text("5")
        before = peak_mb()
        c.in_mode(mode)(image, severity=1)
        assert peak_mb() - before < MORE_MB.get(c.name, MOST_MB)


# --------------------------------------------------------------------------------- the program


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=300
    )


def test_warnings_as_errors_break_nothing() -> None:
    program = """
import warnings, torch, noctule
warnings.simplefilter("error")
for name, corruption in noctule.CORRUPTIONS.items():
    for mode in noctule.corruptions.MODES if name != "frost" else ["paper"]:
        corruption.in_mode(mode)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), severity=1)
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_import_works_without_fork_and_without_the_codecs_of_torchvision() -> None:
    """As on Windows, and as torchvision has announced."""
    program = """
import os, torch, torchvision.io
del os.register_at_fork, torchvision.io.encode_jpeg, torchvision.io.decode_jpeg
import noctule
noctule.corrupt(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "jpeg_compression", severity=1)
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------ forms of images


def test_a_rounding_excess_is_clamped() -> None:
    """1.0000001 is one float32 step above white; −1e-7 is what a subtraction leaves."""
    images = sample_images(2, 32, 32, dtype=torch.float32)
    images[:, :, :4] = 1.0
    images[:, :, 4:8] = 0.0
    expected = corrupt(images, "shear", ids=[0, 1])
    excess = images.clone()
    excess[:, :, :4] = 1.0000001
    excess[:, :, 4:8] = -1e-7
    before = excess.clone()
    assert corrupt(excess, "shear", ids=[0, 1]).equal(expected)
    assert excess.equal(before)


@pytest.mark.parametrize("mode", MODES)
@each
def test_corruptions_can_be_hashed(c: Corruption, mode: Mode) -> None:
    moded = c.in_mode(mode)
    assert hash(moded) == hash(CORRUPTIONS[c.name].in_mode(mode))
    assert {moded: 1}[CORRUPTIONS[c.name].in_mode(mode)] == 1
