"""Running compiled loops over the images of a batch, in torch's number of threads."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import LOOPS, CompiledLoop
from noctule.corruptions.loops.hashing import in_unit_interval
from noctule.corruptions.loops.sharing import ALONE, share
from noctule.corruptions.registry import CORRUPTIONS
from noctule.corruptions.threads import in_threads

if TYPE_CHECKING:
    from noctule.corruptions.spec import Corruption, Drawn

Array = NDArray[Any]

# Below, waking another thread takes longer than it saves.
WORTH_A_THREAD_S = 1.5e-4
# Time per value of each loop when it last ran, by corruption and dtype.
_S_PER_VALUE: dict[tuple[str, str], float] = {}
# Tables that were made; to ask the functions that make them takes 8 to 16 µs.
_KNOWN_TABLES: dict[tuple[Any, ...], list[Array]] = {}
MOST_KNOWN, MOST_KNOWN_BYTES = 128, 1 << 17
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
        work = functools.partial(_run_images, loop, images, out, drawn, released, tables)
        if len(which) < 2:
            work(which, ALONE)
        else:
            _share_among_threads(work, loop, images, which)
    return True


def _share_among_threads(
    work: Callable[[Array, Array], int], loop: CompiledLoop, images: Array, which: Array
) -> None:
    """Call `work(which, counters)` in one thread, or in several if that saves time."""
    size, count = images[0].size, len(which)
    seconds = size * count * _S_PER_VALUE.get(loop.key, 1e-9)

    def timed_work(which: Array, counters: Array) -> None:
        start = time.perf_counter()
        if done := work(which, counters):
            _S_PER_VALUE[loop.key] = (time.perf_counter() - start) / (done * size)

    # In Python, threads wake each other several times for each image.
    if seconds < WORTH_A_THREAD_S * (4 * count if loop.in_python else 1):
        timed_work(which, ALONE)
    elif loop.in_python or not (images.flags.c_contiguous or _as_pixels(images) is not None):
        in_threads(lambda part: timed_work(which[part], ALONE), count)
    else:
        share(functools.partial(timed_work, which), count)


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

    if len(values) >= 1 << 20:  # which takes 40 µs
        in_threads(check, len(values))
    else:
        check(slice(None))
    return all(found)


def _run_images(
    loop: CompiledLoop,
    images: Array,
    out: Array,
    drawn: Drawn,
    released: bool,
    tables: list[Array],
    which: Array,
    counters: Array,
) -> int:
    """Corrupt some of the images, or those that this thread takes; return how many."""
    if images.flags.c_contiguous:
        return loop.run(images, out, *drawn, which, counters, False, released, *tables)
    if (pixels := _as_pixels(images)) is not None:
        target = out.transpose(0, 2, 3, 1)
        return loop.run(pixels, target, *drawn, which, counters, True, released, *tables)
    for i in which:  # one copy at a time, to save memory
        image, values, keys = images[i : i + 1].copy(), *(v[i : i + 1] for v in drawn)
        target = out[i : i + 1]
        loop.run(image, target, values, keys, _indices(1), ALONE, False, released, *tables)
    return len(which)


def _groups(
    loop: CompiledLoop, corruption: Corruption, shape: tuple[int, ...], values: Array
) -> list[tuple[Array, list[Array]]]:
    """The indices of images with equal tables, and the tables."""
    if not loop.tables:
        return [(_indices(len(values)), [])]
    common = (*shape[1:], corruption.mode == "released")
    if len(values) == 1:
        row = values[0].tolist()
        row = tuple([row[column] for column in loop.table_columns.values()])
        return [(_indices(1), _tables(loop, common, row))]
    groups = dict[tuple[float, ...], list[int]]()
    for index, row in enumerate(values[:, [*loop.table_columns.values()]].tolist()):
        groups.setdefault(tuple(row), []).append(index)
    return [
        (np.array(indices), _tables(loop, common, row))
        for row, indices in sorted(groups.items())
    ]


def _tables(loop: CompiledLoop, common: tuple[int, ...], row: tuple[float, ...]) -> list[Array]:
    """The tables for channels, height, width and mode, and for values of the draws."""
    key = (*loop.key, *common, *row)
    tables = _KNOWN_TABLES.get(key)
    if tables is None:
        names = ("channels", "height", "width", "released", *loop.table_columns)
        tables = loop.make_tables(dict(zip(names, (*common, *row), strict=True)))
        # Of large ones, the functions that make them know how many to keep.
        if sum([table.nbytes for table in tables]) <= MOST_KNOWN_BYTES:
            if len(_KNOWN_TABLES) == MOST_KNOWN:
                _KNOWN_TABLES.clear()
            _KNOWN_TABLES[key] = tables
    return tables


@functools.lru_cache(maxsize=64)
def _indices(count: int) -> Array:
    return np.arange(count)
