"""What each corruption does to one image, in NumPy and Pillow, from its definition.

Every function takes an int64 array (channels, height, width), 0 to 255, and the parameters that
were drawn for this image, and returns float64 in the same units, not yet rounded to whole
severities unless the operation itself is 8-bit. Lengths given for 224 px are scaled with the
image.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from oracles.threefry import WordStream

Levels = NDArray[np.float64]
Pixels = NDArray[np.int64]


def scaled(length_px: float, image: Pixels) -> int:
    """A length given for 224 px: rounded half to even, at least 1."""
    return max(1, round(length_px * min(image.shape[1:]) / 224))


def with_pillow(image: Pixels, change: Callable[[Image.Image], Image.Image]) -> Levels:
    """Apply a change to each channel as a grey image."""
    planes = [Image.fromarray(plane) for plane in image.astype(np.uint8)]
    return np.stack([np.asarray(change(plane)) for plane in planes]).astype(float)


# --------------------------------------------------------------------------------------- noise


def gaussian(image: Pixels, *, sigma: float, noise: WordStream) -> Levels:
    # The absolute value's quantile at the middle of each 16-bit interval.
    amount = stats.halfnorm.ppf((noise.halves(image.size) + 0.5) / 65536)
    return np.minimum(image + 255 * sigma * amount.reshape(image.shape), 255)


def uniform(image: Pixels, *, amplitude: float, noise: WordStream) -> Levels:
    ramp = 2 * (noise.halves(image.size) + 0.5) / 65536 - 1
    return np.clip(image + 255 * amplitude * ramp.reshape(image.shape), 0, 255)


def salt_pepper(image: Pixels, *, amount: float, noise: WordStream) -> Levels:
    """Candidates at geometric gaps of density .032 or more; a share of them becomes specks."""
    result = image.astype(float).ravel()
    density, position, number = max(amount, 0.032), -1, 0
    while True:
        gap_word, keep_word = (noise.word(number, which=w, rounds=13) for w in (0, 1))
        chance = ((gap_word >> 8) + 0.5) / 2**24
        position += 1 + math.floor(math.log(chance) / math.log1p(-density))
        if position >= result.size:
            return result.reshape(image.shape)
        if (keep_word >> 8) * density < amount * 2**24:
            result[position] = 255 * (keep_word & 1)
        number += 1


# ---------------------------------------------------------------------------------------- blur


def blur(image: Pixels, *, weight: float) -> Levels:
    smooth = image.astype(float)
    for _ in range(max(1, round(5 * (min(image.shape[1:]) / 224) ** 2))):
        smooth = ndimage.uniform_filter(smooth, size=(1, 3, 3), mode="constant")
    return (1 - weight) * image + weight * smooth


def thumbnail_resize(image: Pixels, *, factor: float) -> Levels:
    height, width = image.shape[1:]
    small, full = (int(width / factor), int(height / factor)), (width, height)
    bilinear = Image.Resampling.BILINEAR
    return with_pillow(image, lambda p: p.resize(small, bilinear).resize(full, bilinear))


# ------------------------------------------------------------------------------------ geometry


def translation(image: Pixels, *, dx_px: int, dy_px: int) -> Levels:
    dx, dy = (scaled(abs(d), image) * (1 if d > 0 else -1) for d in (dx_px, dy_px))
    result = np.zeros(image.shape)
    _, height, width = image.shape
    for row in range(max(0, dy), min(height, height + dy)):
        for column in range(max(0, dx), min(width, width + dx)):
            result[:, row, column] = image[:, row - dy, column - dx]
    return result


def affine(image: Pixels, matrix: tuple[float, float, float, float]) -> Levels:
    """Read pixel p from center + matrix · (p − center); a Pillow pixel's centre is at +½."""
    height, width = image.shape[1:]
    a, b, d, e = matrix
    x, y = width / 2, height / 2
    data = (a, b, x - a * x - b * y, d, e, y - d * x - e * y)
    return with_pillow(
        image,
        lambda p: p.transform(
            p.size, Image.Transform.AFFINE, data, Image.Resampling.NEAREST, fillcolor=0
        ),
    )


def shear(image: Pixels, *, angle_deg: int) -> Levels:
    return affine(image, (1, math.tan(math.radians(angle_deg)), 0, 1))


def rotation(image: Pixels, *, angle_deg: int) -> Levels:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return affine(image, (cos, sin, -sin, cos))


def elastic(image: Pixels, *, cut_px: int, side: int) -> Levels:
    height, width = image.shape[1:]
    cut = scaled(cut_px, image)
    kept = image[:, cut:] if side == 0 else image[:, :, cut:]
    return with_pillow(kept, lambda p: p.resize((width, height), Image.Resampling.BILINEAR))


# --------------------------------------------------------------------------------------- color


def backlight(image: Pixels, *, change: float, split_px: int, axis: int) -> Levels:
    _, height, width = image.shape
    offset = round(split_px * min(height, width) / 224)
    step = np.full(image.shape, -255 * change)
    if axis == 0:
        step[:, : height // 2 + offset] *= -1
    else:
        step[:, :, : width // 2 + offset] *= -1
    return np.clip(image + step, 0, 255)


def brightness(image: Pixels, *, change: float) -> Levels:
    return np.clip(image + 255 * change, 0, 255)


def contrast(image: Pixels, *, weight: float) -> Levels:
    return (1 - weight) * image + weight * image.mean()


def color_distortion(image: Pixels, *, change: float, channel: int) -> Levels:
    result = image.astype(float)
    result[channel] = np.minimum(result[channel] + 255 * change, 255)
    return result


def gray_scale(image: Pixels, *, weight: float) -> Levels:
    red, green, blue = image
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return weight * luma + (1 - weight) * image


def hue(image: Pixels, *, turn: float) -> Levels:
    pillow_image = Image.fromarray(image.astype(np.uint8).transpose(1, 2, 0).copy())
    hue_, saturation, value = pillow_image.convert("HSV").split()
    turned = (np.asarray(hue_).astype(int) + math.trunc(255 * turn)) % 256
    back = Image.merge("HSV", [Image.fromarray(turned.astype(np.uint8)), saturation, value])
    return np.asarray(back.convert("RGB")).transpose(2, 0, 1).astype(float)


# ------------------------------------------------------------------------------------- digital


def quantization(image: Pixels, *, steps: int) -> Levels:
    return np.rint(steps * image / 255) * 255 / steps


def pixelate(image: Pixels, *, block_px: int) -> Levels:
    """Blocks from the top left; shown in the middle, and the rest reflected."""
    channels, height, width = image.shape
    down, across = height // block_px, width // block_px
    cut = image[:, : down * block_px, : across * block_px]
    blocks = cut.reshape(channels, down, block_px, across, block_px).mean(axis=(2, 4))
    large = blocks.repeat(block_px, axis=1).repeat(block_px, axis=2)
    rest = [side % block_px for side in (height, width)]
    return np.pad(large, [(0, 0), *((r // 2, r - r // 2) for r in rest)], mode="reflect")
