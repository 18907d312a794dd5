"""Compiled loop of plasma_noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c_bar.plasma import MOST_BENDS, TURN
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import blend_pattern
from noctule.corruptions.loops.imagenet_c_bar.positions import cosine
from noctule.corruptions.loops.pixels import side_scale


@compiled
def _bend(x: Any, y: Any, bends: int, sharpness: float, phase: float) -> None:
    """Bend a row of coordinates, in turns, in place."""
    frequency, size = 1.0, 1 / TURN
    for _ in range(bends):
        for i in range(len(x)):
            along_x = cosine(y[i] * frequency + phase) * size
            along_y = cosine(x[i] * frequency + phase - 0.25) * size
            x[i] += along_x - along_y * 0.3
            y[i] += along_y + along_x * 0.3
        frequency *= 1.93
        phase, size = phase * (1 / 1.15), size / (-sharpness + 2.25)


@loop("uint8", "float32")
def plasma_noise(
    image: Any,
    out: Any,
    alpha: float,
    time: float,
    bends: int,
    sharpness: float,
    scale_px: float,
    released: bool,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.plasma.plasma_noise`."""
    channels, height, width = image.shape
    turn_px, phase = scale_px * (TURN * side_scale(image)), time * (1 / TURN)
    offset = cosine(phase - 0.25) * (1 / TURN)
    columns, x, y = np.empty(width), np.empty(width), np.empty(width)
    color = np.empty(width, np.float32)
    for i in range(width):
        columns[i] = i / turn_px
    for row in range(height):
        x[:], y[:] = columns, row / turn_px
        _bend(x, y, min(bends, MOST_BENDS), sharpness, phase)
        for channel in range(channels):
            if channel == 0:
                for i in range(width):
                    color[i] = cosine(x[i] - phase - 0.25)
            elif channel == 1:
                for i in range(width):
                    color[i] = cosine((x[i] + y[i] + offset) * 0.5 - 0.25)
            else:
                for i in range(width):
                    color[i] = cosine(y[i] + phase - 0.25)
            blend_pattern(image, channel, row, color, alpha, released, out)
