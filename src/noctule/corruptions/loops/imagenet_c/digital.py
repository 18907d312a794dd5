"""Loops of ImageNet-C: jpeg_compression, pixelate_c."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c.jpeg import steps_of, through_jpeg
from noctule.corruptions.loops.pixels import put

BITS = 22  # of the fractions in Pillow's fixed-point arithmetic
HALF = np.int32(1 << (BITS - 1))
MOST = 8  # pixels whose sums are formed for all positions at once
MOST_IN_INT32 = 1 << 23  # pixels whose sum fits 32 bits, in which sums take less time


@loop("uint8", tables={"steps": steps_of})
def jpeg_compression(image: Any, out: Any, quality: int, steps: Any) -> None:
    """See `noctule.corruptions.imagenet_c.digital.jpeg_compression`."""
    through_jpeg(image, steps, out)


@loop("float32", name="jpeg_compression", tables={"steps": steps_of})
def jpeg_compression_float32(image: Any, out: Any, quality: int, steps: Any) -> None:
    """See `noctule.corruptions.imagenet_c.digital.jpeg_compression`."""
    levels = np.empty(image.shape, np.uint8)
    values, flat, result = image.reshape(-1), levels.reshape(-1), out.reshape(-1)
    for i in range(len(flat)):
        flat[i] = np.uint8(np.int32(np.rint(values[i] * np.float32(255))))
    through_jpeg(levels, steps, levels)
    for i in range(len(flat)):
        result[i] = np.float32(flat[i]) / np.float32(255)


@loop("float32")
def pixelate_c(image: Any, out: Any, share: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.digital.pixelate_c`."""
    _pixelate(image, out, share, np.empty((2, image.shape[2]), np.float32))


@loop("uint8", name="pixelate_c")
def pixelate_bytes(image: Any, out: Any, share: float, released: bool) -> None:
    """See `noctule.corruptions.imagenet_c.digital.pixelate_c`."""
    _, height, width = image.shape
    if released:
        _resize_as_pillow(image, out, share)
    elif _cut(height, share)[1].max() * _cut(width, share)[1].max() <= MOST_IN_INT32:
        _pixelate(image, out, share, np.empty((2, width), np.int32))
    else:
        _pixelate(image, out, share, np.empty((2, width), np.int64))


@compiled
def _blocks(side: int, share: float) -> Any:
    return max(1, int(side * share))


@compiled
def _cut(side: int, share: float) -> Any:
    """The first pixel of each block and the number of its pixels: int64 (blocks,)."""
    blocks = _blocks(side, share)
    first, count = np.zeros(blocks, np.int64), np.zeros(blocks, np.int64)
    for pixel in range(side):
        block = (2 * pixel + 1) * blocks // (2 * side)
        count[block] += 1
        first[block] = pixel + 1 - count[block]
    return first, count


@compiled
def _pixelate(image: Any, out: Any, share: float, sums: Any) -> None:
    """Replace blocks by their mean; `sums`, (2, width), has the type in which to add."""
    _, height, width = image.shape
    top, rows = _cut(height, share)
    left, columns = _cut(width, share)
    least, most = columns.min(), columns.max()
    position, shown = _positions(left, columns, width), np.empty(width, np.uint32)
    for block in range(len(left)):
        shown[left[block] : left[block] + columns[block]] = position[block]
    means = np.empty((most - least + 1, width), image.dtype)
    single, several = sums[0], sums[1]
    for channel in range(len(image)):
        plane, result = image[channel], out[channel]
        for block in range(len(top)):
            first, stop = top[block], top[block] + rows[block]
            _add_rows(plane, first, stop, single)
            for n in range(1, most + 1):
                _widen(single, n, several)
                if n >= least:
                    _divide(several, np.float32((stop - first) * n), means[n - least])
            if least == most == 2:  # a known distance vectorises
                _repeat(means[0], 2, result[first])
            elif least == most == 4:
                _repeat(means[0], 4, result[first])
            else:
                _pick(means, shown, result[first])
            for y in range(first + 1, stop):
                _copy_row(result, first, result, y)


@compiled
def _positions(first: Any, count: Any, width: int) -> Any:
    """Where the mean of `count` pixels from `first` on is in rows of such means: uint32.

    There is a row of `width` means, of successive pixels from each pixel on, for each count
    from the lowest to the highest.
    """
    position, least = np.empty(len(first), np.uint32), count.min()
    for x in range(len(first)):
        position[x] = (count[x] - least) * width + first[x]
    return position


@compiled
def _copy_row(rows: Any, source: int, out: Any, y: int) -> None:
    for x in range(rows.shape[1]):
        out[y, x] = rows[source, x]


@compiled
def _add_rows(rows: Any, first: int, stop: int, sums: Any) -> None:
    """The sum of rows, which may be none."""
    if first == stop:
        for x in range(len(sums)):
            sums[x] = 0
    for y in range(first, stop):
        row = rows[y]
        if y == first:
            for x in range(len(sums)):
                sums[x] = row[x]
        else:
            for x in range(len(sums)):
                sums[x] = sums[x] + row[x]


@compiled
def _widen(row: Any, n: int, sums: Any) -> None:
    """Turn the sums of n − 1 successive pixels, from each one on, into those of n pixels."""
    ahead = row[n - 1 :]
    if n == 1:
        for x in range(len(ahead)):
            sums[x] = ahead[x]
    else:
        for x in range(len(ahead)):
            sums[x] = sums[x] + ahead[x]


@compiled
def _divide(sums: Any, area: Any, means: Any) -> None:
    for x in range(len(sums)):
        put(means, x, np.float32(sums[x]) / area)


@compiled
def _pick(means: Any, position: Any, out: Any) -> None:
    flat = means.ravel()
    for x in range(len(out)):
        out[x] = flat[position[x]]


@compiled
def _repeat(means: Any, distance: int, out: Any) -> None:
    """Each of the means at a distance, as many times."""
    for block in range(len(out) // distance):
        for k in range(distance):
            at = np.uint64(block * distance)
            out[at + np.uint64(k)] = means[at]


@compiled
def _resize_as_pillow(image: Any, out: Any, share: float) -> None:
    """Shrink with Pillow's box filter, rounding after each axis, and enlarge again."""
    channels, height, width = image.shape
    rows, columns = _blocks(height, share), _blocks(width, share)
    across, down = _taps(width, columns), _taps(height, rows)
    back, up = _taps(columns, width), _taps(rows, height)
    narrow, small = np.empty((height, columns), np.uint8), np.empty((rows, columns), np.uint8)
    wide = np.empty((rows, width), np.uint8)
    for channel in range(channels):
        _resize_across(image[channel], across, narrow)
        _resize_down(narrow, down, small)
        _resize_across(small, back, wide)
        _resize_down(wide, up, out[channel])


@compiled
def _taps(size_in: int, size_out: int) -> Any:
    """How Pillow resizes a side with its box filter, which has one weight for each position.

    Returns:
        For each position, the first one to read and the number to read: int64 (size_out,); the
        result of `_positions`; the lowest and the highest number.
    """
    scale = size_in / size_out
    filter_scale = max(scale, 1.0)
    support, inverse = 0.5 * filter_scale, 1.0 / filter_scale
    first, count = np.empty(size_out, np.int64), np.empty(size_out, np.int64)
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
    return first, count, _positions(first, count, size_in), count.min(), count.max()


@compiled
def _resize_across(image: Any, taps: Any, out: Any) -> None:
    """Resize the rows of an image (height, width)."""
    first, count, position, least, most = taps
    width = image.shape[1]
    in_windows = least > 0 and most <= MOST
    sums, means = np.empty(width, np.int32), np.empty((MOST, width), np.uint8)
    for y in range(len(image)):
        row, result = image[y], out[y]
        for n in range(1, most + 1 if in_windows else 0):
            _widen(row, n, sums)
            if n >= least:
                _weigh(sums, _weight(n), means[n - least])
        if in_windows:
            _pick(means, position, result)
        else:
            for x in range(len(result)):
                total = np.int32(0)
                for pixel in row[first[x] : first[x] + count[x]]:
                    total = np.int32(total + np.int32(pixel))
                result[x] = _level(total, _weight(count[x]))


@compiled
def _resize_down(image: Any, taps: Any, out: Any) -> None:
    """Resize the columns of an image (height, width)."""
    first, count = taps[0], taps[1]
    sums = np.empty(image.shape[1], np.int32)
    for y in range(len(out)):
        if count[y] == 1:
            _copy_row(image, first[y], out, y)
        else:
            _add_rows(image, first[y], first[y] + count[y], sums)
            _weigh(sums, _weight(count[y]), out[y])


@compiled
def _weigh(sums: Any, weight: Any, out: Any) -> None:
    for x in range(len(out)):
        out[x] = _level(sums[x], weight)


@compiled
def _weight(count: Any) -> Any:
    """The weight of each of `count` pixels, in units of 2**-BITS."""
    return np.int32(1.0 / max(count, 1) * (1 << BITS) + 0.5)


@compiled
def _level(total: Any, weight: Any) -> Any:
    """A sum times a fixed-point weight, rounded half up."""
    return np.uint8(
        min(np.int32(np.int32(total * weight + HALF) >> np.int32(BITS)), np.int32(255))
    )
