"""Slow forms of the blurs and the snow of ImageNet-C, from their definitions.

`released=True` adds what the released code does differently, but for the truncation of the
result to 8 bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal, stats

from oracles.oracle import Oracle
from oracles.threefry import WordStream

Levels = NDArray[np.float64]
Pixels = NDArray[np.int64]


def scaled(length_px: float, image: Levels | Pixels) -> float:
    """A length given for 224 px."""
    return round(length_px * min(image.shape[1:]) / 224, 9)


def truncated(values: Levels) -> Levels:
    """As a conversion to uint8; what is whole but for rounding stays."""
    return np.floor(values + 2**-10)


# --------------------------------------------------------------------------------- defocus_blur


def disc_kernel(radius: float, sigma: float, *, released: bool) -> Levels:
    """A disc on a grid, softened by a Gaussian of 3 × 3 or 5 × 5 taps."""
    half, reach = (8, 1) if radius <= 8 else (int(radius), 2)
    line = np.arange(-half, half + 1)
    disc = (line**2 + line[:, None] ** 2 <= radius**2 + 1e-6).astype(float)
    soft = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    soft = np.outer(soft, soft) / soft.sum() ** 2
    # The released code reflects the grid about its outermost rows; else all around is 0.
    wide = np.pad(disc, reach, mode="reflect") if released else np.pad(disc, 2 * reach)
    return signal.convolve2d(wide, soft, mode="valid") / disc.sum()


def defocus_blur(
    image: Pixels, *, radius_px: float, edge_sigma: float, released: bool = False
) -> Levels:
    kernel = disc_kernel(scaled(radius_px, image), edge_sigma, released=released)
    half = len(kernel) // 2
    rows, columns = (np.pad(np.arange(side), half, mode="reflect") for side in image.shape[1:])
    wide = image[:, rows][:, :, columns].astype(float)
    blurred = np.stack([signal.fftconvolve(plane, kernel, mode="valid") for plane in wide])
    return np.clip(blurred, 0, 255)


# --------------------------------------------------------- gaussian_blur, glass_blur, zoom_blur


def gaussian_blur(image: Pixels | Levels, *, sigma_px: float, released: bool = False) -> Levels:
    sigma = scaled(sigma_px, image)
    return ndimage.gaussian_filter(image.astype(float), (0, sigma, sigma), mode="nearest")


def glass_blur(
    image: Pixels,
    *,
    sigma_px: float,
    reach_px: float,
    iterations: int,
    moves: WordStream,
    released: bool = False,
) -> Levels:
    _, height, width = image.shape
    reach, values = (
        max(1, round(scaled(reach_px, image))),
        gaussian_blur(image, sigma_px=sigma_px),
    )
    if released:
        values = truncated(values)
    side = 2 * reach if released else 2 * reach + 1
    side = 2 * reach if released else 2 * reach + 1
    sites = (released_order if released else turns)(reach, height, width)
    shown = list(range(height * width))
    drawn = moves.halves(iterations * height * width).reshape(iterations, height, width)
    for iteration in (drawn * side**2 // 65536).tolist():
        for row, column in sites:
            down, right = divmod(iteration[row][column], side)
            here = row * width + column
            there = (row + down - reach) * width + column + right - reach
            if released:
                shown[here] = shown[there]
            else:
                shown[here], shown[there] = shown[there], shown[here]
    shuffled = values.reshape(len(values), -1)[:, shown].reshape(values.shape)
    return gaussian_blur(shuffled, sigma_px=sigma_px)


def released_order(reach: int, height: int, width: int) -> list[tuple[int, int]]:
    return [
        (row, column)
        for row in range(height - reach, reach, -1)
        for column in range(width - reach, reach, -1)
    ]


def turns(reach: int, height: int, width: int) -> list[tuple[int, int]]:
    """Sites side apart are in one turn; the step between turns is a power of two."""
    side = 2 * reach + 1
    step = max(power for power in (2**k for k in range(30)) if power <= side**2 * 5 // 8)
    return [
        (row, column)
        for turn in range(side**2)
        for row in range(reach + turn * step % side**2 // side, height - reach, side)
        for column in range(reach + turn * step % side**2 % side, width - reach, side)
    ]


def clipped_zoom(values: Levels, factor: float, size: tuple[int, int]) -> Levels:
    """The middle of a plane, magnified to its size."""
    crop = [math.ceil(side / factor) for side in size]
    first = [(side - small) // 2 for side, small in zip(values.shape, crop, strict=True)]
    values = values[first[0] : first[0] + crop[0], first[1] : first[1] + crop[1]]
    large = ndimage.zoom(values, factor, order=1)
    trim = [(wide - side) // 2 for wide, side in zip(large.shape, size, strict=True)]
    return large[trim[0] : trim[0] + size[0], trim[1] : trim[1] + size[1]]


def zoom_blur(image: Pixels, *, largest: float, step: float, released: bool = False) -> Levels:
    layers = [image.astype(float)] * (2 if released else 1)
    for factor in np.arange(1, largest + step / 2, step)[1:]:
        size = image.shape[1], image.shape[2]
        planes = [clipped_zoom(plane.astype(float), float(factor), size) for plane in image]
        layers.append(np.stack(planes))
    return np.mean(layers, axis=0)


# ------------------------------------------------------------------------- motion_blur and snow


def along_line(
    planes: Levels | Pixels, radius_px: float, sigma_px: float, angle_deg: float
) -> Levels:
    """The mean of shifted copies, whose edges are repeated."""
    _, height, width = planes.shape
    count = 2 * max(1, round(scaled(radius_px, planes))) + 1
    weights = stats.norm.pdf(np.arange(count), scale=scaled(sigma_px, planes))
    total, angle = np.zeros(planes.shape), np.deg2rad(angle_deg)
    for number, weight in enumerate(weights / weights.sum()):
        down = math.ceil(number * np.sin(angle) - 0.5)
        right = math.ceil(number * np.cos(angle) - 0.5)
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        total += weight * planes[:, rows][:, :, columns]
    return total


def motion_blur(
    image: Pixels, *, radius_px: float, sigma_px: float, angle_deg: float
) -> Levels:
    return along_line(image, radius_px, sigma_px, angle_deg)


def snow(
    image: Pixels,
    *,
    mean: float,
    deviation: float,
    flake_px: float,
    threshold: float,
    radius_px: float,
    sigma_px: float,
    image_share: float,
    tilt_deg: float,
    flakes: WordStream,
    released: bool = False,
) -> Levels:
    size = image.shape[1], image.shape[2]
    factor = max(1.0, scaled(flake_px, image))
    crop = [math.ceil(side / factor) for side in size]
    noise = stats.norm.ppf((flakes.halves(crop[0] * crop[1]) + 0.5) / 65536).reshape(crop)
    layer = clipped_zoom(mean + deviation * noise, factor, size)
    layer = 255 * np.clip(np.where(layer < threshold, 0, layer), 0, 1)
    layer = np.floor(layer) if released else np.rint(layer)
    layer = along_line(layer[None], radius_px, sigma_px, tilt_deg - 90)
    if released:
        layer = np.rint(layer)
    red, green, blue = image if len(image) == 3 else image.repeat(3, axis=0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    bleached = image_share * image + (1 - image_share) * np.maximum(image, 1.5 * grey + 127.5)
    return np.clip(bleached + layer + layer[:, ::-1, ::-1], 0, 255)


ORACLES: dict[str, Oracle] = {
    "defocus_blur": Oracle(defocus_blur),
    "gaussian_blur": Oracle(gaussian_blur),
    "glass_blur": Oracle(glass_blur),
    "zoom_blur": Oracle(zoom_blur),
    "motion_blur": Oracle(motion_blur),
    "snow": Oracle(snow),
}
