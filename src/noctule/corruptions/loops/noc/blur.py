"""Compiled loops of blur: blur, thumbnail_resize."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.filters import ODD, filter_plane, filter_space
from noctule.corruptions.loops.pixels import store
from noctule.corruptions.loops.resampling import resize_row, sum_rows, taps_of
from noctule.corruptions.noc.blur import box_kernel, passes_at


@functools.lru_cache(maxsize=64)
def box_of(height: int, width: int) -> NDArray[np.float64]:
    """`box_kernel` for images of this size."""
    return np.array(box_kernel(passes_at(min(height, width))))


@loop("uint8", "float32", tables={"kernel": box_of})
def blur(image: Any, out: Any, weight: float, kernel: Any) -> None:
    """See `noctule.corruptions.noc.blur.blur`."""
    share, rest = np.float32(weight), np.float32(1) - np.float32(weight)
    space = filter_space(image.shape[1], image.shape[2], kernel)
    for channel in range(len(image)):
        smooth = filter_plane(image[channel], kernel, kernel, ODD, space)
        for y in range(len(smooth)):
            row, source = smooth[y], image[channel][y]
            for x in range(len(row)):
                row[x] = row[x] * share + np.float32(source[x]) * rest
            store(row, out[channel][y], False)


@loop("uint8", "float32")
def thumbnail_resize(image: Any, out: Any, factor: float) -> None:
    """See `noctule.corruptions.noc.blur.thumbnail_resize`."""
    channels, height, width = image.shape
    low, narrow = max(int(height / factor), 1), max(int(width / factor), 1)
    top, shrink_rows = taps_of(height, low)
    left, shrink_columns = taps_of(width, narrow)
    above, stretch_rows = taps_of(low, height)
    before, stretch_columns = taps_of(narrow, width)
    row, small = np.empty(width, np.float32), np.empty(narrow, np.float32)
    rows = np.empty((low, width), np.float32)
    for channel in range(channels):
        for y in range(low):
            sum_rows(image[channel], top[y], shrink_rows[y], row)
            resize_row(row, left, shrink_columns, small)
            resize_row(small, before, stretch_columns, rows[y])
        for y in range(height):
            sum_rows(rows, above[y], stretch_rows[y], row)
            store(row, out[channel][y], False)
