"""Compiled loops of ImageNet-C: spatter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.distance import UNITS_PER_PX
from noctule.corruptions.imagenet_c.spatter import (
    CANNY_HIGH,
    CANNY_LOW,
    LEAST_MUD,
    LEVEL_BITS,
    MUD,
    WATER,
)
from noctule.corruptions.loops.compiling import Table, compiled, loop
from noctule.corruptions.loops.filters import NEAREST, filter_plane, filter_space, kernel_of
from noctule.corruptions.loops.imagenet_c.canny import canny
from noctule.corruptions.loops.imagenet_c.distance import MARGIN, chamfer_distance
from noctule.corruptions.loops.imagenet_c.smooth_noise import (
    noise_of_bytes,
    noise_weights,
    smooth_noise,
)
from noctule.corruptions.loops.pixels import clamped, copy, full_scale, side_scale, store
from noctule.corruptions.pixels import LUMA, REFERENCE_SIDE_PX

_LEVELS = 1 << LEVEL_BITS


def _weights(height: int, width: int, sigma_px: float) -> NDArray[np.float64]:
    return noise_weights(sigma_px * (min(height, width) / REFERENCE_SIDE_PX))


def _mud_kernel(height: int, width: int, mud_sigma_px: float) -> NDArray[np.float64]:
    return kernel_of(mud_sigma_px * (min(height, width) / REFERENCE_SIDE_PX))


TABLES: dict[str, Table] = {
    "of_bytes": noise_of_bytes,
    "weights": _weights,
    "mud_kernel": _mud_kernel,
}


@loop("uint8", "float32", tables=TABLES)
def spatter(
    image: Any,
    out: Any,
    mean: float,
    spread_px: float,
    sigma_px: float,
    threshold: float,
    mud: int,
    intensity: float,
    mud_sigma_px: float,
    liquid: Any,
    released: bool,
    of_bytes: Any,
    weights: Any,
    mud_kernel: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.spatter.spatter`."""
    height, width = image.shape[1:]
    depth = smooth_noise(liquid, height, width, of_bytes, weights)
    spread, centre = np.float32(spread_px * side_scale(image)), np.float32(mean)
    values = depth.ravel()
    for i in range(len(values)):
        values[i] = values[i] * spread + centre
    if mud:
        share = _mud(depth, np.float32(threshold), mud_kernel)
        _cover(image, out, share, _color(MUD, image), released)
    else:
        level, is_dry = _levels(depth, np.float32(threshold), released)
        if is_dry:
            copy(image, out)
        else:
            light, peak = _shine(level)
            _add_light(image, out, light, (peak, np.float32(intensity)), released)


@compiled
def _color(levels: Any, image: Any) -> Any:
    """A colour, or its luma, in the units of the image: float32 (channels,)."""
    scale = full_scale(image) / 255
    color = np.empty(len(image), np.float32)
    if len(image) == 1:
        red, green, blue = levels[0] * scale, levels[1] * scale, levels[2] * scale
        color[0] = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    else:
        for channel in range(3):
            color[channel] = levels[channel] * scale
    return color


@compiled
def _mud(depth: Any, threshold: Any, kernel: Any) -> Any:
    """The share of each pixel that mud covers: float32 (height, width)."""
    values = depth.ravel()
    for i in range(len(values)):
        values[i] = np.float32(values[i] > threshold)
    space = filter_space(depth.shape[0], depth.shape[1], kernel)
    share = filter_plane(depth, kernel, kernel, NEAREST, space)
    values = share.ravel()
    for i in range(len(values)):
        values[i] = values[i] if values[i] >= np.float32(LEAST_MUD) else np.float32(0)
    return share


@compiled
def _cover(image: Any, out: Any, share: Any, paint: Any, released: bool) -> None:
    """Cover a share of each pixel with mud."""
    channels, height, width = image.shape
    values = np.empty(width, np.float32)
    for y in range(height):
        cover = share[y]
        for channel in range(channels):
            row, color = image[channel, y], paint[channel]
            for x in range(width):
                values[x] = np.float32(row[x]) * (np.float32(1) - cover[x]) + cover[x] * color
            store(values, out[channel, y], released)


@compiled
def _levels(depth: Any, threshold: Any, wraps: bool) -> Any:
    """The depth of the water as a grey level, uint8, and whether there is none."""
    level = np.empty(depth.shape, np.uint8)
    values, result, most = depth.ravel(), level.ravel(), np.uint8(0)
    white = np.float32(255)
    for i in range(len(values)):
        deep = (values[i] if values[i] >= threshold else np.float32(0)) * white
        whole = np.int32(deep) & np.int32(255) if wraps else np.int32(min(deep, white))
        result[i] = whole
        most |= np.uint8(whole)
    return level, most == 0


@compiled
def _shine(level: Any) -> Any:
    """The brightness of the water: uint16 (height, width), and its peak, at least 1."""
    height, width = level.shape
    distance = chamfer_distance(canny(level, CANNY_LOW, CANNY_HIGH), width)
    whole_px = _smooth_distance(distance, width)
    _equalize(whole_px)
    _mirror(whole_px)
    embossed = np.empty((height + 2, width + 2), np.uint8)
    for y in range(height):
        rows = whole_px[y], whole_px[y + 1], whole_px[y + 2]
        _emboss(rows, embossed[y + 1, 1 : width + 1])
    _mirror(embossed)
    light, peak = np.empty((height, width), np.uint16), np.uint16(1)
    total = np.empty(width + 2, np.uint16)
    for y in range(height):
        _sum_of_three(embossed[y], embossed[y + 1], embossed[y + 2], total)
        peak = max(peak, _light(total, level[y], light[y]))
    return light, peak


@compiled
def _mirror(plane: Any) -> None:
    """Fill the frame of a plane, mirrored about the edge pixels."""
    height, width = plane.shape
    plane[0, :] = plane[2]
    plane[height - 1, :] = plane[height - 3]
    for y in range(height):
        plane[y, 0], plane[y, width - 1] = plane[y, 2], plane[y, width - 3]


@compiled
def _sum_of_three(a: Any, b: Any, c: Any, out: Any) -> None:
    for x in range(len(out)):
        out[x] = np.uint16(a[x]) + np.uint16(b[x]) + np.uint16(c[x])


@compiled
def _smooth_distance(distance: Any, width: int) -> Any:
    """The mean distance over 3 × 3 pixels in whole pixels: uint8, in a frame of one pixel."""
    height = distance.shape[0] - 4
    whole_px = np.empty((height + 2, width + 2), np.uint8)
    total = np.empty(width + 2, np.uint16)
    scale, half = np.float32(1 / (9 * UNITS_PER_PX)), np.float32(0.5)
    left, mid, right = total[:width], total[1 : width + 1], total[2:]
    for y in range(height):
        above, below = abs(y - 1), min(y + 1, 2 * height - 3 - y)
        _sum_of_three(
            distance[above + 2][MARGIN - 1 :],
            distance[y + 2][MARGIN - 1 :],
            distance[below + 2][MARGIN - 1 :],
            total,
        )
        total[0], total[width + 1] = total[2], total[width - 1]
        result = whole_px[y + 1, 1 : width + 1]
        for x in range(width):
            nine = np.int32(left[x]) + np.int32(mid[x]) + np.int32(right[x])
            # The half keeps whole numbers of pixels whole.
            result[x] = np.int32((np.float32(np.int32(nine)) + half) * scale)
    return whole_px


@compiled
def _equalize(plane: Any) -> None:
    """Equalise the histogram of integers in [0, 32), in a frame: see `spatter._equalized`."""
    height, width = plane.shape[0] - 2, plane.shape[1] - 2
    counts = np.zeros((4, _LEVELS), np.int32)  # adding to one count is slow in succession
    for y in range(height):
        row = plane[y + 1, 1 : width + 1]
        for x in range(width):
            counts[x & 3, row[x] & (_LEVELS - 1)] += 1
    table = np.empty(_LEVELS, np.uint8)
    least = 0
    while counts[:, least].sum() == 0:
        least += 1
    lowest, at_most = counts[:, least].sum(), 0
    others = height * width - lowest
    gain = np.float32(1) / np.float32(max(others, 1)) * np.float32(255)
    for k in range(_LEVELS):
        at_most += counts[:, k].sum()
        rank = np.float32(max(at_most - lowest, 0)) * gain
        table[k] = least if others == 0 else np.int32(np.rint(rank))
    for y in range(height):
        row = plane[y + 1, 1 : width + 1]
        for x in range(width):
            row[x] = table[row[x] & (_LEVELS - 1)]


@compiled
def _emboss(rows: Any, out: Any) -> None:
    """Emboss a row, given with its neighbours in a frame: see `spatter._embossed`."""
    above, here, below = rows
    n = len(out)
    up_left, up, left, mid = above[:n], above[1 : n + 1], here[:n], here[1 : n + 1]
    right, down, down_right = here[2:], below[1 : n + 1], below[2:]
    for x in range(n):
        total = np.int16(np.int16(down_right[x]) - np.int16(up_left[x])) * 2
        total += np.int16(down[x]) - np.int16(up[x]) + np.int16(right[x]) - np.int16(left[x])
        out[x] = min(max(np.int16(total + mid[x]), np.int16(0)), np.int16(255))


@compiled
def _light(total: Any, level: Any, out: Any) -> Any:
    """The mean of three sums of three, times the depth of the water; returns the maximum."""
    n, peak, ninth = len(out), np.uint16(0), np.float32(1 / 9)
    left, mid, right = total[:n], total[1 : n + 1], total[2:]
    for x in range(n):
        # A ninth of an integer is never halfway between two integers.
        relief = np.int32(np.rint(np.float32(np.int32(left[x] + mid[x] + right[x])) * ninth))
        light = np.uint16(relief * np.int32(level[x]))
        out[x] = light
        peak = max(peak, light)
    return peak


@compiled
def _add_light(image: Any, out: Any, light: Any, scale: Any, released: bool) -> None:
    """Add light of the colour of water.

    Args:
        image, out: See `noctule.corruptions.loops.compiling`.
        light: Brightness, uint16 (height, width).
        scale: The peak of the brightness, and the share of white that it becomes.
        released: Whether to truncate the light in 8 bits instead of rounding it.
    """
    channels, height, width = image.shape
    water, values = _color(WATER, image), np.empty(width, np.float32)
    shine, peak, intensity = np.empty(width, np.float32), np.float32(scale[0]), scale[1]
    for y in range(height):
        source = light[y]
        for x in range(width):
            shine[x] = np.float32(source[x]) / peak * intensity
        for channel in range(channels):
            row, changed, color = image[channel, y], out[channel, y], water[channel]
            if image.itemsize == 4:
                for x in range(width):
                    changed[x] = clamped(shine[x] * color + row[x])
                continue
            for x in range(width):
                values[x] = shine[x] * color
            store(values, changed, released)
            for x in range(width):
                changed[x] = min(np.int16(changed[x] + row[x]), np.int16(255))
