"""Running compiled loops over the images of a batch, in torch's number of threads."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import LOOPS, CompiledLoop
from noctule.corruptions.loops.layout import pack, unpack
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
    if not _may_have_loop(corruption.name, corruption.kernel):
        return None
    return LOOPS.get((corruption.name, str(dtype).removeprefix("torch.")))


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
        out: Array for the results, with the shape and dtype of the images and any strides.
        drawn: Parameters of each image.

    Returns:
        Whether it has a loop.
    """
    loop = loop_of(corruption, torch.uint8 if images.itemsize == 1 else torch.float32)
    if loop is None:
        return False
    released = corruption.mode == "released"
    for which, tables in _groups(loop, corruption, images, drawn.values):

        def work(part: slice, which: Array = which, tables: list[Array] = tables) -> None:
            _run_part(loop, images, out, drawn, which[part], released, tables)

        if len(which) > 1 and images[0].size * len(which) >= VALUES_PER_THREAD:
            in_threads(work, len(which))
        else:
            work(slice(None))
    return True


def _run_part(
    loop: CompiledLoop,
    images: Array,
    out: Array,
    drawn: Drawn,
    which: Array,
    released: bool,
    tables: list[Array],
) -> None:
    if images.flags.c_contiguous and out.flags.c_contiguous:
        loop.run(images, out, *drawn, which, released, *tables)
        return
    packed, result = (np.empty((1, *images.shape[1:]), images.dtype) for _ in range(2))
    only = _indices(1)
    for i in which:
        pack(images[i], packed[0])
        values, keys = drawn.values[i : i + 1], drawn.keys[i : i + 1]
        loop.run(packed, result, values, keys, only, released, *tables)
        unpack(result[0], out[i])


def _groups(
    loop: CompiledLoop, corruption: Corruption, images: Array, values: Array
) -> list[tuple[Array, list[Array]]]:
    """The indices of images with equal tables, and the tables."""
    if not loop.tables:
        return [(_indices(len(images)), [])]
    _, channels, height, width = images.shape
    released = corruption.mode == "released"
    known = {"channels": channels, "height": height, "width": width, "released": released}
    names = [name for name in corruption.draws if name in loop.drawn_by_tables]
    if not names:
        return [(_indices(len(images)), _tables(loop, known))]
    columns = [k for k, name in enumerate(corruption.draws) if name in names]
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, row in enumerate(values[:, columns].tolist()):
        groups.setdefault(tuple(row), []).append(index)
    return [
        (np.array(indices), _tables(loop, known | dict(zip(names, row, strict=True))))
        for row, indices in sorted(groups.items())
    ]


def _tables(loop: CompiledLoop, known: Mapping[str, Any]) -> list[Array]:
    return [
        table(**{name: known[name] for name in loop.table_parameters[key]})
        for key, table in loop.tables.items()
    ]


@functools.lru_cache(maxsize=64)
def _indices(count: int) -> Array:
    return np.arange(count)
