"""Copying images between memory layouts: of strides that loops do not take, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import cached

Array = NDArray[Any]


def pack(image: Array, planes: Array) -> None:
    """Copy an image (channels, height, width) of any strides to a contiguous array."""
    pixels = image.transpose(1, 2, 0)
    if pixels.flags.c_contiguous and len(image) == 3:
        split(pixels.reshape(-1), planes.reshape(3, -1))  # NumPy takes ten times as long
    else:
        planes[...] = image


def _room(images: Any, interleaved: bool) -> Any:
    """Undefined values for an interleaved image and its result, (2, 3, height, width)."""
    _, height, width, channels = images.shape
    return np.empty((2, channels, height, width) if interleaved else (0, 0, 0, 0), images.dtype)


def _split(pixels: Any, planes: Any) -> None:
    """Copy pixels (3 * pixels,) to planes (3, pixels)."""
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        k = np.uint64(3) * np.uint64(i)  # unsigned, or the loop does not vectorise
        red[i] = pixels[k]
        green[i] = pixels[k + np.uint64(1)]
        blue[i] = pixels[k + np.uint64(2)]


def _interleave(planes: Any, pixels: Any) -> None:
    """Copy planes (3, pixels) to pixels (3 * pixels,)."""
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        k = np.uint64(3) * np.uint64(i)
        pixels[k] = red[i]
        pixels[k + np.uint64(1)] = green[i]
        pixels[k + np.uint64(2)] = blue[i]


room: Any = cached(_room, "room")
split: Any = cached(_split, "split")
interleave: Any = cached(_interleave, "interleave")
