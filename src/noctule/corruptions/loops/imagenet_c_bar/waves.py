"""Compiled loops of regular waves: single_frequency_greyscale, cocentric_sine_waves."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c_bar.waves import NARROWEST_RING_PX
from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import add_pattern, full_scale
from noctule.corruptions.loops.imagenet_c_bar.positions import angle_from_down, cosine
from noctule.corruptions.loops.pixels import side_scale


@loop("uint8", "float32")
def single_frequency_greyscale(
    image: Any,
    out: Any,
    amplitude: float,
    frequency: float,
    slope: float,
    axis: int,
    phase_deg: float,
    released: bool,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.waves.single_frequency_greyscale`."""
    _, height, width = image.shape
    other = frequency * slope
    per_row, per_column = (frequency, other) if axis == 0 else (other, frequency)
    amount = np.float32(amplitude * np.float64(full_scale(image)))
    sines, cosines = np.empty(width, np.float32), np.empty(width, np.float32)
    wave = np.empty(width, np.float32)
    for x in range(width):
        sines[x] = cosine(x * per_column - 0.25)
        cosines[x] = cosine(x * per_column)
    for y in range(height):
        down = y * per_row + phase_deg * (1 / 360)
        sin, cos = np.float32(cosine(down - 0.25)), np.float32(cosine(down))
        for x in range(width):
            wave[x] = sin * cosines[x] + cos * sines[x]
        add_pattern(image, y, wave, amount, released, out)


@loop("uint8", "float32")
def cocentric_sine_waves(
    image: Any,
    out: Any,
    amplitude: float,
    center_row: float,
    center_column: float,
    lobes: float,
    lobe_px: float,
    ring_px: float,
    released: bool,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.waves.cocentric_sine_waves`."""
    _, height, width = image.shape
    scale = side_scale(image)
    ring, outline = max(ring_px * scale, NARROWEST_RING_PX), lobe_px * scale
    amount = np.float32(2 * amplitude * np.float64(full_scale(image)))
    tooth = np.empty(width, np.float32)
    for y in range(height):
        down = y - center_row * height
        for x in range(width):
            right = x - center_column * width
            distance = np.sqrt(down * down + right * right)
            angle = angle_from_down(down, right, distance)
            rings = (distance + cosine(angle * lobes - 0.25) * outline) / ring
            tooth[x] = rings - np.floor(rings) - 0.5
        add_pattern(image, y, tooth, amount, released, out)
