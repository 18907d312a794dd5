"""Running compiled loops over the images of a batch, in torch's number of threads."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import LOOPS, Loop, cached
from noctule.corruptions.threads import in_threads

if TYPE_CHECKING:
    from noctule.corruptions.spec import Corruption

Array = NDArray[Any]

# Small batches are not worth the time that it takes to wake another thread.
VALUES_PER_THREAD = 1 << 16
# glibc returns freed memory to the system immediately, so that every large buffer costs page
# faults (measured: up to half the time), until a block of about this size has been freed once.
PRIMING_BYTES = (1 << 25) - (1 << 16)


@functools.cache
def loop_of(corruption_name: str, kernel_module: str, dtype: torch.dtype) -> Loop | None:
    """The compiled loop of a corruption, or None if it has none.

    noctule's own lie in the module that mirrors the kernel's; a plugin's in its own module.
    """
    package, _, rest = kernel_module.partition("corruptions.")
    if package == "noctule.":
        name = f"{package}corruptions.loops.{rest}"
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    torch.empty(PRIMING_BYTES, dtype=torch.uint8)  # never written, so it takes no memory
    return LOOPS.get((corruption_name, str(dtype).removeprefix("torch.")))


def run(
    loop: Loop, corruption: Corruption, images: Array, out: Array, values: Array, keys: Array
) -> None:
    """Corrupt a batch of images.

    Args:
        loop: The loop.
        corruption: Its corruption, whose mode counts.
        images: uint8 or float32 (batch, channels, height, width), with any strides.
        out: Array for the results, with the shape and dtype of the images and any strides.
        values: Parameters of each image, float64 (batch, draws).
        keys: Keys of each image, uint32 (batch, draws, 2).
    """
    released = corruption.mode == "released"
    for which, tables in _groups(loop, corruption, images, values):

        def work(part: slice, which: Array = which, tables: list[Array] = tables) -> None:
            _run_part(loop, images, out, values, keys, which[part], released, tables)

        if len(which) > 1 and images[0].size * len(which) >= VALUES_PER_THREAD:
            in_threads(work, len(which))
        else:
            work(slice(None))


def _run_part(
    loop: Loop,
    images: Array,
    out: Array,
    values: Array,
    keys: Array,
    which: Array,
    released: bool,
    tables: list[Array],
) -> None:
    if images.flags.c_contiguous and out.flags.c_contiguous:
        loop.run(images, out, values, keys, which, released, *tables)
        return
    packed, result = (np.empty((1, *images.shape[1:]), images.dtype) for _ in range(2))
    only = _indices(1)
    for i in which:
        _pack(images[i], packed[0])
        at = slice(i, i + 1)
        loop.run(packed, result, values[at], keys[at], only, released, *tables)
        _unpack(result[0], out[i])


def _groups(
    loop: Loop, corruption: Corruption, images: Array, values: Array
) -> list[tuple[Array, list[Array]]]:
    """The indices of images with equal tables, and the tables."""
    if not loop.tables:
        return [(_indices(len(images)), [])]
    known: dict[str, Any] = dict(
        zip(("channels", "height", "width"), images.shape[1:], strict=True)
    )
    known["released"] = corruption.mode == "released"
    names = list(corruption.draws)
    columns = [k for k, name in enumerate(names) if name in loop.drawn_by_tables]
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, row in enumerate(values[:, columns].tolist()):
        groups.setdefault(tuple(row), []).append(index)
    return [
        (
            np.array(indices),
            _tables(loop, known | dict(zip((names[k] for k in columns), row, strict=True))),
        )
        for row, indices in sorted(groups.items())
    ]


def _tables(loop: Loop, known: Mapping[str, Any]) -> list[Array]:
    return [
        table(**{name: known[name] for name in loop.table_parameters[key]})
        for key, table in loop.tables.items()
    ]


@functools.lru_cache(maxsize=64)
def _indices(count: int) -> Array:
    return np.arange(count)


def _pack(image: Array, planes: Array) -> None:
    """Copy an image (channels, height, width) of any strides to a contiguous array."""
    pixels = image.transpose(1, 2, 0)
    if pixels.flags.c_contiguous and len(image) == 3:
        split(pixels.reshape(-1, 3), planes.reshape(3, -1))
    else:
        planes[...] = image


def _unpack(planes: Array, image: Array) -> None:
    """Copy a contiguous array to an image (channels, height, width) of any strides."""
    pixels = image.transpose(1, 2, 0)
    if pixels.flags.c_contiguous and len(image) == 3:
        interleave(planes.reshape(3, -1), pixels.reshape(-1, 3))
    else:
        image[...] = planes


def _split(pixels: Any, planes: Any) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(pixels)):
        red[i] = pixels[i, 0]
        green[i] = pixels[i, 1]
        blue[i] = pixels[i, 2]


def _interleave(planes: Any, pixels: Any) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(pixels)):
        pixels[i, 0] = red[i]
        pixels[i, 1] = green[i]
        pixels[i, 2] = blue[i]


# NumPy takes ten times as long for these two.
split: Callable[[Array, Array], None] = cached(_split, "split")
interleave: Callable[[Array, Array], None] = cached(_interleave, "interleave")
