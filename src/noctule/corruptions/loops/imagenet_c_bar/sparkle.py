"""Compiled loops of light in rays from a point: sparkles, inverse_sparkles."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.fields import normal_table
from noctule.corruptions.imagenet_c_bar.sparkle import (
    FEWEST_RAYS,
    MOST_RAYS,
    ROOT_HALF_BITS,
    SHADE_RADIUS_PX,
    SHORTEST_RAY_PX,
    SPARKLES,
    SPREAD,
)
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import move_to_white
from noctule.corruptions.loops.imagenet_c_bar.positions import (
    angle_from_down32,
    exp2_near_0,
    log2_near_1,
)
from noctule.corruptions.loops.pixels import side_scale
from noctule.corruptions.loops.random import fill_bits16, integer, unit_interval, words


@functools.cache
def _normal() -> NDArray[np.float32]:
    return normal_table(torch.device("cpu")).numpy()


@compiled
def _ray_ends(lengths: Any) -> Any:
    """The length of each ray, and the difference of the next ray's: float32 (rays + 1, 2).

    The last entry is for angles that are rounded to the end of the last ray.
    """
    count = len(lengths)
    ends = np.empty((count + 1, 2), np.float32)
    for i in range(count + 1):
        ends[i, 0] = lengths[i % count]
        ends[i, 1] = lengths[(i + 1) % count] - lengths[i % count]
    return ends


@compiled
def _light(y: int, row: Any, column: Any, ends: Any, within: Any, light: Any) -> None:
    """The brightness of a sparkle in row y: (length / distance)².

    Args:
        row, column: Centre in pixels, float32.
        ends: See `_ray_ends`.
        within, light: float32 (width,). `within` receives the position between two rays, and
            `light` the result, without the rays' profile.
    """
    number, square = np.empty(len(light), np.uint32), np.empty(len(light), np.float32)
    count = np.float32(len(ends) - 1)
    start = count * np.float32(0.5)
    down = np.float32(y) - row
    for x in range(len(light)):
        right = np.float32(x) - column
        away = down * down + right * right
        ray = angle_from_down32(down, right, np.sqrt(away)) * count + start
        ray = max(ray, np.float32(0))
        whole = np.floor(ray)
        square[x], within[x] = away + np.float32(1e-4), ray - whole
        number[x] = np.int32(whole)
    for x in range(len(light)):
        k = number[x]
        light[x] = ends[k, 1] * within[x] + ends[k, 0]
    for x in range(len(light)):
        light[x] = light[x] * light[x] / square[x]


@compiled
def _profile(within: Any) -> Any:
    away = within - np.float32(0.5)
    return np.float32(1) - away * away


@compiled
def _power(base: Any, exponent: Any) -> Any:
    """Base ** exponent, from 2**-126 to 2: float32."""
    bits = np.float32(base).view(np.int32)
    scale = np.int32(np.int32(bits - np.int32(ROOT_HALF_BITS)) >> np.int32(23))
    fraction = np.int32(bits - np.int32(scale << np.int32(23))).view(np.float32)
    logarithm = (log2_near_1(fraction) + np.float32(scale)) * exponent
    logarithm = min(max(logarithm, np.float32(-126)), np.float32(1))
    whole = np.rint(logarithm)
    factor = np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23))
    return exp2_near_0(logarithm - whole) * factor.view(np.float32)


@loop("uint8", "float32", tables={"normal": _normal})
def sparkles(
    image: Any, out: Any, radius_px: float, places: Any, rays: Any, released: bool, normal: Any
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.sparkle.sparkles`."""
    _, height, width = image.shape
    mean = np.float32(radius_px) * np.float32(side_scale(image))
    spread = np.float32(SPREAD) * mean
    bits = np.empty(SPARKLES * (MOST_RAYS + 1), np.uint16)
    fill_bits16(rays, 0, bits)
    centers, all_ends = np.empty((SPARKLES, 2), np.float32), []
    for k in range(SPARKLES):
        w0, w1 = words(places, k, 0)
        centers[k, 0] = unit_interval(w0) * np.float32(height)
        centers[k, 1] = unit_interval(w1) * np.float32(width)
        count = integer(words(places, k, 1)[0], FEWEST_RAYS, MOST_RAYS)
        lengths = np.empty(count, np.float32)
        for i in range(count):
            length = mean + spread * normal[bits[k * (MOST_RAYS + 1) + i]]
            lengths[i] = max(length, np.float32(SHORTEST_RAY_PX))
        all_ends.append(_ray_ends(lengths))
    within, light = np.empty(width, np.float32), np.empty(width, np.float32)
    left = np.empty(width, np.float32)
    for y in range(height):
        left[:] = np.float32(1)
        for k in range(SPARKLES):
            _light(y, centers[k, 0], centers[k, 1], all_ends[k], within, light)
            for x in range(width):
                brightness = min(light[x] * _profile(within[x]), np.float32(1))
                left[x] *= np.float32(1) - brightness
        for x in range(width):
            left[x] = np.float32(1) - left[x]
        move_to_white(image, y, left, released, out)


@loop("uint8", "float32", tables={"normal": _normal})
def inverse_sparkles(
    image: Any,
    out: Any,
    exponent: float,
    center_row: float,
    center_column: float,
    ray_count: int,
    rays: Any,
    released: bool,
    normal: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.sparkle.inverse_sparkles`."""
    _, height, width = image.shape
    mean = SHADE_RADIUS_PX * side_scale(image)
    bits, lengths = np.empty(ray_count, np.uint16), np.empty(ray_count, np.float32)
    fill_bits16(rays, 0, bits)
    for i in range(ray_count):
        lengths[i] = normal[bits[i]] * np.float32(SPREAD * mean) + np.float32(mean)
    ends, power = _ray_ends(lengths), np.float32(exponent)
    row, column = np.float32(center_row * height), np.float32(center_column * width)
    within, light = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        _light(y, row, column, ends, within, light)
        for x in range(width):
            stays = _power(light[x], power) * _profile(within[x])
            light[x] = np.float32(1) - min(stays, np.float32(1))
        move_to_white(image, y, light, released, out)
