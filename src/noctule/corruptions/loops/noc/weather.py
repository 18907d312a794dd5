"""Compiled loops of weather: rain."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.noc.stamps import center, disc_rows, stamp_margin_px
from noctule.corruptions.loops.pixels import copy, full_scale, put

MOST = 32  # drops that make a pixel white, of either dtype


@loop("uint8", "float32")
def rain(image: Any, out: Any, count: int, stamps: Any) -> None:
    """See `noctule.corruptions.noc.weather.rain`."""
    copy(image, out)
    channels, height, width = image.shape
    margin_px = stamp_margin_px(image)
    shape = disc_rows(margin_px)
    drops = np.zeros((height, width), np.uint8)
    first, last = np.full(height, width), np.zeros(height, np.int64)
    for k in range(count):
        row, column = center(image, margin_px, stamps, k)
        for i in range(len(shape)):
            y = row - margin_px + i
            line = drops[y, column + shape[i, 0] : column + shape[i, 1]]
            for x in range(len(line)):
                line[x] = min(line[x] + np.uint8(1), np.uint8(MOST))
            first[y] = min(first[y], column + shape[i, 0])
            last[y] = max(last[y], column + shape[i, 1])
    white = np.float32(full_scale(image))
    for y in range(height):
        line = drops[y, first[y] : last[y]]
        for c in range(channels):
            before, after = image[c, y, first[y] : last[y]], out[c, y, first[y] : last[y]]
            for x in range(len(line)):
                # 2^-drops, of which the exponent is all.
                share = np.int32((127 - np.int32(line[x])) << 23).view(np.float32)
                value = np.float32(before[x])
                changed = white - (white - value) * share
                put(after, x, value if line[x] == 0 else changed)
