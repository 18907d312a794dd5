"""Pillow's bilinear resampling for loops: the twin of `noctule.corruptions.noc.resampling`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled


@compiled
def taps_of(size_in: int, size_out: int) -> Any:
    """The first tap of each result, int64 (size_out,), and weights, float32 (size_out, taps).

    Weights of 0 fill an even number of taps.
    """
    scale = size_in / size_out
    reach = max(scale, 1.0)
    most = int(2 * reach) + 2
    first = np.empty(size_out, np.int64)
    wide = np.zeros((size_out, most + most % 2), np.float32)
    exact, used = np.empty(most), 0
    for i in range(size_out):
        center = (i + 0.5) * scale
        start, stop = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), size_in)
        total = 0.0
        for k in range(stop - start):
            exact[k] = max(1 - abs(start + k + 0.5 - center) / reach, 0.0)
            total += exact[k]
        first[i] = start
        for k in range(stop - start):
            wide[i, k] = exact[k] / total
        used = max(used, stop - start)
    return first, wide[:, : used + used % 2].copy()


@compiled
def sum_rows(rows: Any, first: int, weights: Any, out: Any) -> None:
    """Σ weight · row, for successive rows: float32 (width,).

    Args:
        rows: uint8 or float32 (height, width).
        first: The first of the rows.
        weights: An even number of weights; those after the last row are 0.
        out: Receives the sum.
    """
    last, count = len(rows) - 1, len(out)
    for k in range(0, len(weights), 2):
        a, b = rows[min(first + k, last)], rows[min(first + k + 1, last)]
        p, q = weights[k], weights[k + 1]
        if k == 0:
            for x in range(count):
                out[x] = np.float32(a[x]) * p + np.float32(b[x]) * q
        elif p > 0:
            for x in range(count):
                out[x] = out[x] + np.float32(a[x]) * p + np.float32(b[x]) * q


@compiled
def resize_row(row: Any, first: Any, weights: Any, out: Any) -> None:
    """Resize a row with the taps of `taps_of`: float32.

    Args:
        row: uint8 or float32.
        first, weights: See `taps_of`.
        out: Receives the result.
    """
    last, taps = np.uint64(len(row) - 1), weights.shape[1]
    if taps <= 4:
        for x in range(len(out)):
            k, w = np.uint64(first[x]), weights[x]
            total = np.float32(row[k]) * w[0]
            total += np.float32(row[min(k + np.uint64(1), last)]) * w[1]
            if taps == 4:
                total += np.float32(row[min(k + np.uint64(2), last)]) * w[2]
                total += np.float32(row[min(k + np.uint64(3), last)]) * w[3]
            out[x] = total
        return
    for x in range(len(out)):
        k, total = np.uint64(first[x]), np.float32(0)
        for n in range(taps):
            total += np.float32(row[min(k + np.uint64(n), last)]) * weights[x, n]
        out[x] = total
