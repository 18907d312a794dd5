"""Compiled loop of glass_blur."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.blur import scaled_to
from noctule.corruptions.imagenet_c.glass import stride
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.filters import NEAREST, filter_plane, filter_space
from noctule.corruptions.loops.imagenet_c.blur import finish, gaussian_of
from noctule.corruptions.loops.random import fill_bits16


def turns_of(reach_px: float, height: int, width: int) -> NDArray[np.int64]:
    """The reach of swaps in pixels, and the step between successive turns: (2,)."""
    reach = max(1, round(scaled_to(reach_px, min(height, width))))
    return np.array([reach, stride((2 * reach + 1) ** 2)])


@compiled
def _other(bits: Any, here: Any, width: int, reach: int, side: int) -> Any:
    """A random pixel of the square that starts `reach` before a pixel: a flat index."""
    scaled = np.int64(bits) * side
    down, right = scaled >> 16, ((scaled & 0xFFFF) * side) >> 16
    return here + (down - reach) * width + right - reach


@compiled
def _swap(source: Any, bits: Any, height: int, width: int, reach: int, step: int) -> None:
    """Swap the sources of pixels, turn by turn."""
    side = 2 * reach + 1
    for turn in range(side**2):
        row, column = divmod(turn * step % side**2, side)
        for y in range(reach + row, height - reach, side):
            for x in range(reach + column, width - reach, side):
                here = np.uint64(y * width + x)
                there = np.uint64(_other(bits[here], np.int64(here), width, reach, side))
                source[here], source[there] = source[there], source[here]


@compiled
def _copy(source: Any, bits: Any, height: int, width: int, reach: int) -> None:
    """Overwrite the sources of pixels, from the last to the first."""
    for y in range(height - reach, reach, -1):
        for x in range(width - reach, reach, -1):
            here = np.uint64(y * width + x)
            source[here] = source[
                np.uint64(_other(bits[here], np.int64(here), width, reach, 2 * reach))
            ]


@loop("uint8", "float32", tables={"kernel": gaussian_of, "turns": turns_of})
def glass_blur(
    image: Any,
    out: Any,
    sigma_px: float,
    reach_px: float,
    iterations: int,
    moves: Any,
    released: bool,
    kernel: Any,
    turns: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.glass.glass_blur`."""
    _, height, width = image.shape
    count, reach = height * width, turns[0]
    source = np.arange(count, dtype=np.int32)
    words = np.empty(count + 3, np.uint16)
    for iteration in range(iterations):
        first = iteration * count // 4 * 4
        fill_bits16(moves, first, words)
        bits = words[iteration * count - first :]
        if released:
            _copy(source, bits, height, width, reach)
        else:
            _swap(source, bits, height, width, reach, turns[1])
    space = filter_space(height, width, kernel)
    levels, moved = np.empty(count, image.dtype), np.empty((height, width), np.float32)
    for channel in range(len(image)):
        values = filter_plane(image[channel], kernel, kernel, NEAREST, space).reshape(-1)
        flat = moved.reshape(-1)
        if released and image.itemsize == 1:
            finish(values, True, levels)
            for i in range(count):
                flat[i] = levels[np.uint64(source[i])]
        else:
            for i in range(count):
                flat[i] = values[np.uint64(source[i])]
        values = filter_plane(moved, kernel, kernel, NEAREST, space)
        finish(values.reshape(-1), released, out[channel].reshape(-1))
