"""Loops of ImageNet-C: jpeg_compression, pixelate_c."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c.jpeg import recode
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.hashing import to_bytes
from noctule.corruptions.loops.pixels import copy, put

BITS = 22  # of the fractions in Pillow's fixed-point arithmetic
HALF = np.int32(1 << (BITS - 1))
MOST = 8  # pixels whose sums are formed for all positions at once


@loop("uint8", in_python=True)
def jpeg_compression(image: Any, out: Any, quality: int) -> None:
    """See `noctule.corruptions.imagenet_c.digital.jpeg_compression`."""
    recode(image, int(quality), out)


@loop("float32", name="jpeg_compression", in_python=True)
def jpeg_compression_float32(image: Any, out: Any, quality: int) -> None:
    """See `noctule.corruptions.imagenet_c.digital.jpeg_compression`."""
    levels = np.empty(image.shape, np.uint8)
    to_bytes(image.reshape(-1), levels.reshape(-1))
    recode(levels, int(quality), levels)
    np.divide(levels, np.float32(255), out=out)


@loop("float32")
def pixelate_c(image: Any, out: Any, share: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.digital.pixelate_c`."""
    _pixelate(image, out, share, np.empty(image.shape[2], np.float32))


@loop("uint8", name="pixelate_c")
def pixelate_bytes(image: Any, out: Any, share: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.digital.pixelate_c`."""
    if released:
        _resize_as_pillow(image, out, share)
    else:
        _pixelate(image, out, share, np.empty(image.shape[2], np.int64))


@compiled
def _blocks(side: int, share: float) -> Any:
    return max(1, int(side * share))


@compiled
def _block_of(pixel: int, side: int, blocks: int) -> Any:
    return (2 * pixel + 1) * blocks // (2 * side)


@compiled
def _pixelate(image: Any, out: Any, share: float, sums: Any) -> None:
    """Replace blocks by their mean; `sums`, (width,), has the type in which to add."""
    _, height, width = image.shape
    blocks = _blocks(height, share)
    for channel in range(len(image)):
        first = 0
        while first < height:
            stop, block = first + 1, _block_of(first, height, blocks)
            while stop < height and _block_of(stop, height, blocks) == block:
                stop += 1
            row = image[channel, first]
            for x in range(width):
                sums[x] = row[x]
            for y in range(first + 1, stop):
                row = image[channel, y]
                for x in range(width):
                    sums[x] += row[x]
            _fill_means(sums, _blocks(width, share), stop - first, out[channel, first])
            for y in range(first + 1, stop):
                copy(out[channel, first], out[channel, y])
            first = stop


@compiled
def _fill_means(sums: Any, blocks: int, rows: int, out: Any) -> None:
    """The mean of each block of columns, in all of its columns."""
    first = 0
    while first < len(sums):
        stop, block, total = first + 1, _block_of(first, len(sums), blocks), sums[first]
        while stop < len(sums) and _block_of(stop, len(sums), blocks) == block:
            total += sums[stop]
            stop += 1
        mean = np.float32(total) / np.float32(rows * (stop - first))
        for x in range(first, stop):
            put(out, x, mean)
        first = stop


@compiled
def _resize_as_pillow(image: Any, out: Any, share: float) -> None:
    """Shrink with Pillow's box filter, rounding after each axis, and enlarge again."""
    channels, height, width = image.shape
    rows, columns = _blocks(height, share), _blocks(width, share)
    across, down = _taps(width, columns), _taps(height, rows)
    back, up = _taps(columns, width), _taps(rows, height)
    narrow, small = np.empty((height, columns), np.uint8), np.empty((rows, columns), np.uint8)
    wide, sums = np.empty((rows, width), np.uint8), np.empty(width, np.int32)
    windows = np.empty(MOST * width, np.int16)
    for channel in range(channels):
        for y in range(height):
            _resize_row(image[channel, y], across, windows, sums, narrow[y])
        for y in range(rows):
            _mix_rows(narrow, down, y, sums, small[y])
            _resize_row(small[y], back, windows, sums, wide[y])
        for y in range(height):
            _mix_rows(wide, up, y, sums, out[channel, y])


@compiled
def _taps(size_in: int, size_out: int) -> Any:
    """How Pillow resizes a side with its box filter, which has one weight for each position.

    Returns:
        For each position, the first one to read, the number to read, and their weight in units
        of 2**-22: int32 (size_out,) each; the least and the greatest number.
    """
    scale = size_in / size_out
    filter_scale = max(scale, 1.0)
    support, inverse = 0.5 * filter_scale, 1.0 / filter_scale
    first, count = np.empty(size_out, np.int32), np.empty(size_out, np.int32)
    weight = np.empty(size_out, np.int32)
    for i in range(size_out):
        center = (i + 0.5) * scale
        start = max(int(center - support + 0.5), 0)
        stop = min(int(center + support + 0.5), size_in)
        # Rounding may place a pixel at the border of the box outside.
        while start < stop and not -0.5 < (start - center + 0.5) * inverse <= 0.5:
            start += 1
        while stop > start and not -0.5 < (stop - 1 - center + 0.5) * inverse <= 0.5:
            stop -= 1
        first[i], count[i] = start, stop - start
        weight[i] = int(1.0 / max(stop - start, 1) * (1 << BITS) + 0.5)
    return first, count, weight, count.min(), count.max()


@compiled
def _resize_row(row: Any, taps: Any, windows: Any, sums: Any, out: Any) -> None:
    """Resize a row; `windows` and `sums` are room for sums of pixels."""
    first, count, weight, least, most = taps
    width = len(row)
    if least == 1 and most == 1:
        for x in range(len(out)):
            out[x] = row[np.uint32(first[x])]
        return
    if least > 0 and most <= MOST:
        _fill_windows(row, least, most, windows)
        for x in range(len(out)):
            at = np.uint32(count[x] - least) * np.uint32(width) + np.uint32(first[x])
            sums[x] = windows[at]
    else:
        for x in range(len(out)):
            total = np.int32(0)
            for pixel in row[first[x] : first[x] + count[x]]:
                total = np.int32(total + np.int32(pixel))
            sums[x] = total
    _store(sums, weight, out)


@compiled
def _fill_windows(row: Any, least: int, most: int, out: Any) -> None:
    """The sums of each size, from `least` to `most`, of successive pixels from each one on."""
    width = len(row)
    for i in range(width):
        out[i] = row[i]
    for t in range(1, least):
        here, next_ = out[: width - t], row[t:]
        for i in range(width - t):
            here[i] += next_[i]
    for t in range(least, most):
        before = out[(t - least) * width : (t - least + 1) * width - t]
        here, next_ = out[(t - least + 1) * width : (t - least + 2) * width - t], row[t:]
        for i in range(width - t):
            here[i] = before[i] + next_[i]


@compiled
def _mix_rows(rows: Any, taps: Any, y: int, sums: Any, out: Any) -> None:
    """Row y of the image that is resized along its first axis."""
    first, count, weight, _, _ = taps
    if count[y] == 1:
        copy(rows[first[y]], out)
        return
    for x in range(len(out)):
        sums[x] = 0
    for row in rows[first[y] : first[y] + count[y]]:
        for x in range(len(out)):
            sums[x] = np.int32(sums[x] + np.int32(row[x]))
    share = weight[y]
    for x in range(len(out)):
        out[x] = _level(sums[x], share)


@compiled
def _store(sums: Any, weight: Any, out: Any) -> None:
    for x in range(len(out)):
        out[x] = _level(sums[x], weight[x])


@compiled
def _level(total: Any, weight: Any) -> Any:
    """A sum times a fixed-point weight, rounded half up."""
    return np.uint8(
        min(np.int32(np.int32(total * weight + HALF) >> np.int32(BITS)), np.int32(255))
    )
