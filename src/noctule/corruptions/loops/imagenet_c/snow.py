"""Compiled loops of ImageNet-C: snow."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.fields import normal_table
from noctule.corruptions.imagenet_c.blur import LIFT, scaled_to
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c.motion import (
    extended,
    line_offsets,
    line_taps,
    sum_along,
)
from noctule.corruptions.loops.pixels import BYTE, full_scale, store
from noctule.corruptions.loops.random import fill_bits16


@functools.cache
def _normal() -> NDArray[np.float32]:
    return normal_table(torch.device("cpu")).numpy()


@functools.lru_cache(maxsize=64)
def _factor(height: int, width: int, flake_px: float) -> NDArray[np.float64]:
    """The magnification of the noise: (1,)."""
    return np.array([max(1.0, scaled_to(flake_px, min(height, width)))])


@loop("uint8", "float32", tables={"normal": _normal, "factor": _factor, "taps": line_taps})
def snow(
    image: Any,
    out: Any,
    mean: float,
    deviation: float,
    flake_px: float,
    threshold: float,
    radius_px: float,
    sigma_px: float,
    image_share: float,
    tilt_deg: float,
    flakes: Any,
    released: bool,
    normal: Any,
    factor: Any,
    taps: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.snow.snow`."""
    channels, height, width = image.shape
    spread = deviation, mean, threshold
    layer = _layer(height, width, flakes, normal, factor[0], spread, released)
    streaks = _fallen(layer, tilt_deg - 90, taps, np.float32(full_scale(image) / 255), released)
    grey, values = np.empty(width, np.float32), np.empty(width, np.float32)
    added, last = np.empty(width, np.float32), np.uint64(width - 1)
    share = np.float32(image_share)
    lift = np.float32(LIFT if released and image.dtype == BYTE else 0)
    for y in range(height):
        row, turned = streaks[y], streaks[height - 1 - y]
        for x in range(width):
            added[x] = row[x] + turned[last - np.uint64(x)]
        _brighten(image, y, grey)
        for channel in range(channels):
            _bleach(image[channel, y], grey, share, added, values)
            if lift > 0:
                for x in range(width):
                    values[x] += lift
            store(values, out[channel, y], released)


@compiled
def _layer(
    height: int,
    width: int,
    flakes: Any,
    normal: Any,
    factor: float,
    spread: Any,
    released: bool,
) -> Any:
    """Magnified noise above a threshold: uint8 (height, width).

    Args:
        height, width: Size of the image.
        flakes: Key of the noise.
        normal: The number of each 16 bits.
        factor: Magnification.
        spread: Standard deviation, mean and threshold of the noise.
        released: Whether to truncate to 8 bits.
    """
    down, across = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    noise = np.empty((down, across))
    bits, flat = np.empty(down * across, np.uint16), noise.ravel()
    fill_bits16(flakes, 0, bits)
    for i in range(len(bits)):
        flat[i] = normal[bits[i]]
    above, rows = _between(down, height, factor)
    before, columns = _between(across, width, factor)
    layer = np.empty((height, width), np.uint8)
    near, far, known = np.empty(width), np.empty(width), -2
    for y in range(height):
        if above[y] != known:
            if above[y] == known + 1:
                near, far = far, near
            else:
                _resize(noise[above[y]], before, columns, near)
            known = above[y]
            _resize(noise[min(known + 1, down - 1)], before, columns, far)
        _flakes(near, far, rows[y], spread, released, layer[y])
    return layer


@compiled
def _between(count: int, size: int, factor: float) -> Any:
    """The first of the two values that are interpolated, and the weight of the second.

    Args:
        count: Number of values of the crop.
        size: Number of pixels, in the middle of the magnified crop.
        factor: Magnification.
    """
    large = int(np.rint(count * factor))
    scale = (count - 1) / (large - 1) if large > 1 else 0.0
    first, weight = np.empty(size, np.uint32), np.empty(size)
    for x in range(size):
        position = scale * ((large - size) // 2 + x)
        low = min(int(position), count - 1)
        first[x], weight[x] = low, min(max(position - low, 0.0), 1.0)
    return first, weight


@compiled
def _resize(row: Any, first: Any, weight: Any, out: Any) -> None:
    last = np.uint32(len(row) - 1)
    for x in range(len(out)):
        left, right = row[first[x]], row[min(np.uint32(first[x] + np.uint32(1)), last)]
        out[x] = (1 - weight[x]) * left + weight[x] * right


@compiled
def _flakes(near: Any, far: Any, weight: float, spread: Any, released: bool, out: Any) -> None:
    """Interpolate two rows of noise, and make grey levels of what exceeds the threshold."""
    deviation, mean, threshold = spread
    other = 1 - weight
    for x in range(len(out)):
        value = (other * near[x] + weight * far[x]) * deviation + mean
        value = value if value >= threshold else 0.0
        value = min(max(value, 0.0), 1.0) * 255
        out[x] = np.int32(value if released else np.rint(value))


@compiled
def _fallen(layer: Any, angle_deg: float, taps: Any, scale: Any, released: bool) -> Any:
    """The layer with motion blur, in the units of the image: float32 (height, width)."""
    offsets = line_offsets(len(taps), angle_deg)
    wide, streaks = extended(layer, offsets), np.empty(layer.shape, np.float32)
    for y in range(len(layer)):
        row = streaks[y]
        sum_along(wide, y, offsets, taps, row)
        for x in range(len(row)):
            row[x] = (np.rint(row[x]) if released else row[x]) * scale
    return streaks


@compiled
def _brighten(image: Any, y: int, out: Any) -> None:
    """1.5 times the grey of a row plus 0.5: float32 (width,)."""
    half = np.float32(0.5 * full_scale(image))
    if len(image) == 1:
        row = image[0, y]
        for x in range(len(out)):
            out[x] = np.float32(row[x]) * np.float32(1.5) + half
        return
    red, green, blue = image[0, y], image[1, y], image[2, y]
    r, g, b = np.float32(0.299), np.float32(0.587), np.float32(0.114)
    for x in range(len(out)):
        grey = np.float32(red[x]) * r + np.float32(green[x]) * g + np.float32(blue[x]) * b
        out[x] = grey * np.float32(1.5) + half


@compiled
def _bleach(row: Any, grey: Any, share: Any, added: Any, out: Any) -> None:
    """Mix a row with the brighter of itself and a grey, and add the streaks."""
    other = np.float32(1) - share
    for x in range(len(out)):
        value = np.float32(row[x])
        out[x] = value * share + max(value, grey[x]) * other + added[x]
