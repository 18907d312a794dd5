"""Running compiled loops over the images of a batch, in torch's number of threads."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import LOOPS, CompiledLoop
from noctule.corruptions.loops.hashing import in_unit_interval
from noctule.corruptions.registry import CORRUPTIONS
from noctule.corruptions.threads import in_threads

if TYPE_CHECKING:
    from noctule.corruptions.spec import Corruption, Drawn

Array = NDArray[Any]

# Small batches are not worth the time that it takes to wake another thread.
VALUES_PER_THREAD = 1 << 16
# glibc returns freed memory to the system immediately, so that every large buffer costs page
# faults (measured: up to half the time), until a block of about this size has been freed once.
PRIMING_BYTES = (1 << 25) - (1 << 16)


def loop_of(corruption: Corruption, dtype: torch.dtype) -> CompiledLoop | None:
    """The compiled loop of a corruption, or None if it has none."""
    return _loop_of(corruption, str(dtype).removeprefix("torch."))


def _loop_of(corruption: Corruption, dtype: str) -> CompiledLoop | None:
    if _may_have_loop(corruption.name, corruption.kernel):
        return LOOPS.get((corruption.name, dtype))
    return None


@functools.lru_cache(maxsize=1024)
def _may_have_loop(name: str, kernel: Callable[..., Any]) -> bool:
    """Import the module of a kernel's loop, unless the kernel is not the registered one.

    noctule's own mirrors the kernel's module; a plugin's is the kernel's module.
    """
    if name not in CORRUPTIONS or CORRUPTIONS[name].kernel is not kernel:
        return False
    package, _, rest = kernel.__module__.partition("corruptions.")
    if package == "noctule.":
        mirror = f"{package}corruptions.loops.{rest}"
        try:
            importlib.import_module(mirror)
        except ModuleNotFoundError as error:
            if error.name != mirror:
                raise
    torch.empty(PRIMING_BYTES, dtype=torch.uint8)  # never written, so it takes no memory
    return True


def run(corruption: Corruption, images: Array, out: Array, drawn: Drawn) -> bool:
    """Corrupt a batch of images, unless the corruption has no loop.

    Args:
        corruption: The corruption, whose mode counts.
        images: uint8 or float32 (batch, channels, height, width), with any strides.
        out: Array for the results, as from `empty_like`.
        drawn: Parameters of each image.

    Returns:
        Whether it has a loop.
    """
    loop = _loop_of(corruption, "uint8" if images.itemsize == 1 else "float32")
    if loop is None:
        return False
    released = corruption.mode == "released"
    for which, tables in _groups(loop, corruption, images.shape, drawn.values):
        arguments = (loop, images, out, drawn, which, released, tables)
        # In Python, threads wait for each other between images.
        values = math.prod(images.shape[1:]) * (1 if loop.in_python else len(which))
        if len(which) > 1 and values >= VALUES_PER_THREAD:
            in_threads(functools.partial(_run_part, *arguments), len(which))
        else:
            _run_part(*arguments)
    return True


def empty_like(images: Array) -> Array:
    """An array for results: of contiguous pixels if the images are, else contiguous."""
    pixels = _as_pixels(images)
    if pixels is None:
        return np.empty(images.shape, images.dtype)
    return np.empty(pixels.shape, images.dtype).transpose(0, 3, 1, 2)


def _as_pixels(images: Array) -> Array | None:
    """RGB images as (batch, height, width, 3), if they are so in memory."""
    if images.flags.c_contiguous or images.shape[1] != 3:
        return None
    pixels = images.transpose(0, 2, 3, 1)
    return pixels if pixels.flags.c_contiguous else None


def are_in_unit_interval(images: Array) -> bool:
    """Whether all values of float32 images, contiguous, are in [0, 1], and none is −0."""
    values = images.reshape(-1)
    found: list[bool] = []

    def check(part: slice) -> None:
        found.append(in_unit_interval(values[part]))

    if len(values) >= 16 * VALUES_PER_THREAD:  # which takes 40 µs
        in_threads(check, len(values))
    else:
        check(slice(None))
    return all(found)


def _run_part(
    loop: CompiledLoop,
    images: Array,
    out: Array,
    drawn: Drawn,
    which: Array,
    released: bool,
    tables: list[Array],
    part: slice = slice(None),
) -> None:
    which = which[part]
    if images.flags.c_contiguous:
        loop.run(images, out, *drawn, which, False, released, *tables)
        return
    pixels = _as_pixels(images)
    if pixels is not None:
        loop.run(pixels, out.transpose(0, 2, 3, 1), *drawn, which, True, released, *tables)
        return
    for i in which:  # one copy at a time, to save memory
        image, values, keys = images[i : i + 1].copy(), *(v[i : i + 1] for v in drawn)
        loop.run(image, out[i : i + 1], values, keys, _indices(1), False, released, *tables)


def _groups(
    loop: CompiledLoop, corruption: Corruption, shape: tuple[int, ...], values: Array
) -> list[tuple[Array, list[Array]]]:
    """The indices of images with equal tables, and the tables."""
    if not loop.tables:
        return [(_indices(len(values)), [])]
    _, channels, height, width = shape
    released = corruption.mode == "released"
    known = {"channels": channels, "height": height, "width": width, "released": released}
    names, groups = loop.table_arguments, dict[tuple[float, ...], list[int]]()
    for index, row in enumerate(values.tolist()):
        known.update(zip(corruption.draws, row, strict=True))
        groups.setdefault(tuple([known[name] for name in names]), []).append(index)
    return [
        (np.array(indices), loop.make_tables(dict(zip(names, group, strict=True))))
        for group, indices in sorted(groups.items())
    ]


@functools.lru_cache(maxsize=64)
def _indices(count: int) -> Array:
    return np.arange(count)
