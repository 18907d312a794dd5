"""Compiled loops of ImageNet-C: defocus_blur, gaussian_blur, zoom_blur."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.blur import (
    GAIN_AT_ONCE,
    LIFT,
    Disc,
    scaled_to,
    zoom_factors,
    zoom_taps,
)
from noctule.corruptions.loops.compiling import Table, compiled, loop
from noctule.corruptions.loops.filters import (
    MIRROR,
    NEAREST,
    filter_plane,
    filter_space,
    kernel_of,
    ratios_of,
    source_of,
    sum_columns,
    symmetric_sum,
)
from noctule.corruptions.loops.pixels import copy, store

_LIFT = np.float32(LIFT)


def gaussian_of(sigma_px: float, height: int, width: int) -> NDArray[np.float64]:
    """The kernel of a Gaussian filter whose standard deviation is for 224 px."""
    return kernel_of(scaled_to(sigma_px, min(height, width)))


@compiled
def finish(values: Any, released: bool, out: Any) -> None:
    """Convert a row of float32: `noctule.corruptions.imagenet_c.blur.finished`."""
    if released and out.itemsize == 1:
        for x in range(len(out)):
            values[x] += _LIFT
    store(values, out, released)


@loop("uint8", "float32", tables={"kernel": gaussian_of})
def gaussian_blur(image: Any, out: Any, sigma_px: float, released: bool, kernel: Any) -> None:
    """See `noctule.corruptions.imagenet_c.blur.gaussian_blur`."""
    space = filter_space(image.shape[1], image.shape[2], kernel)
    for channel in range(len(image)):
        values = filter_plane(image[channel], kernel, kernel, NEAREST, space)
        finish(values.reshape(-1), released, out[channel].reshape(-1))


@functools.lru_cache(maxsize=64)
def disc_of(radius_px: float, edge_sigma: float, height: int, width: int) -> Disc:
    """The disc for images of this size."""
    return Disc(scaled_to(radius_px, min(height, width)), edge_sigma)


def half_widths_of(
    radius_px: float, edge_sigma: float, height: int, width: int
) -> NDArray[np.int64]:
    """`Disc.half_widths`."""
    return np.array(disc_of(radius_px, edge_sigma, height, width).half_widths)


def soft_of(
    radius_px: float, edge_sigma: float, height: int, width: int
) -> NDArray[np.float64]:
    """`Disc.soft`."""
    return np.array(disc_of(radius_px, edge_sigma, height, width).soft)


def gain_of(
    radius_px: float, edge_sigma: float, height: int, width: int, released: bool
) -> NDArray[np.float64]:
    """`Disc.gain`: weight, row and column of each pixel, (pixels, 3)."""
    gain = disc_of(radius_px, edge_sigma, height, width).gain if released else []
    pixels = [(weight, *pixel) for weight, pixels in gain for pixel in pixels]
    return np.array(pixels, np.float64).reshape(-1, 3)


_DISC: dict[str, Table] = {"half_widths": half_widths_of, "soft": soft_of, "gain": gain_of}


@compiled
def _disc_area(half_widths: Any) -> Any:
    return 2 * (2 * half_widths + 1).sum() - (2 * half_widths[0] + 1)


@compiled
def _widen(planes: Any, unit: Any, wide: Any) -> None:
    """Mirror planes about their edge pixels, as multiples of a unit.

    Args:
        planes: (count, height, width).
        unit: 1, or less than 1.
        wide: Integers (height + 2 · margin, count · (width + 2 · margin)): planes side by side.
    """
    count, height, width = planes.shape
    margin = (len(wide) - height) // 2
    pitch = width + 2 * margin
    for y in range(height):
        for k in range(count):
            source, row = planes[k][y], wide[margin + y][k * pitch : (k + 1) * pitch]
            inner = row[margin : margin + width]
            for x in range(width):
                inner[x] = np.rint(source[x] / unit) if unit < 1 else source[x]
            for x in range(1, margin + 1):
                row[margin - x] = inner[source_of(-x, width, MIRROR)]
                row[margin + width - 1 + x] = inner[source_of(width - 1 + x, width, MIRROR)]
    for y in range(1, margin + 1):
        last = height - 1 + y
        copy(wide[margin + source_of(-y, height, MIRROR)], wide[margin - y])
        copy(wide[margin + source_of(last, height, MIRROR)], wide[margin + last])


@compiled
def _first_disc(wide: Any, half_widths: Any, total: Any) -> None:
    """Sum over the discs in the first rows."""
    reach, count = len(half_widths) - 1, len(total)
    for x in range(count):
        total[x] = 0
    for line in range(2 * reach + 1):
        half = half_widths[abs(line - reach)]
        for column in range(reach - half, reach + half + 1):
            values = wide[line][column : column + count]
            for x in range(count):
                total[x] += values[x]


@compiled
def _edges(wide: Any, y: int, half_widths: Any, distance: int, count: int) -> Any:
    """What the disc gains and loses in two columns where it moves down from row y."""
    reach, half = len(half_widths) - 1, half_widths[distance]
    left, right = reach - distance, reach + distance
    gained, lost = wide[y + 1 + reach + half], wide[y + reach - half]
    return (
        gained[left : left + count],
        gained[right : right + count],
        lost[left : left + count],
        lost[right : right + count],
    )


@compiled
def _move_down(wide: Any, y: int, half_widths: Any, change: Any) -> None:
    """The change of the sums over discs from row y to the next: `change`, (width,)."""
    reach, count = len(half_widths) - 1, len(change)
    a, _, b, _ = _edges(wide, y, half_widths, 0, count)
    if reach % 2:
        c, d, e, f = _edges(wide, y, half_widths, 1, count)
        for x in range(count):
            change[x] = a[x] - b[x] + c[x] + d[x] - e[x] - f[x]
    else:
        for x in range(count):
            change[x] = a[x] - b[x]
    for distance in range(1 + reach % 2, reach, 2):  # two at once, because stores take long
        a, b, c, d = _edges(wide, y, half_widths, distance, count)
        e, f, g, h = _edges(wide, y, half_widths, distance + 1, count)
        for x in range(count):
            gained, lost = a[x] + b[x] + e[x] + f[x], c[x] + d[x] + g[x] + h[x]
            change[x] += gained - lost


@compiled
def _disc_rows(wide: Any, half_widths: Any, soft: Any, total: Any, rows: Any) -> None:
    """Sum over softened discs.

    Args:
        wide: Integers (height + 2 · reach + 2 · margin, width + 2 · reach + 2 · margin).
        half_widths: See `Disc`.
        soft: Weights of the Gaussian; the margin is their number less 1.
        total: Working memory (width + 2 · margin,), of integers for which all sums are small
            enough.
        rows: float32 (height + 2 · margin, width); receives the sums in the first rows.
    """
    margin, ratios = len(soft) - 1, ratios_of(soft)
    change, levels = np.empty(len(total), wide.dtype), np.empty(len(total), np.float32)
    _first_disc(wide, half_widths, total)
    for y in range(len(rows)):
        if margin == 0:
            levels = rows[y]
        for x in range(len(total)):
            levels[x] = total[x]
        if margin > 0:
            symmetric_sum(levels, 0, 1, ratios, rows[y])
        if y + 1 < len(rows):
            _move_down(wide, y, half_widths, change)
            for x in range(len(total)):
                total[x] += change[x]
    if margin > 0:
        sum_columns(rows, ratios)


@compiled
def _add_gain(wide: Any, margin: int, gain: Any, part: Any, row: Any) -> None:
    """Add the gain of the released code to a row.

    Args:
        wide: The rows of the image that are near, from `margin` rows before it.
        margin: Columns before the row where `wide` starts, too.
        gain: See `gain_of`.
        part: Working memory (width,).
        row: float32 (width,).
    """
    count, start = len(row), 0
    while start < len(gain):
        stop = start
        while stop < min(len(gain), start + GAIN_AT_ONCE) and gain[stop, 0] == gain[start, 0]:
            stop += 1
        for x in range(count):
            part[x] = 0
        for k in range(start, stop - 3, 4):
            a, b = (
                _pixel(wide, margin, gain[k], count),
                _pixel(wide, margin, gain[k + 1], count),
            )
            k += 2
            c, d = (
                _pixel(wide, margin, gain[k], count),
                _pixel(wide, margin, gain[k + 1], count),
            )
            for x in range(count):
                part[x] += a[x] + b[x] + c[x] + d[x]
        for k in range(stop - (stop - start) % 4, stop):
            a = _pixel(wide, margin, gain[k], count)
            for x in range(count):
                part[x] += a[x]
        weight = np.float32(gain[start, 0])
        for x in range(count):
            row[x] += np.float32(part[x]) * weight
        start = stop


@compiled
def _pixel(wide: Any, margin: int, pixel: Any, count: int) -> Any:
    """A row of `wide`, moved by the offset of a pixel of the gain."""
    column = margin + int(pixel[2])
    return wide[margin + int(pixel[1])][column : column + count]


@compiled
def _defocus(
    planes: Any,
    unit: Any,
    half_widths: Any,
    soft: Any,
    gain: Any,
    released: bool,
    narrow: Any,
    sums: Any,
    out: Any,
) -> None:
    """Defocus planes (count, height, width).

    Args:
        planes: uint8 or float32.
        unit: What their values are multiples of.
        half_widths, soft: See `Disc`.
        gain: See `gain_of`.
        released: Whether to truncate.
        narrow: Any array of the dtype of the planes as integers, and of changes of sums.
        sums: Any array of the dtype of sums.
        out: Receives the result.
    """
    count, height, width = planes.shape
    margin = len(half_widths) + len(soft) - 2
    pitch = width + 2 * margin
    wide = np.empty((height + 2 * margin, count * pitch), narrow.dtype)
    _widen(planes, unit, wide)
    length = count * pitch - 2 * margin
    rows = np.empty((height + 2 * (len(soft) - 1), length), np.float32)
    total = np.empty(length + 2 * (len(soft) - 1), sums.dtype)
    _disc_rows(wide, half_widths, soft, total, rows)
    part = np.empty(length, narrow.dtype)
    factor, unit = np.float32(1 / _disc_area(half_widths)), np.float32(unit)
    for y in range(height):
        row = rows[y]
        for x in range(length):
            row[x] *= factor
        if len(gain):
            _add_gain(wide[y:], margin, gain, part, row)
        if planes.itemsize == 4:
            for x in range(length):
                row[x] *= unit
        for k in range(count):
            finish(row[k * pitch : k * pitch + width], released, out[k][y])


# Planes as narrow as this are filtered side by side, because short rows take long.
_SIDE_BY_SIDE_PX = 512


@loop("uint8", "float32", tables=_DISC)
def defocus_blur(
    image: Any,
    out: Any,
    radius_px: float,
    edge_sigma: float,
    released: bool,
    half_widths: Any,
    soft: Any,
    gain: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.blur.defocus_blur`."""
    together = len(image) if image.shape[2] <= _SIDE_BY_SIDE_PX else 1
    for k in range(0, len(image), together):
        planes, results = image[k : k + together], out[k : k + together]
        int64, int32 = np.empty(0, np.int64), np.empty(0, np.int32)
        if image.itemsize == 4:
            unit = 2.0**-24
            _defocus(planes, unit, half_widths, soft, gain, released, int64, int64, results)
        elif len(half_widths) <= 64:  # so that changes of sums fit 16 bits
            int16 = np.empty(0, np.int16)
            _defocus(planes, 1, half_widths, soft, gain, released, int16, int32, results)
        else:
            _defocus(planes, 1, half_widths, soft, gain, released, int32, int32, results)


@functools.lru_cache(maxsize=64)
def _zoom_taps(side: int, largest: float, step: float) -> tuple[NDArray[Any], NDArray[Any]]:
    taps = [zoom_taps(side, factor) for factor in zoom_factors(largest, step)[1:]]
    first = np.array([first.numpy() for first, _ in taps], np.uint32).reshape(-1, side)
    return first, np.array([part.numpy() for _, part in taps], np.float32).reshape(-1, side)


def zoom_rows_of(largest: float, step: float, height: int) -> NDArray[Any]:
    """The first row of each pixel, uint32 (layers, height)."""
    return _zoom_taps(height, largest, step)[0]


def zoom_row_shares_of(largest: float, step: float, height: int) -> NDArray[Any]:
    """How far each pixel is from its first row, float32 (layers, height)."""
    return _zoom_taps(height, largest, step)[1]


@functools.lru_cache(maxsize=64)
def zoom_columns_of(largest: float, step: float, width: int) -> NDArray[Any]:
    """The first column of each pixel, and the column after the last one twice.

    As each column is the one before it or its neighbour, the second column of a pixel is the
    first of a later one. uint32 (layers, width + `_AFTER`).
    """
    first, _ = _zoom_taps(width, largest, step)
    return np.hstack([first, *[first[:, -1:] + np.uint32(1)] * _AFTER])


@functools.lru_cache(maxsize=64)
def zoom_column_shares_of(
    largest: float, step: float, width: int, channels: int
) -> NDArray[Any]:
    """How far each pixel is from its first column: float32, see `_side_by_side`."""
    return _side_by_side(_zoom_taps(width, largest, step)[1], channels)


@functools.lru_cache(maxsize=64)
def zoom_distances_of(largest: float, step: float, width: int, channels: int) -> NDArray[Any]:
    """Pixels to the one whose first column is this one's second: int32, see `_side_by_side`."""
    columns, pixel = zoom_columns_of(largest, step, width), np.arange(width)
    distances = [np.searchsorted(row, row[:width] + 1) - pixel for row in columns]
    return _side_by_side(np.array(distances, np.int32).reshape(-1, width), channels)


_AFTER = 2  # pixels after each row
_BLOCK = 64  # values of a step of vectorised loops, whose remainders take long


def _side_by_side(rows: NDArray[Any], channels: int) -> NDArray[Any]:
    """Rows (layers, width) for each channel, each with `_AFTER` zeros, up to a whole block."""
    rows = np.tile(np.pad(rows, ((0, 0), (0, _AFTER))), (1, channels))
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % _BLOCK)))


_ZOOM: dict[str, Table] = {
    "rows": zoom_rows_of,
    "row_shares": zoom_row_shares_of,
    "columns": zoom_columns_of,
    "column_shares": zoom_column_shares_of,
    "distances": zoom_distances_of,
}


@compiled
def _packed(image: Any) -> Any:
    """The three bytes of each pixel in one number: uint32 (height, width)."""
    _, height, width = image.shape
    red, green, blue = image[0].ravel(), image[1].ravel(), image[2].ravel()
    pixels = np.empty(height * width, np.uint32)
    for i in range(len(pixels)):
        two = np.uint32(red[i]) | np.uint32(np.uint32(green[i]) << np.uint32(8))
        pixels[i] = two | np.uint32(np.uint32(blue[i]) << np.uint32(16))
    return pixels.reshape(height, width)


@compiled
def _spread(row: Any, columns: Any, out: Any) -> None:
    for x in range(len(columns)):
        out[x] = row[columns[x]]


@compiled
def _spread_pixels(row: Any, columns: Any, pixels: Any, out: Any) -> None:
    """Spread a row of packed pixels, and unpack it: one access to memory for three bytes."""
    pitch = len(columns)
    _spread(row, columns, pixels)
    red, green, blue = out[:pitch], out[pitch : 2 * pitch], out[2 * pitch : 3 * pitch]
    for x in range(pitch):
        red[x] = np.uint8(pixels[x])
    for x in range(pitch):
        green[x] = np.uint8(pixels[x] >> np.uint32(8))
    for x in range(pitch):
        blue[x] = np.uint8(pixels[x] >> np.uint32(16))


@compiled
def _add_zoomed(
    low: Any,
    high: Any,
    share: Any,
    distances: Any,
    farthest: Any,
    shares: Any,
    between: Any,
    total: Any,
) -> None:
    """Add a row between two rows, whose values are the first ones of each pixel."""
    count = len(total)
    for i in range(count):
        first = np.float32(low[i])
        between[i] = (np.float32(high[i]) - first) * share + first
    near, far = between[1 : count + 1], between[2 : count + 2]
    if farthest <= 2:
        for i in range(count):
            first, one, two = between[i], near[i], far[i]
            second = one if distances[i] == 1 else two
            total[i] += (second - first) * shares[i] + first
        return
    for i in range(count):
        first, second = between[i], between[i + distances[i]]
        total[i] += (second - first) * shares[i] + first


@loop("uint8", "float32", tables=_ZOOM)
def zoom_blur(
    image: Any,
    out: Any,
    largest: float,
    step: float,
    released: bool,
    rows: Any,
    row_shares: Any,
    columns: Any,
    column_shares: Any,
    distances: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.blur.zoom_blur`."""
    channels, height, width = image.shape
    pitch = width + _AFTER
    layers, size = column_shares.shape
    own = np.float32(2 if released else 1)
    factor = np.float32(1 / (layers + 2 if released else layers + 1))
    total, between = np.zeros(size, np.float32), np.zeros(size + _AFTER, np.float32)
    # Of each layer, the last two rows of the image, spread along the columns.
    spread, last = np.zeros((layers, 2, size), image.dtype), np.empty(layers, np.int64)
    for n in range(layers):
        last[n] = np.int64(rows[n, 0]) - 1
    farthest = np.int32(0)
    for distance in distances.ravel():
        farthest = max(farthest, distance)
    together = image.itemsize == 1 and channels == 3
    packed = _packed(image) if together else np.empty((1, 1), np.uint32)
    pixels = np.empty(pitch, np.uint32)
    for y in range(height):
        for channel in range(channels):
            row, part = image[channel, y], total[channel * pitch :]
            for x in range(width):
                part[x] = np.float32(row[x]) * own
        for n in range(layers):
            k = np.int64(rows[n, y])
            while last[n] <= k:
                last[n] += 1
                target = spread[n, last[n] % 2]
                if together:
                    _spread_pixels(packed[last[n]], columns[n], pixels, target)
                else:
                    for channel in range(channels):
                        part = target[channel * pitch :]
                        _spread(image[channel, last[n]], columns[n], part)
            low, high, share = spread[n, k % 2], spread[n, (k + 1) % 2], row_shares[n, y]
            shares = column_shares[n]
            _add_zoomed(low, high, share, distances[n], farthest, shares, between, total)
        for i in range(size):
            total[i] *= factor
        for channel in range(channels):
            finish(total[channel * pitch :][:width], released, out[channel][y])
