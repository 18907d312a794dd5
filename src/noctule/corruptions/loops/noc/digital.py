"""Compiled loops of the digital corruptions: quantization, pixelate, and the two artifacts."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.pixels import copy, full_scale, put, shade, side_scale
from noctule.corruptions.loops.random import integer, words


@loop("uint8", "float32")
def quantization(image: Any, out: Any, steps: int) -> None:
    """See `noctule.corruptions.noc.digital.quantization`."""
    flat, result = image.ravel(), out.ravel()
    white = full_scale(image)
    scale, back = np.float32(steps / white), np.float32(white / steps)
    for i in range(len(flat)):
        put(result, i, np.rint(np.float32(flat[i]) * scale) * back)


@loop("uint8", "float32")
def pixelate(image: Any, out: Any, block_px: int) -> None:
    """See `noctule.corruptions.noc.digital.pixelate`."""
    height, width = image.shape[1:]
    block = min(block_px, min(height, width))
    down, across = height // block, width // block
    top, left = height % block // 2, width % block // 2
    # Reflection shows the first and the last block beyond the others.
    shown = np.empty(width, np.uint32)
    for x in range(width):
        shown[x] = min(max(x - left, 0) // block, across - 1)
    sums = np.empty(across * block, np.float32)
    means, line = np.empty(across, image.dtype), np.empty(width, image.dtype)
    for c in range(len(image)):
        for i in range(down):
            _block_means(image[c, i * block : (i + 1) * block], block, sums, means)
            for x in range(width):
                line[x] = means[shown[x]]
            first = top + i * block if i > 0 else 0
            end = top + (i + 1) * block if i + 1 < down else height
            for y in range(first, end):
                row = out[c, y]
                for x in range(width):
                    row[x] = line[x]


@compiled
def _block_means(rows: Any, block: Any, sums: Any, means: Any) -> None:
    """The mean of each block in as many rows; `sums` is for the sums of columns."""
    row = rows[0]
    for x in range(len(sums)):
        sums[x] = np.float32(row[x])
    for y in range(1, len(rows)):
        row = rows[y]
        for x in range(len(sums)):
            sums[x] += np.float32(row[x])
    if block == 2:  # known lengths vectorise
        _row_means(sums, 2, means)
    elif block == 3:
        _row_means(sums, 3, means)
    elif block == 4:
        _row_means(sums, 4, means)
    else:
        _row_means(sums, block, means)


@compiled
def _row_means(sums: Any, block: Any, means: Any) -> None:
    area = np.float32(block * block)
    for i in range(len(means)):
        # NumPy's negative indices would take a test.
        start = np.uint64(i) * np.uint64(block)
        total = sums[start]
        for x in range(1, block):
            total += sums[start + np.uint64(x)]
        put(means, i, total / area)


@loop("uint8", "float32")
def artifacts(image: Any, out: Any, count: int, gray: float, dashes: Any) -> None:
    """See `noctule.corruptions.noc.digital.artifacts`."""
    copy(image, out)
    _draw_dashes(out, count, shade(gray, image), dashes)


@loop("uint8", "float32")
def vertical_artifacts(image: Any, out: Any, count: int, gray: float, dashes: Any) -> None:
    """See `noctule.corruptions.noc.digital.vertical_artifacts`."""
    copy(image, out)
    _draw_dashes(out.transpose(0, 2, 1), count, shade(gray, image), dashes)


@compiled
def _draw_dashes(out: Any, count: int, value: Any, dashes: Any) -> None:
    """Draw horizontal dashes; vertical ones if the image is transposed."""
    height, width = out.shape[1:]
    thick, solid = _scaled(-1, 1, 1, out), _scaled(-2, 2, 1, out)
    before, after = _scaled(-10, -2, 2, out), _scaled(6, 14, 2, out)
    along = np.concatenate((before, solid, after)).astype(np.uint64)
    for k in range(count):
        row_word, column_word = words(dashes, k, 0)
        row = integer(row_word, thick[-1], height - 1 - thick[-1])
        column = integer(column_word, solid[-1], width - 1 - solid[-1])
        has_tail = integer(words(dashes, k, 1)[1], 0, 6) > 0
        first, last = len(before), len(before) + len(solid)
        if has_tail and len(before) > 0 and column + before[0] >= 0:
            first = 0
        if has_tail and len(after) > 0 and column + after[-1] < width:
            last = len(along)
        columns = along[first:last] + np.uint64(column)
        for plane in out:
            for offset in thick:
                line = plane[row + offset]
                for x in columns:
                    line[x] = value


@compiled
def _scaled(first: int, last: int, step: int, image: Any) -> Any:
    """`scaled_offsets` of the offsets from first to last: int64 (offsets,)."""
    scale = np.float32(side_scale(image))
    reach = int(np.rint(max(-first, last) * side_scale(image))) + 1
    offsets, size = np.empty(2 * reach + 1, np.int64), 0
    for offset in range(-reach, reach + 1):
        original = int(np.floor(np.float32(offset) / scale + np.float32(0.5)))
        if first <= original <= last and (original - first) % step == 0:
            offsets[size] = offset
            size += 1
    return offsets[:size]
