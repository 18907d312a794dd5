"""Copying images between memory layouts: of strides that loops do not take, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import cached

Array = NDArray[Any]


def pack(image: Array, planes: Array) -> None:
    """Copy an image (channels, height, width) of any strides to a contiguous array."""
    pixels = interleaved(image)
    if pixels is None:
        planes[...] = image
    else:
        split(pixels, planes.reshape(3, -1))


def unpack(planes: Array, image: Array) -> None:
    """Copy a contiguous array to an image (channels, height, width) of any strides."""
    pixels = interleaved(image)
    if pixels is None:
        image[...] = planes
    else:
        interleave(planes.reshape(3, -1), pixels)


def interleaved(image: Array) -> Array | None:
    """The values of an RGB image as they are in memory, if its pixels are contiguous.

    >>> pixels = np.zeros((20, 30, 3), np.uint8)
    >>> interleaved(pixels.transpose(2, 0, 1)).shape
    (1800,)
    >>> interleaved(pixels.transpose(2, 1, 0))
    """
    pixels = image.transpose(1, 2, 0)
    return pixels.reshape(-1) if pixels.flags.c_contiguous and len(image) == 3 else None


def _split(pixels: Any, planes: Any) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        k = np.uint64(3) * np.uint64(i)  # unsigned, or the loop does not vectorise
        red[i] = pixels[k]
        green[i] = pixels[k + np.uint64(1)]
        blue[i] = pixels[k + np.uint64(2)]


def _interleave(planes: Any, pixels: Any) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        k = np.uint64(3) * np.uint64(i)
        pixels[k] = red[i]
        pixels[k + np.uint64(1)] = green[i]
        pixels[k + np.uint64(2)] = blue[i]


def _interleave_padded(planes: Any, pixels: Any) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(len(red)):
        k = np.uint64(4) * np.uint64(i)
        pixels[k] = red[i]
        pixels[k + np.uint64(1)] = green[i]
        pixels[k + np.uint64(2)] = blue[i]
        pixels[k + np.uint64(3)] = 255


# NumPy takes ten times as long for these.
split: Callable[[Array, Array], None] = cached(_split, "split")
interleave: Callable[[Array, Array], None] = cached(_interleave, "interleave")
interleave_padded: Callable[[Array, Array], None] = cached(
    _interleave_padded, "interleave_padded"
)
