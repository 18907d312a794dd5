"""Compiled loops of ImageNet-C: frost."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions.imagenet_c.frost import PHOTOGRAPHS_DRAWN, shrunk_sheet
from noctule.corruptions.imagenet_c.ice import SHEETS, SIDE_PX
from noctule.corruptions.imagenet_c.textures import FROST, load_texture
from noctule.corruptions.loops.compiling import Table, compiled, loop
from noctule.corruptions.loops.pixels import side_scale
from noctule.corruptions.loops.random import high24, words
from noctule.corruptions.pixels import LUMA, REFERENCE_SIDE_PX


def _textures(
    height: int, width: int, texture_scale: float, released: bool
) -> NDArray[np.uint8]:
    """The values of all textures that may be drawn."""
    if released:
        return _photographs()[0]
    side = round(SIDE_PX * texture_scale * (min(height, width) / REFERENCE_SIDE_PX))
    return _sheets(min(SIDE_PX, max(1, side)))[0]


def _places(height: int, width: int, texture_scale: float, released: bool) -> NDArray[np.int64]:
    """The offset, height and width of each texture: (textures, 3)."""
    if released:
        return _photographs()[1]
    side = round(SIDE_PX * texture_scale * (min(height, width) / REFERENCE_SIDE_PX))
    return _sheets(min(SIDE_PX, max(1, side)))[1]


Joined = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _photographs() -> Joined:
    return _joined_photographs(*(load_texture(FROST[n]) for n in range(PHOTOGRAPHS_DRAWN)))


@functools.lru_cache(maxsize=1)
def _joined_photographs(*photographs: Tensor) -> Joined:
    return _joined([photograph.numpy() for photograph in photographs])


@functools.lru_cache(maxsize=16)
def _sheets(side: int) -> Joined:
    return _joined([shrunk_sheet(n, side).transpose(2, 0, 1) for n in range(len(SHEETS))])


def _joined(textures: list[NDArray[np.uint8]]) -> Joined:
    ends = np.cumsum([texture.size for texture in textures])
    places = [
        (end - texture.size, *texture.shape[1:])
        for end, texture in zip(ends.tolist(), textures, strict=True)
    ]
    return np.concatenate([texture.ravel() for texture in textures]), np.array(places)


TABLES: dict[str, Table] = {"textures": _textures, "places": _places}


@loop("uint8", tables=TABLES)
def frost(
    image: Any,
    out: Any,
    image_share: float,
    frost_share: float,
    texture_scale: float,
    place: Any,
    released: bool,
    textures: Any,
    places: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.frost.frost`."""
    window = _window(image, texture_scale, place, released, textures, places)
    if released:
        layer = np.empty(image.shape[2], np.float64)
        _mix(image, out, image_share, frost_share, layer, _truncated, window)
    else:
        single = np.empty(image.shape[2], np.float32)
        shares = np.float32(image_share), np.float32(frost_share)
        _mix(image, out, *shares, single, _rounded, window)


@loop("float32", name="frost", tables=TABLES)
def frost_float32(
    image: Any,
    out: Any,
    image_share: float,
    frost_share: float,
    texture_scale: float,
    place: Any,
    released: bool,
    textures: Any,
    places: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c.frost.frost`."""
    window = _window(image, texture_scale, place, released, textures, places)
    layer = np.empty(image.shape[2], np.float32)
    shares = np.float32(image_share), np.float32(frost_share * (1 / 255))
    _mix(image, out, *shares, layer, _clamped, window)


@compiled
def _window(
    image: Any, texture_scale: float, place: Any, released: bool, textures: Any, places: Any
) -> Any:
    """A texture (3, rows, columns), the first row and column of the window, and the scale.

    The last value is whether the texture is periodic.
    """
    w0, _ = words(place, 0, 0)
    w1, w2 = words(place, 1, 0)
    offset, rows, columns = places[(high24(w0) * len(places)) >> 24]
    texture = textures[offset : offset + 3 * rows * columns].reshape(3, rows, columns)
    scale = texture_scale * side_scale(image)
    if released:
        _, height, width = image.shape
        scale = max(scale, (height + 1) / rows, (width + 1) / columns)
        down, right = np.rint(rows * scale) - height, np.rint(columns * scale) - width
    else:
        down = right = max(1.0, np.rint(SIDE_PX * scale))
        scale = max(1.0, scale)  # textures are shrunk beforehand
    row, column = (high24(w1) * int(down)) >> 24, (high24(w2) * int(right)) >> 24
    return texture, row, column, scale, not released


@compiled
def _mix(
    image: Any, out: Any, image_share: Any, frost_share: Any, layer: Any, add: Any, window: Any
) -> None:
    """Add the window to the image, row by row.

    Args:
        image, out: See `noctule.corruptions.loops.compiling`.
        image_share, frost_share: Factors, of the dtype in which the mixture is computed.
        layer: Scratch of that dtype, (width,).
        add: Function of a row of the image, the factors, the frost, and the row to write.
        window: See `_window`.
    """
    texture, row, column, scale, wraps = window
    channels, height, width = image.shape
    frozen = np.empty((3, width), np.uint8)
    above, below, down = _between(row, height, texture.shape[1], scale, wraps)
    before, behind, right = _between(column, width, texture.shape[2], scale, wraps)
    mixed = np.empty(texture.shape[2], np.float32)
    for y in range(height):
        if scale == 1 and channels == 3:
            for channel in range(3):
                row, part, changed = (
                    image[channel, y],
                    texture[channel, above[y]],
                    out[channel, y],
                )
                first, start = 0, column
                while first < width:
                    last = min(width, first + len(part) - start)
                    frost = part[start : start + last - first]
                    add(row[first:last], image_share, frost_share, frost, changed[first:last])
                    first, start = last, 0
            continue
        for channel in range(3):
            part, frost = texture[channel], frozen[channel]
            _mix_rows(part[above[y]], part[below[y]], down[y], mixed)
            _resize_row(mixed, before, behind, right, frost)
        if channels == 1:
            _to_luma(frozen, layer)
            add(image[0, y], image_share, frost_share, layer, out[0, y])
        else:
            for channel in range(3):
                frost = frozen[channel]
                add(image[channel, y], image_share, frost_share, frost, out[channel, y])


@compiled
def _between(first: int, count: int, length: int, scale: float, wraps: bool) -> Any:
    """The two lines of a texture for each line of a window, and the weight of the second."""
    low, high = np.empty(count, np.uint32), np.empty(count, np.uint32)
    weight = np.empty(count, np.float32)
    for i in range(count):
        source = (first + i + 0.5) / scale - 0.5
        if not wraps:
            source = min(max(source, 0.0), length - 1.0)
        line = np.floor(source)
        low[i], high[i] = int(line) % length, (int(line) + 1) % length
        weight[i] = source - line
    return low, high, weight


@compiled
def _mix_rows(above: Any, below: Any, weight: Any, out: Any) -> None:
    other = np.float32(1) - weight
    for x in range(len(out)):
        out[x] = np.float32(above[x]) * other + np.float32(below[x]) * weight


@compiled
def _resize_row(row: Any, before: Any, behind: Any, weight: Any, out: Any) -> None:
    for x in range(len(out)):
        near, far = row[before[x]], row[behind[x]]
        value = near * (np.float32(1) - weight[x]) + far * weight[x]
        out[x] = np.int32(np.rint(value))


@compiled
def _to_luma(frozen: Any, layer: Any) -> None:
    factor = np.empty(3, layer.dtype)
    for channel in range(3):
        factor[channel] = LUMA[channel]
    value = np.empty_like(layer)
    layer[:] = 0
    for channel in range(3):
        frost, share = frozen[channel], factor[channel]
        for x in range(len(layer)):
            value[x] = frost[x]
        for x in range(len(layer)):
            layer[x] += value[x] * share


@compiled
def _truncated(row: Any, image_share: Any, frost_share: Any, frost: Any, out: Any) -> None:
    for x in range(len(out)):
        value = np.float64(row[x]) * image_share + np.float64(frost[x]) * frost_share
        out[x] = np.int32(min(value, 255.0))


@compiled
def _rounded(row: Any, image_share: Any, frost_share: Any, frost: Any, out: Any) -> None:
    for x in range(len(out)):
        value = np.float32(row[x]) * image_share + np.float32(frost[x]) * frost_share
        out[x] = np.int32(np.rint(min(value, np.float32(255))))


@compiled
def _clamped(row: Any, image_share: Any, frost_share: Any, frost: Any, out: Any) -> None:
    for x in range(len(out)):
        value = row[x] * image_share + np.float32(frost[x]) * frost_share
        out[x] = min(value, np.float32(1))
