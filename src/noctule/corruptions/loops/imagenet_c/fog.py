"""Compiled loops of ImageNet-C: fog."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c.fog import COARSE_SIDE
from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.random import threefry13

_QUARTER, _HALF = np.float32(0.25), np.float32(0.5)


@loop("uint8")
def fog(
    image: Any, out: Any, intensity: float, wibble_decay: float, plasma: Any, released: bool
) -> None:
    """See `noctule.corruptions.imagenet_c.fog.fog`."""
    channels, height, width = image.shape
    brightest = np.uint8(0)
    for value in image.ravel():
        brightest = max(brightest, value)
    share = _image_share(brightest / 255, intensity)
    veil = _veil(height, width, share * intensity * 255, wibble_decay, plasma)
    factor = np.float32(share)
    for channel in range(channels):
        for y in range(height):
            row, added, changed = image[channel, y], veil[y], out[channel, y]
            if released:
                for x in range(width):
                    changed[x] = np.int32(np.float32(row[x]) * factor + added[x])
            else:
                for x in range(width):
                    value = np.float32(row[x]) * factor + added[x]
                    changed[x] = np.int32(np.rint(value))


@loop("float32", name="fog")
def fog_float32(
    image: Any, out: Any, intensity: float, wibble_decay: float, plasma: Any, released: bool
) -> None:
    """See `noctule.corruptions.imagenet_c.fog.fog`."""
    channels, height, width = image.shape
    bits = np.int32(0)
    for value in image.ravel().view(np.int32):  # in the order of floats that are not negative
        bits = max(bits, value)
    brightest = np.array([bits]).view(np.float32)[0]
    share = _image_share(brightest, intensity)
    veil = _veil(height, width, share * intensity, wibble_decay, plasma)
    factor, one = np.float32(share), np.float32(1)
    for channel in range(channels):
        for y in range(height):
            row, added, changed = image[channel, y], veil[y], out[channel, y]
            for x in range(width):
                changed[x] = min(row[x] * factor + added[x], one)


@compiled
def _image_share(brightest: float, intensity: float) -> float:
    return brightest / max(brightest + intensity, np.finfo(np.float64).tiny)


@compiled
def _veil(height: int, width: int, strength: float, decay: float, plasma: Any) -> Any:
    """The corner of a height map, scaled from the range of the map to [0, strength]."""
    side = 1
    while side < max(height, width):
        side *= 2
    halves = min(side, COARSE_SIDE) ** 2
    numbers = _numbers(plasma, (side * side + halves) // 8)
    bytes_ = numbers[halves:]
    # Rows of grids end with their first value.
    grid = np.zeros((1, 2), np.float32)
    reach, n = 1.0, 1
    while 2 * n < side:
        fine = np.empty((2 * n, 2 * n + 1), np.float32)
        if 2 * n <= COARSE_SIDE:
            _refine(grid, numbers.view(np.int16), np.float32(reach / (1 << 15)), fine)
        else:
            _refine(grid, bytes_, np.float32(reach / (1 << 7)), fine)
        for y in range(2 * n):
            fine[y, 2 * n] = fine[y, 0]
        grid, n, reach = fine, 2 * n, reach / (decay * decay)
    veil = np.empty((height, width), np.float32)
    if side <= COARSE_SIDE:
        low, high = _refine(grid, numbers.view(np.int16), np.float32(reach / (1 << 15)), veil)
    else:
        low, high = _refine(grid, bytes_, np.float32(reach / (1 << 7)), veil)
    gain = np.float32(strength / np.float64(high - low))
    flat = veil.ravel()
    for i in range(len(flat)):
        flat[i] = (flat[i] - low) * gain
    return veil


@compiled
def _numbers(plasma: Any, elements: int) -> Any:
    """The first words of the elements, and then their second words: as int8."""
    words = np.empty(2 * elements, np.uint32)
    first, second = words[:elements], words[elements:]
    for i in range(elements):
        first[i], second[i] = threefry13(plasma[0], plasma[1], np.uint32(i), np.uint32(0))
    return words.view(np.int8)


@compiled
def _refine(grid: Any, numbers: Any, scale: Any, fine: Any) -> Any:
    """Refine a periodic grid by two: see `noctule.corruptions.imagenet_c.fog`.

    Args:
        grid: float32 (n, n + 1), whose rows end with their first value.
        numbers: Random integers; the grid uses those from n².
        scale: Factor of the integers plus a half.
        fine: The upper left corner of the refined grid, float32 (rows, columns), is written.

    Returns:
        The lowest and the highest value of the whole refined grid.
    """
    n = len(grid)
    square = n * n
    pairs, more_pairs = np.empty(n, np.float32), np.empty(n, np.float32)
    # Rows of centres begin with their last value.
    above, centre = np.empty(n + 1, np.float32), np.empty(n + 1, np.float32)
    along_row, along_column = np.empty(n, np.float32), np.empty(n, np.float32)
    low, high = grid[0, :n].copy(), grid[0, :n].copy()
    _add_pairs(grid[n - 1], pairs)
    _add_pairs(grid[0], more_pairs)
    _centres(pairs, more_pairs, numbers[2 * square - n :], scale, above)
    for y in range(n):
        pairs, more_pairs = more_pairs, pairs
        corner, below = grid[y], grid[y + 1 if y + 1 < n else 0]
        _add_pairs(below, more_pairs)
        _centres(pairs, more_pairs, numbers[square + y * n :], scale, centre)
        _edges(pairs, above[1:], centre[1:], numbers[2 * square + y * n :], scale, along_row)
        columns = numbers[3 * square + y * n :]
        _column_edges(corner, below, centre, columns, scale, along_column)
        _extend_range(corner, along_row, along_column, centre[1:], low, high)
        if 2 * y < len(fine):
            _interleave(corner, along_row, fine[2 * y])
        if 2 * y + 1 < len(fine):
            _interleave(along_column, centre[1:], fine[2 * y + 1])
        above, centre = centre, above
    return low.min(), high.max()


@compiled
def _add_pairs(row: Any, out: Any) -> None:
    left, right = row[: len(out)], row[1 : len(out) + 1]
    for x in range(len(out)):
        out[x] = left[x] + right[x]


@compiled
def _centres(pairs: Any, more_pairs: Any, numbers: Any, scale: Any, out: Any) -> None:
    shifted, part = out[1:], numbers[: len(pairs)]
    for x in range(len(pairs)):
        value = (np.float32(part[x]) + _HALF) * scale
        shifted[x] = value + _QUARTER * pairs[x] + _QUARTER * more_pairs[x]
    out[0] = out[len(pairs)]


@compiled
def _edges(pairs: Any, above: Any, centre: Any, numbers: Any, scale: Any, out: Any) -> None:
    part = numbers[: len(out)]
    for x in range(len(out)):
        value = (np.float32(part[x]) + _HALF) * scale
        out[x] = value + _QUARTER * (pairs[x] + centre[x] + above[x])


@compiled
def _column_edges(
    corner: Any, below: Any, centre: Any, numbers: Any, scale: Any, out: Any
) -> None:
    part, before, after = numbers[: len(out)], centre[: len(out)], centre[1 : len(out) + 1]
    for x in range(len(out)):
        value = (np.float32(part[x]) + _HALF) * scale
        out[x] = value + _QUARTER * (corner[x] + below[x] + after[x] + before[x])


@compiled
def _extend_range(a: Any, b: Any, c: Any, d: Any, low: Any, high: Any) -> None:
    for x in range(len(low)):
        low[x] = min(min(min(a[x], b[x]), min(c[x], d[x])), low[x])
        high[x] = max(max(max(a[x], b[x]), max(c[x], d[x])), high[x])


@compiled
def _interleave(even: Any, odd: Any, out: Any) -> None:
    half = len(out) // 2
    for x in range(half):
        out[2 * x] = even[x]
        out[2 * x + 1] = odd[x]
    if len(out) > 2 * half:
        out[2 * half] = even[half]
