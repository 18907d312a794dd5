"""JPEG compression of one image: the compiled twin of `noctule.corruptions.imagenet_c.jpeg`.

Planes of brightness and of the other two colours are kept with their blocks, of 8 × 8 pixels,
in one row: (8, columns). Transforms take tiles of 8 blocks, (8 * LANES,), because loops of a
known length over known distances vectorise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c.jpeg import quantization_steps
from noctule.corruptions.loops.compiling import compiled

LANES = 64


@functools.lru_cache(maxsize=256)
def steps_of(quality: float) -> NDArray[np.int32]:
    """Quantization steps of brightness and of the other colours, for a tile: (2, 8 * LANES)."""
    return np.tile(quantization_steps(quality), (1, 1, LANES // 8)).reshape(2, 8 * LANES)


@compiled
def through_jpeg(image: Any, steps: Any, out: Any) -> None:
    """Compress an image and decompress it again.

    Args:
        image: uint8 (1 or 3, height, width).
        steps: From `steps_of`.
        out: uint8, of the same shape; may be the image.
    """
    channels, height, width = image.shape
    across = _whole_blocks(width)
    light = _plane(_whole_blocks(height) * across)
    if channels == 1:
        _copy_grey(image[0], light, across)
        _quantize(light, steps[0])
        for y in range(height):
            _copy_row(_row(light, y, across), out[0, y])
        return
    rows, columns = (height + 1) // 2, (width + 1) // 2
    below, colour_across = _whole_blocks(rows), _whole_blocks(columns)
    colour = _plane(2 * below * colour_across)
    _to_light(image, light, across)
    _to_colour(image, colour, colour_across, below)
    _quantize(light, steps[0])
    _quantize(colour, steps[1])
    blueness, redness = np.empty(2 * columns, np.int16), np.empty(2 * columns, np.int16)
    for y in range(height):
        _double(colour, colour_across, y, height, 0, blueness)
        _double(colour, colour_across, y, height, below, redness)
        _to_rgb(_row(light, y, across), blueness, redness, out[:, y])


# Arithmetic that stays in int32, which Numba's own does not.


@compiled
def _add(a: Any, b: Any) -> Any:
    return np.int32(np.int32(a) + np.int32(b))


@compiled
def _subtract(a: Any, b: Any) -> Any:
    return np.int32(np.int32(a) - np.int32(b))


@compiled
def _times(a: Any, factor: Any) -> Any:
    return np.int32(np.int32(a) * np.int32(factor))


@compiled
def _rounded(value: Any, bits: int) -> Any:
    """A value divided by 2 to the power of `bits`, rounded half up."""
    return np.int32(_add(value, 1 << (bits - 1)) >> np.int32(bits))


@compiled
def _to_byte(value: Any) -> Any:
    return np.uint8(min(max(value, np.int32(0)), np.int32(255)))


# Planes.


@compiled
def _whole_blocks(side: int) -> Any:
    return (side + 7) // 8 * 8


@compiled
def _plane(pixels: int) -> Any:
    return np.zeros((8, (pixels // 8 + LANES - 1) // LANES * LANES), np.uint8)


@compiled
def _row(plane: Any, y: int, across: int) -> Any:
    start = (y >> 3) * across
    return plane[y & 7, start : start + across]


@compiled
def _copy_row(row: Any, out: Any) -> None:
    for x in range(len(out)):
        out[x] = row[x]


@compiled
def _copy_grey(image: Any, light: Any, across: int) -> None:
    height, width = image.shape
    for y in range(_whole_blocks(height)):
        row = _row(light, y, across)
        _copy_row(image[min(y, height - 1)], row[:width])
        row[width:] = row[width - 1]


@compiled
def _to_light(image: Any, light: Any, across: int) -> None:
    _, height, width = image.shape
    for y in range(_whole_blocks(height)):
        source, row = min(y, height - 1), _row(light, y, across)
        red, green, blue = image[0, source], image[1, source], image[2, source]
        for x in range(width):
            warm = _add(_times(red[x], 19595), _times(green[x], 38470))
            row[x] = _rounded(_add(warm, _times(blue[x], 7471)), 16)
        row[width:] = row[width - 1]


@compiled
def _to_colour(image: Any, colour: Any, across: int, below: int) -> None:
    """Blueness, and from the row `below` on redness, at half the resolution."""
    height = image.shape[1]
    blueness = np.empty((2, 2 * across), np.uint8)
    redness = np.empty((2, 2 * across), np.uint8)
    for y in range(below):
        for k in range(2):
            if 2 * y < height:  # otherwise those of the last rows stay
                source = min(2 * y + k, height - 1)
                _colours(
                    image[0, source], image[1, source], image[2, source],
                    blueness[k], redness[k],
                )  # fmt: skip
        _halve(blueness[0], blueness[1], _row(colour, y, across))
        _halve(redness[0], redness[1], _row(colour, below + y, across))


@compiled
def _colours(red: Any, green: Any, blue: Any, blueness: Any, redness: Any) -> None:
    width, offset = len(red), (128 << 16) - 1
    for x in range(width):
        other = _add(_times(red[x], -11059), _times(green[x], -21709))
        blueness[x] = _rounded(_add(other, _add(_times(blue[x], 32768), offset)), 16)
        other = _add(_times(green[x], -27439), _times(blue[x], -5329))
        redness[x] = _rounded(_add(other, _add(_times(red[x], 32768), offset)), 16)
    blueness[width:] = blueness[width - 1]
    redness[width:] = redness[width - 1]


@compiled
def _halve(upper: Any, lower: Any, out: Any) -> None:
    """The mean of 2 × 2 pixels, rounded half down and half up in turns."""
    for x in range(len(out) // 2):
        k = np.uint64(4) * np.uint64(x)  # unsigned, or the loop does not vectorise
        left, right = (
            _sum_of_four(upper, lower, k),
            _sum_of_four(upper, lower, k + np.uint64(2)),
        )
        out[2 * x] = np.int32(_add(left, 1) >> np.int32(2))
        out[2 * x + 1] = np.int32(_add(right, 2) >> np.int32(2))


@compiled
def _sum_of_four(upper: Any, lower: Any, k: Any) -> Any:
    after = k + np.uint64(1)
    return _add(_add(upper[k], upper[after]), _add(lower[k], lower[after]))


@compiled
def _double(colour: Any, across: int, y: int, height: int, below: int, out: Any) -> None:
    """A row of the colour that starts at the row `below`, at the full resolution."""
    near, columns = y // 2, len(out) // 2
    far = min(max(near + 2 * (y & 1) - 1, 0), (height - 1) // 2)
    nearer, farther = _row(colour, below + near, across), _row(colour, below + far, across)
    if columns <= 2:
        for x in range(len(out)):
            out[x] = nearer[x // 2]
        return
    sums = np.empty(columns + 2, np.int16)
    for x in range(columns):
        sums[x + 1] = _add(_times(nearer[x], 3), farther[x])
    sums[0], sums[columns + 1] = sums[1], sums[columns]
    for x in range(columns):
        k = np.uint64(x)
        most = _times(sums[k + np.uint64(1)], 3)
        out[2 * x] = np.int32(_add(_add(most, sums[k]), 8) >> np.int32(4))
        out[2 * x + 1] = np.int32(_add(_add(most, sums[k + np.uint64(2)]), 7) >> np.int32(4))


@compiled
def _to_rgb(light: Any, blueness: Any, redness: Any, out: Any) -> None:
    red, green, blue = out[0], out[1], out[2]
    for x in range(len(red)):
        cold, warm = _subtract(blueness[x], 128), _subtract(redness[x], 128)
        grey = _add(_times(cold, -22554), _times(warm, -46802))
        red[x] = _to_byte(_add(light[x], _rounded(_times(warm, 91881), 16)))
        green[x] = _to_byte(_add(light[x], _rounded(grey, 16)))
        blue[x] = _to_byte(_add(light[x], _rounded(_times(cold, 116130), 16)))


# Blocks.


@compiled
def _quantize(plane: Any, steps: Any) -> None:
    """Round the coefficients of all blocks to multiples of their steps."""
    tile = np.empty(8 * LANES, np.int32)
    for start in range(0, plane.shape[1], LANES):
        for y in range(8):
            row = plane[y, start : start + LANES]
            for x in range(LANES):
                tile[LANES * y + x] = _subtract(row[x], 128)
        _forward_rows(tile)
        _forward_columns(tile)
        for i in range(8 * LANES):
            size = np.float32(_add(abs(tile[i]), _times(steps[i], 4)))
            # Exact, because the quotient is below 2 ** 12 and its denominator below 2 ** 11.
            number = np.int32(size / np.float32(_times(steps[i], 8)))
            tile[i] = _times(_times(number, steps[i]), 1 if tile[i] >= 0 else -1)
        _inverse_columns(tile)
        _inverse_rows(tile)
        for y in range(8):
            row = plane[y, start : start + LANES]
            for x in range(LANES):
                row[x] = _to_byte(_add(tile[LANES * y + x], 128))


@compiled
def _forward(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, bits: int) -> Any:
    """See `noctule.corruptions.imagenet_c.jpeg`; divided by 2 to the power of `bits`."""
    even, odd = _add(_add(a, h), _add(d, e)), _subtract(_add(a, h), _add(d, e))
    even_, odd_ = _add(_add(b, g), _add(c, f)), _subtract(_add(b, g), _add(c, f))
    shared = _times(_add(odd, odd_), 4433)
    seventh, fifth, third, first = _odd(
        _subtract(a, h), _subtract(b, g), _subtract(c, f), _subtract(d, e)
    )
    return (
        _rounded(_times(_add(even, even_), 1 << 13), bits),
        _rounded(first, bits),
        _rounded(_add(shared, _times(odd, 6270)), bits),
        _rounded(third, bits),
        _rounded(_times(_subtract(even, even_), 1 << 13), bits),
        _rounded(fifth, bits),
        _rounded(_subtract(shared, _times(odd_, 15137)), bits),
        _rounded(seventh, bits),
    )


@compiled
def _inverse(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, bits: int) -> Any:
    shared = _times(_add(c, g), 4433)
    low, high = _times(_add(a, e), 1 << 13), _times(_subtract(a, e), 1 << 13)
    wide, narrow = _add(shared, _times(c, 6270)), _subtract(shared, _times(g, 15137))
    fourth, third, second, first = _odd(b, d, f, h)
    return (
        _rounded(_add(_add(low, wide), first), bits),
        _rounded(_add(_add(high, narrow), second), bits),
        _rounded(_add(_subtract(high, narrow), third), bits),
        _rounded(_add(_subtract(low, wide), fourth), bits),
        _rounded(_subtract(_subtract(low, wide), fourth), bits),
        _rounded(_subtract(_subtract(high, narrow), third), bits),
        _rounded(_subtract(_add(high, narrow), second), bits),
        _rounded(_subtract(_add(low, wide), first), bits),
    )


@compiled
def _odd(first: Any, third: Any, fifth: Any, seventh: Any) -> Any:
    across, along = _times(_add(first, seventh), -7373), _times(_add(third, fifth), -20995)
    left, right = _add(third, seventh), _add(first, fifth)
    shared = _times(_add(left, right), 9633)
    left, right = _add(shared, _times(left, -16069)), _add(shared, _times(right, -3196))
    return (
        _add(_add(_times(seventh, 2446), across), left),
        _add(_add(_times(fifth, 16819), along), right),
        _add(_add(_times(third, 25172), along), left),
        _add(_add(_times(first, 12299), across), right),
    )


def _transform(values: Callable[..., Any], apart: int, ahead: int, bits: int) -> Any:
    """Transform 8 values `apart` from each other, for each of LANES, which are `ahead`."""

    @compiled
    def transform(tile: Any) -> None:
        for lane in range(LANES):
            i = lane * ahead
            (
                tile[i], tile[i + apart], tile[i + 2 * apart], tile[i + 3 * apart],
                tile[i + 4 * apart], tile[i + 5 * apart], tile[i + 6 * apart],
                tile[i + 7 * apart],
            ) = values(
                tile[i], tile[i + apart], tile[i + 2 * apart], tile[i + 3 * apart],
                tile[i + 4 * apart], tile[i + 5 * apart], tile[i + 6 * apart],
                tile[i + 7 * apart], bits,
            )  # fmt: skip

    return transform


_forward_rows = _transform(_forward, 1, 8, 11)
_forward_columns = _transform(_forward, LANES, 1, 15)
_inverse_columns = _transform(_inverse, LANES, 1, 11)
_inverse_rows = _transform(_inverse, 1, 8, 18)
