"""Compiled loops of blur: thumbnail_resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.noc.resampling import mix_rows, resize_row, taps_of
from noctule.corruptions.loops.pixels import store


@loop("uint8", "float32")
def thumbnail_resize(image: Any, out: Any, factor: float) -> None:
    """See `noctule.corruptions.noc.blur.thumbnail_resize`."""
    channels, height, width = image.shape
    rows, columns = max(int(height / factor), 1), max(int(width / factor), 1)
    shrink_index, shrink_weight = taps_of(width, columns)
    index, weight = taps_of(columns, width)
    down_index, down_weight = taps_of(height, rows)
    up_index, up_weight = taps_of(rows, height)
    # The last rows that the next pass reads: of the full width, and of the small image.
    full = np.empty((len(down_index) + 1, width), np.float32)
    small = np.empty((len(up_index) + 1, width), np.float32)
    row, narrow = np.empty(width, np.float32), np.empty(columns, np.float32)
    for channel in range(channels):
        ready, ready_small = 0, 0
        for y in range(height):
            while ready_small <= up_index[-1, y]:
                while ready <= down_index[-1, ready_small]:
                    source = image[channel, ready]
                    for x in range(width):
                        row[x] = source[x]
                    resize_row(row, shrink_index, shrink_weight, narrow)
                    resize_row(narrow, index, weight, full[ready % len(full)])
                    ready += 1
                into = small[ready_small % len(small)]
                mix_rows(full, down_index, down_weight, ready_small, into)
                ready_small += 1
            mix_rows(small, up_index, up_weight, y, row)
            store(row, out[channel, y], False)
