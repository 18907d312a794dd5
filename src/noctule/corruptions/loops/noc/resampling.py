"""Pillow's bilinear resampling in loops: see `noctule.corruptions.noc.resampling`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled


@compiled
def taps_of(size_in: int, size_out: int) -> Any:
    """What the positions along an axis are made of, when it is resized.

    Returns:
        The positions to read, int32 (taps, size_out), and their weights, float32 (taps,
        size_out). Unused taps have weight 0.
    """
    scale = size_in / size_out
    reach = max(scale, 1.0)
    most = int(2 * reach) + 2
    index, weight = np.zeros((most, size_out), np.int32), np.zeros((most, size_out), np.float32)
    exact, used = np.empty(most), 0
    for i in range(size_out):
        center = (i + 0.5) * scale
        start = max(int(center - reach + 0.5), 0)
        stop = min(int(center + reach + 0.5), size_in)
        total = 0.0
        for t in range(stop - start):
            exact[t] = max(1 - abs(start + t + 0.5 - center) / reach, 0.0)
            total += exact[t]
        for t in range(most):
            index[t, i] = min(start + t, size_in - 1)
            if t < stop - start:
                weight[t, i] = exact[t] / total
        used = max(used, stop - start)
    return index[:used], weight[:used]


@compiled
def mix_rows(rows: Any, index: Any, weight: Any, y: int, out: Any) -> None:
    """Row y of an image that is resized along its first axis: float32 (width,).

    Row i of the image is row i modulo the number of `rows`, which may be fewer.
    """
    for x in range(len(out)):
        out[x] = 0
    for t in range(len(index)):
        share = weight[t, y]
        if share > 0:
            row = rows[index[t, y] % len(rows)]
            for x in range(len(out)):
                out[x] += np.float32(row[x]) * share


@compiled
def resize_row(row: Any, index: Any, weight: Any, out: Any) -> None:
    """A float32 row, resized: float32 (size_out,)."""
    for x in range(len(out)):
        out[x] = 0
    for t in range(len(index)):
        position, share = index[t], weight[t]
        for x in range(len(out)):
            out[x] += row[np.uint32(position[x])] * share[x]
