"""Canny edges: the compiled twin of `noctule.corruptions.imagenet_c.canny`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops.compiling import compiled

_WEAK, _STRONG = 1, 2
_VECTOR = 128
_EACH_BYTE_WEAK = np.uint64(0x0101010101010101)
# In float32, products with the derivatives of bytes are exact.
_TAN_22_5_DEG = np.float32(13573 / 32768)


@compiled
def canny(plane: Any, low: int, high: int) -> Any:
    """Mark ridges of the gradient above `low` that are connected to a ridge above `high`.

    Args:
        plane: uint8 (height, width).
        low, high: Thresholds of |x derivative| + |y derivative|.

    Returns:
        2 on edges and less elsewhere, uint8 (height + 2, n), in a frame of one pixel, and
        columns after it for whole vectors.
    """
    height, width = plane.shape
    pitch = (width + _VECTOR - 1) // _VECTOR * _VECTOR + 2
    # Whole words of 64 bits.
    marks = np.zeros(((height + 2) * pitch + 7) // 8 * 8, np.uint8)
    frame = marks[: (height + 2) * pitch].reshape(height + 2, pitch)
    across, down = np.empty((3, width), np.int16), np.empty((3, width), np.int16)
    strength, scratch = np.zeros((3, width + 2), np.int16), np.empty((2, width + 2), np.int16)
    _derive(plane, 0, across[0], down[0], strength[0], scratch)
    for y in range(height):
        this, after = y % 3, (y + 1) % 3
        if y + 1 < height:
            _derive(plane, y + 1, across[after], down[after], strength[after], scratch)
        else:
            strength[after] = 0
        _mark_ridges(
            (strength[(y + 2) % 3], strength[this], strength[after]),
            across[this],
            down[this],
            (low, high),
            frame[y + 1, 1 : width + 1],
        )
    _join(marks, pitch)
    return frame


@compiled
def _derive(plane: Any, y: int, across: Any, down: Any, strength: Any, scratch: Any) -> None:
    """Sobel derivatives of a row, and the sum of their magnitudes in a frame of zeros."""
    height, width = plane.shape
    above, here, below = plane[max(y - 1, 0)], plane[y], plane[min(y + 1, height - 1)]
    smooth, steps = scratch[0], scratch[1]
    inner, inner_steps = smooth[1 : width + 1], steps[1 : width + 1]
    for x in range(width):
        inner[x] = np.int16(above[x]) + 2 * np.int16(here[x]) + np.int16(below[x])
        inner_steps[x] = np.int16(below[x]) - np.int16(above[x])
    smooth[0], smooth[width + 1] = smooth[1], smooth[width]
    steps[0], steps[width + 1] = steps[1], steps[width]
    left, right = smooth[:width], smooth[2:]
    left_steps, right_steps = steps[:width], steps[2:]
    total = strength[1 : width + 1]
    for x in range(width):
        dx = np.int16(right[x] - left[x])
        dy = np.int16(left_steps[x] + 2 * inner_steps[x] + right_steps[x])
        across[x], down[x] = dx, dy
        total[x] = np.int16(abs(dx)) + np.int16(abs(dy))


@compiled
def _mark_ridges(strengths: Any, across: Any, down: Any, limits: Any, marks: Any) -> None:
    """Mark the weak and the strong ridges of a row; see `canny._least_ridge`."""
    above, here, below = strengths
    low, high = np.int16(limits[0]), np.int16(limits[1])
    n = len(marks)
    above_left, above_mid, above_right = above[:n], above[1 : n + 1], above[2:]
    left, mid, right = here[:n], here[1 : n + 1], here[2:]
    below_left, below_mid, below_right = below[:n], below[1 : n + 1], below[2:]
    for x in range(n):
        dx, dy = across[x], down[x]
        width, height = np.int16(abs(dx)), np.int16(abs(dy))
        falling = np.int16(max(above_left[x], below_right[x]) + 1)
        rising = np.int16(max(above_right[x], below_left[x]) + 1)
        least = rising if np.int16(dx ^ dy) < 0 else falling
        along_x = max(np.int16(left[x] + 1), right[x])
        along_y = max(np.int16(above_mid[x] + 1), below_mid[x])
        slope = np.int16(np.int32(np.float32(width) * _TAN_22_5_DEG))
        least = along_x if slope >= height else least
        least = along_y if slope < np.int16(height - 2 * width) else least
        ridge = np.uint8(mid[x] >= least)
        marks[x] = ridge * np.uint8(np.uint8(mid[x] > low) + np.uint8(mid[x] > high))


@compiled
def _join(marks: Any, pitch: int) -> None:
    """Make those weak ridges strong that are connected to a strong one."""
    waiting = np.empty(len(marks), np.int32)
    groups = marks.view(np.uint64)
    for group in range(len(groups)):
        if groups[group] & _EACH_BYTE_WEAK:
            for pixel in range(8 * group, 8 * group + 8):
                if marks[pixel] == _WEAK and _is_near_strong(marks, pixel, pitch):
                    _spread(marks, pixel, pitch, waiting)


@compiled
def _is_near_strong(marks: Any, pixel: int, pitch: int) -> bool:
    for down in (-pitch, 0, pitch):
        for right in range(-1, 2):
            if marks[pixel + down + right] == _STRONG:
                return True
    return False


@compiled
def _spread(marks: Any, pixel: int, pitch: int, waiting: Any) -> None:
    """Make a weak ridge strong, and all that are connected to it."""
    marks[pixel] = _STRONG
    waiting[0], count = pixel, 1
    while count > 0:
        count -= 1
        pixel = waiting[count]
        for down in (-pitch, 0, pitch):
            for right in range(-1, 2):
                near = pixel + down + right
                if marks[near] == _WEAK:
                    marks[near] = _STRONG
                    waiting[count] = near
                    count += 1
