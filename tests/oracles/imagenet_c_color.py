"""Slow forms of ImageNet-C's colour and digital corruptions, from their definitions."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from skimage import color

from oracles.kernels import Levels, Pixels
from oracles.oracle import Oracle


def brightness_c(image: Pixels, *, change: float) -> Levels:
    if len(image) == 1:
        return np.minimum(image + 255 * change, 255)
    hsv = color.rgb2hsv(image / 255, channel_axis=0)
    hsv[2] = np.minimum(hsv[2] + change, 1)
    return color.hsv2rgb(hsv, channel_axis=0) * 255


def saturate(image: Pixels, *, factor: float, added: float) -> Levels:
    hsv = color.rgb2hsv(image / 255, channel_axis=0)
    hsv[1] = np.clip(hsv[1] * factor + added, 0, 1)
    return color.hsv2rgb(hsv, channel_axis=0) * 255


def contrast_c(image: Pixels, *, factor: float) -> Levels:
    mean = image.mean(axis=(1, 2), keepdims=True)
    return mean + factor * (image - mean)


def pixelate_c(image: Pixels, *, share: float) -> Levels:
    """The mean over the pixels whose centres are in the same cell of a coarser grid."""
    result = image.astype(float)
    for axis in (1, 2):
        side = image.shape[axis]
        cells = max(1, int(side * share))
        for cell in range(cells):
            # In units of half a pixel, times the number of cells: exact.
            inside = [
                i for i in range(side) if 0 <= (2 * i + 1) * cells - 2 * cell * side < 2 * side
            ]
            place = (slice(None),) * axis + (inside,)
            result[place] = result[place].mean(axis=axis, keepdims=True)
    return result


def jpeg_compression(image: Pixels, *, quality: int) -> Levels:
    """Grey images are saved as RGB, and converted back."""
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0).copy()).save(stream, "JPEG", quality=quality)
    opened = Image.open(stream)
    if len(image) == 1:
        return np.asarray(opened.convert("L"))[None].astype(float)
    return np.asarray(opened).transpose(2, 0, 1).astype(float)


ORACLES: dict[str, Oracle] = {
    "brightness_c": Oracle(brightness_c),
    "contrast_c": Oracle(contrast_c),
    "saturate": Oracle(saturate),
    "pixelate_c": Oracle(pixelate_c),
    "jpeg_compression": Oracle(jpeg_compression),
}
