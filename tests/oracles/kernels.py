"""What each corruption does to one picture, in NumPy and Pillow, from its definition.

Every function takes an int64 array (channels, height, width), 0 to 255, and the parameters that were drawn
for this picture, and returns float64 in levels, 0 to 255, not yet rounded to whole levels unless
the operation itself is 8-bit. Lengths given for 224 px are scaled as the definition says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from oracles.threefry import WordStream

Levels = NDArray[np.float64]
Picture = NDArray[np.int64]


def scaled(length_px: float, image: Picture) -> int:
    """A length given for 224 px: rounded half to even, at least 1."""
    return max(1, round(length_px * min(image.shape[1:]) / 224))


def with_pillow(image: Picture, change: Callable[[Image.Image], Image.Image]) -> Levels:
    """Apply a change to each channel as a grey picture."""
    planes = [Image.fromarray(plane) for plane in image.astype(np.uint8)]
    return np.stack([np.asarray(change(plane)) for plane in planes]).astype(float)


# --------------------------------------------------------------------------------------- noise


def gaussian(image: Picture, *, sigma: float, noise: WordStream) -> Levels:
    # The absolute value's quantile at the middle of each 16-bit interval.
    amount = stats.halfnorm.ppf((noise.halves(image.size) + 0.5) / 65536)
    return np.minimum(image + 255 * sigma * amount.reshape(image.shape), 255)


def uniform(image: Picture, *, amplitude: float, noise: WordStream) -> Levels:
    ramp = 2 * (noise.halves(image.size) + 0.5) / 65536 - 1
    return np.clip(image + 255 * amplitude * ramp.reshape(image.shape), 0, 255)


def salt_pepper(image: Picture, *, amount: float, noise: WordStream) -> Levels:
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


def blur(image: Picture, *, weight: float) -> Levels:
    smooth = image.astype(float)
    for _ in range(max(1, round(5 * (min(image.shape[1:]) / 224) ** 2))):
        smooth = ndimage.uniform_filter(smooth, size=(1, 3, 3), mode="constant")
    return (1 - weight) * image + weight * smooth


def thumbnail_resize(image: Picture, *, factor: float) -> Levels:
    height, width = image.shape[1:]
    small, full = (int(width / factor), int(height / factor)), (width, height)
    bilinear = Image.Resampling.BILINEAR
    return with_pillow(image, lambda p: p.resize(small, bilinear).resize(full, bilinear))


# ------------------------------------------------------------------------------------ geometry


def translation(image: Picture, *, dx_px: int, dy_px: int) -> Levels:
    dx, dy = (scaled(abs(d), image) * (1 if d > 0 else -1) for d in (dx_px, dy_px))
    result = np.zeros(image.shape)
    _, height, width = image.shape
    for row in range(max(0, dy), min(height, height + dy)):
        for column in range(max(0, dx), min(width, width + dx)):
            result[:, row, column] = image[:, row - dy, column - dx]
    return result


def affine(image: Picture, matrix: tuple[float, float, float, float]) -> Levels:
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


def shear(image: Picture, *, angle_deg: int) -> Levels:
    return affine(image, (1, math.tan(math.radians(angle_deg)), 0, 1))


def rotation(image: Picture, *, angle_deg: int) -> Levels:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return affine(image, (cos, sin, -sin, cos))


def elastic(image: Picture, *, cut_px: int, side: int) -> Levels:
    height, width = image.shape[1:]
    cut = scaled(cut_px, image)
    kept = image[:, cut:] if side == 0 else image[:, :, cut:]
    return with_pillow(kept, lambda p: p.resize((width, height), Image.Resampling.BILINEAR))


# ----------------------------------------------------------------------- occlusion and weather

Offsets = list[tuple[int, int]]
HALF_WIDTHS = (1, 3, 4, 5, 5, 6, 6, 6, 5, 5, 4, 3, 1)


def margin_of(image: Picture) -> int:
    return scaled(7, image)


def rhombus_offsets(margin: int) -> Offsets:
    rows = range(-(margin - 1), margin)
    return [(i, j) for i in rows for j in range(-(margin - abs(i)), margin - abs(i))]


def disc_offsets(margin: int) -> Offsets:
    if margin == 7:
        rows = zip(range(-6, 7), HALF_WIDTHS, strict=True)
        return [(i, j) for i, half in rows for j in range(-half, half + 1)]
    span = range(-margin, margin + 1)  # a disc whose radius is .8 px less than the margin
    return [(i, j) for i in span for j in span if math.hypot(i, j) <= margin - 0.8]


def stamp_centers(image: Picture, count: int, stamps: WordStream) -> Iterable[tuple[int, int]]:
    """I(7, H − 7) and I(7, W − 7) for each stamp."""
    _, height, width = image.shape
    margin = margin_of(image)
    for number in range(count):
        yield (
            stamps.whole(number, margin, height - margin, which=0),
            stamps.whole(number, margin, width - margin, which=1),
        )


def stamp(image: Picture, count: int, stamps: WordStream, offsets: Offsets) -> Levels:
    """Each stamp of its own gray, over the earlier ones."""
    result = image.astype(float)
    for number, (row, column) in enumerate(stamp_centers(image, count, stamps)):
        for i, j in offsets:
            result[:, row + i, column + j] = 255 * stamps.real(number, lane=1)
    return result


def rhombus(image: Picture, *, count: int, stamps: WordStream) -> Levels:
    return stamp(image, count, stamps, rhombus_offsets(margin_of(image)))


def circle(image: Picture, *, count: int, stamps: WordStream) -> Levels:
    return stamp(image, count, stamps, disc_offsets(margin_of(image)))


def arlequin(image: Picture, *, count: int, color: WordStream, stamps: WordStream) -> Levels:
    result = image.astype(float)
    shade = [255 * color.real(channel) for channel in range(3)]
    for row, column in stamp_centers(image, count, stamps):
        for i, j in rhombus_offsets(margin_of(image)):
            result[:, row + i, column + j] = shade
    return result


def rain(image: Picture, *, count: int, stamps: WordStream) -> Levels:
    result = image / 255
    for row, column in stamp_centers(image, count, stamps):
        for i, j in disc_offsets(margin_of(image)):
            result[:, row + i, column + j] = 0.5 + 0.5 * result[:, row + i, column + j]
    return 255 * result


def obstruction(
    image: Picture, *, side_px: int, top_fraction: float, left_fraction: float, gray: float
) -> Levels:
    _, height, width = image.shape
    side = scaled(side_px, image)
    top, left = int(top_fraction * (height - side + 1)), int(left_fraction * (width - side + 1))
    result = image.astype(float)
    result[:, top : top + side, left : left + side] = 255 * gray
    return result


def border(image: Picture, *, thickness_px: int, gray: float) -> Levels:
    t = scaled(thickness_px, image)
    result = np.full(image.shape, 255 * gray)
    result[:, t:-t, t:-t] = image[:, t:-t, t:-t]
    return result


# --------------------------------------------------------------------------------------- color


def backlight(image: Picture, *, change: float, split_px: int, axis: int) -> Levels:
    _, height, width = image.shape
    offset = round(split_px * min(height, width) / 224)
    step = np.full(image.shape, -255 * change)
    if axis == 0:
        step[:, : height // 2 + offset] *= -1
    else:
        step[:, :, : width // 2 + offset] *= -1
    return np.clip(image + step, 0, 255)


def brightness(image: Picture, *, change: float) -> Levels:
    return np.clip(image + 255 * change, 0, 255)


def contrast(image: Picture, *, weight: float) -> Levels:
    return (1 - weight) * image + weight * image.mean()


def color_distortion(image: Picture, *, change: float, channel: int) -> Levels:
    result = image.astype(float)
    result[channel] = np.minimum(result[channel] + 255 * change, 255)
    return result


def gray_scale(image: Picture, *, weight: float) -> Levels:
    red, green, blue = image
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return weight * luma + (1 - weight) * image


def hue(image: Picture, *, turn: float) -> Levels:
    picture = Image.fromarray(image.astype(np.uint8).transpose(1, 2, 0).copy())
    hue_, saturation, value = picture.convert("HSV").split()
    turned = (np.asarray(hue_).astype(int) + math.trunc(255 * turn)) % 256
    back = Image.merge("HSV", [Image.fromarray(turned.astype(np.uint8)), saturation, value])
    return np.asarray(back.convert("RGB")).transpose(2, 0, 1).astype(float)


# ------------------------------------------------------------------------------------- digital


def quantization(image: Picture, *, steps: int) -> Levels:
    return np.rint(steps * image / 255) * 255 / steps


def pixelate(image: Picture, *, block_px: int) -> Levels:
    """Blocks from the top left; shown in the middle, and the rest reflected."""
    channels, height, width = image.shape
    down, across = height // block_px, width // block_px
    cut = image[:, : down * block_px, : across * block_px]
    blocks = cut.reshape(channels, down, block_px, across, block_px).mean(axis=(2, 4))
    large = blocks.repeat(block_px, axis=1).repeat(block_px, axis=2)
    rest = [side % block_px for side in (height, width)]
    return np.pad(large, [(0, 0), *((r // 2, r - r // 2) for r in rest)], mode="reflect")


def draw_dashes(image: Picture, count: int, gray: float, stream: WordStream) -> Levels:
    """Horizontal dashes; at 224 px in the words of the definition, else drawn to scale."""
    _, height, width = image.shape
    scale = min(height, width) / 224

    def drawn(offsets: tuple[int, ...]) -> list[int]:
        """Pixels whose nearest pixel at 224 px belongs to the shape."""
        return [p for p in range(-99, 100) if math.floor(p / scale + 0.5) in offsets]

    thick, solid = drawn((-1, 0, 1)), drawn((-2, -1, 0, 1, 2))
    after, before = drawn((6, 8, 10, 12, 14)), drawn((-10, -8, -6, -4, -2))
    result = image.astype(float)
    for number in range(count):
        row = stream.whole(number, max(thick), height - 1 - max(thick), which=0)
        column = stream.whole(number, max(solid), width - 1 - max(solid), which=1)
        offsets = list(solid)
        if stream.whole(number, 0, 6, lane=1, which=1) > 0:
            if after and column + max(after) < width:
                offsets += after
            if before and column + min(before) >= 0:
                offsets += before
        for i in thick:
            for j in offsets:
                result[:, row + i, column + j] = 255 * gray
    return result


def artifacts(image: Picture, *, count: int, gray: float, dashes: WordStream) -> Levels:
    return draw_dashes(image, count, gray, dashes)


def vertical_artifacts(
    image: Picture, *, count: int, gray: float, dashes: WordStream
) -> Levels:
    turned = artifacts(image.transpose(0, 2, 1), count=count, gray=gray, dashes=dashes)
    return turned.transpose(0, 2, 1)
