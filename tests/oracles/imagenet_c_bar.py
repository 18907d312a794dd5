"""Slow forms of corruptions of ImageNet-C-bar, from their definitions.

As in `kernels`. With `released`, they have the quirks of the released code but its truncation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from oracles.kernels import Levels, Pixels
from oracles.oracle import Oracle
from oracles.threefry import WordStream

Plane = NDArray[np.float64]


def places(image: Pixels) -> tuple[Plane, Plane]:
    """Row and column of every pixel."""
    rows, columns = np.mgrid[: image.shape[1], : image.shape[2]].astype(float)
    return rows, columns


def side_scale(image: Pixels) -> float:
    return min(image.shape[1:]) / 224


# --------------------------------------------------------------------------------------- waves


def single_frequency_greyscale(
    image: Pixels,
    *,
    amplitude: float,
    frequency: float,
    slope: float,
    axis: int,
    phase_deg: float,
) -> Levels:
    rows, columns = places(image)
    down, across = [(1.0, slope), (slope, 1.0)][axis]
    turns = frequency * (down * rows + across * columns)
    wave = np.sin(2 * np.pi * turns + np.radians(phase_deg))
    return np.clip(image + 255 * amplitude * wave, 0, 255)


def cocentric_sine_waves(
    image: Pixels,
    *,
    amplitude: float,
    center_row: float,
    center_column: float,
    lobes: float,
    lobe_px: float,
    ring_px: float,
) -> Levels:
    rows, columns = places(image)
    away = (rows - center_row * image.shape[1]) + 1j * (
        columns - center_column * image.shape[2]
    )
    scale = side_scale(image)
    radius = np.abs(away) + lobe_px * scale * np.sin(lobes * np.angle(away))
    tooth = np.mod(radius / (ring_px * scale), 1) - 0.5
    return np.clip(image + 255 * 2 * amplitude * tooth, 0, 255)


def plasma_noise(
    image: Pixels, *, alpha: float, time: float, bends: int, sharpness: float, scale_px: float
) -> Levels:
    rows, columns = (place / (scale_px * side_scale(image)) for place in places(image))
    place = columns + 1j * rows
    for step in range(bends):
        frequency, phase = 1.93**step, time / 1.15**step
        bend = np.cos(frequency * place.imag + phase)
        bend = bend + 1j * np.sin(frequency * place.real + phase)
        place = place + (1 + 0.3j) * bend / (2.25 - sharpness) ** step
    x, y, middle = place.real, place.imag, place.real + place.imag + np.sin(time)
    colors = np.sin([x - time, middle / 2, y + time])
    return np.clip((1 - alpha) * image + 255 * alpha * colors[: len(image)], 0, 255)


# ------------------------------------------------------------------------------------ spectral


def spectral_noise(
    phase: Plane, amplitude: NDArray[np.float64], *, released: bool
) -> NDArray[np.float64]:
    """The real part of a spectrum's transform, over its standard deviation.

    The published phases are symmetric about the middle of the array of the frequencies in
    ascending order, −n / 2 to n / 2 − 1: about −½ and not about 0.
    """
    if released:
        half = np.fft.fftshift(phase)[:, : phase.shape[1] // 2]
        phase = np.fft.ifftshift(np.hstack([half, np.rot90(half, 2)]))
    noise = np.fft.ifft2(amplitude * np.exp(1j * phase)).real
    return noise / noise.std()


def radius_of(image: Pixels) -> Plane:
    """Frequency in cycles per shorter side."""
    side = min(image.shape[1:])
    down, across = (np.fft.fftfreq(n) * side for n in image.shape[1:])
    return np.hypot(down[:, None], across)


def phases_of(phases: WordStream, planes: int, image: Pixels) -> NDArray[np.float64]:
    shape = (planes, *image.shape[1:])
    return 2 * np.pi * phases.halves(math.prod(shape)).reshape(shape) / 65536


def blue_noise_sample(
    image: Pixels, *, threshold: float, phases: WordStream, released: bool = False
) -> Levels:
    (phase,) = phases_of(phases, 1, image)
    noise = spectral_noise(phase, radius_of(image), released=released)
    return np.where(noise > threshold, image, 0).astype(float)


def brownish_noise(
    image: Pixels, *, sigma: float, phases: WordStream, released: bool = False
) -> Levels:
    amplitude = 1 / (radius_of(image) ** 2 + 1)
    planes = [
        spectral_noise(phase, amplitude, released=released)
        for phase in phases_of(phases, len(image), image)
    ]
    return np.clip(image + 255 * sigma * np.stack(planes), 0, 255)


# -------------------------------------------------------------------------------------- perlin


def perlin_noise(image: Pixels, *, alpha: float, lattice: WordStream) -> Levels:
    order = np.argsort([lattice.word(n) >> 8 for n in range(256)], kind="stable")
    corners = [
        [lattice.whole(n, -256, 255, lane=1, which=which) + 0.5 for which in (0, 1)]
        for n in range(256)
    ]
    gradients = np.array(corners) / np.linalg.norm(corners, axis=1, keepdims=True)
    rows, columns = (place / (32 * side_scale(image)) for place in places(image))
    turbulence = sum(
        np.abs(1.5 * perlin(f * rows, f * columns, order, gradients)) / f
        for f in (1, 2, 4, 8, 16)
    )
    return (1 - alpha) * image + 255 * alpha * np.clip(0.5 + 0.5 * turbulence, 0, 1)


def perlin(
    y: Plane, x: Plane, order: NDArray[np.int64], gradients: NDArray[np.float64]
) -> Plane:
    """The four corners' gradients, each times the way from it, weighted with 3 t² − 2 t³."""
    total = np.zeros(y.shape)
    for i in (np.floor(y), np.floor(y) + 1):
        for j in (np.floor(x), np.floor(x) + 1):
            number = order[(order[i.astype(int) % 256] + j.astype(int)) % 256]
            near_y, near_x = 1 - np.abs(y - i), 1 - np.abs(x - j)
            weight = near_y**2 * (3 - 2 * near_y) * near_x**2 * (3 - 2 * near_x)
            total += weight * ((y - i) * gradients[number, 0] + (x - j) * gradients[number, 1])
    return total


# ------------------------------------------------------------------------------------ sparkles


def light(image: Pixels, row: float, column: float, lengths: Plane, power: float) -> Plane:
    """Of a sparkle with rays of these lengths, in [0, 1]."""
    rows, columns = places(image)
    down, across = rows - row, columns - column
    angle, step = np.arctan2(across, down), 2 * np.pi / len(lengths)
    length = np.interp(angle, np.arange(len(lengths)) * step - np.pi, lengths, period=2 * np.pi)
    between = np.mod((angle + np.pi) / step, 1)
    shape = 1 - (between - 0.5) ** 2
    return np.clip(shape * (length**2 / (down**2 + across**2 + 1e-4)) ** power, 0, 1)


def sparkles(
    image: Pixels, *, radius_px: float, places: WordStream, rays: WordStream
) -> Levels:
    normal = stats.norm.ppf((rays.halves(5 * 200).reshape(5, 200) + 0.5) / 65536)
    result, mean = image.astype(float), radius_px * side_scale(image)
    for k in range(5):
        count = places.whole(k, 50, 199, lane=1)
        lengths = np.maximum(1, mean * (1 + 0.25 * normal[k, :count]))
        row, column = (places.real(k, which=w) * image.shape[1 + w] for w in (0, 1))
        result += light(image, row, column, lengths, 1.0) * (255 - result)
    return result


def inverse_sparkles(
    image: Pixels,
    *,
    exponent: float,
    center_row: float,
    center_column: float,
    ray_count: int,
    rays: WordStream,
) -> Levels:
    normal = stats.norm.ppf((rays.halves(ray_count) + 0.5) / 65536)
    lengths = 56 * side_scale(image) * (1 + 0.25 * normal)
    row, column = center_row * image.shape[1], center_column * image.shape[2]
    return 255 - light(image, row, column, lengths, exponent) * (255 - image)


# -------------------------------------------------------------------------------- checkerboard


def checkerboard_cutout(
    image: Pixels, *, share: float, square_px: float, angle_deg: float, squares: WordStream
) -> Levels:
    rows, columns = places(image)
    turned = (rows + 1j * columns) * np.exp(-1j * np.radians(angle_deg))
    turned /= max(1, square_px * side_scale(image))
    i, j = np.floor(turned.real).astype(int), np.floor(turned.imag).astype(int)
    covered = ((squares.halves(64 * 64) + 0.5) / 65536 < share).reshape(64, 64)
    return np.where((i % 2 == j % 2) & covered[i % 64, j % 64], 128, image).astype(float)


# ------------------------------------------------------------------------------------ caustics


def water(image: Pixels, time: float, wave_px: float) -> Plane:
    y, x = (
        2 * np.pi * np.mod(place / (wave_px * side_scale(image)), 1) - 250
        for place in places(image)
    )
    bent_y, bent_x, total = y, x, np.ones(y.shape)
    for step in range(1, 6):
        t = time * (1 - 3.5 / step)
        bent_y, bent_x = (
            y + np.cos(t - bent_y) + np.sin(t + bent_x),
            x + np.sin(t - bent_x) + np.cos(t + bent_y),
        )
        with np.errstate(divide="ignore"):  # an infinite length adds nothing
            length = np.hypot(0.005 * y / np.sin(bent_y + t), 0.005 * x / np.cos(bent_x + t))
        total += 1 / length
    return np.minimum(np.abs(1.17 - (total / 5) ** 1.4) ** 8, 1)


def bent_light(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where light that comes from above goes in a medium of index 4: (height, width, 3).

    Along the normal by the cosine of the outer angle, and by its sine across the normal, in the
    plane of the light and the normal. (Snell: sin inner = 4 sin outer.)
    """
    down = np.array([0.0, 0.0, 1.0])
    outer = np.arcsin(np.sin(np.arccos(normal[..., 2])) / 4)
    axis = np.cross(down, normal)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = np.divide(axis, length, out=np.zeros_like(axis), where=length > 0)
    across = np.cross(normal, axis)
    return np.cos(outer)[..., None] * normal + np.sin(outer)[..., None] * across


def caustic_refraction(
    image: Pixels,
    *,
    lens_px: float,
    lighting: float,
    time: float,
    wave_px: float,
    released: bool = False,
) -> Levels:
    scale = side_scale(image)
    slope_scale = 1 if released else scale
    surface = ndimage.gaussian_filter(water(image, time, wave_px), sigma=slope_scale)
    edge = np.pad(surface, 1, mode="constant" if released else "edge")
    by_row = (edge[2:, 1:-1] - edge[:-2, 1:-1]) * slope_scale
    by_column = (edge[1:-1, 2:] - edge[1:-1, :-2]) * slope_scale
    normal = np.stack([by_row, by_column, np.ones(by_row.shape)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    way = bent_light(normal)[..., :2]
    if released:
        way[normal[..., 2] >= 0.999] = 0
    rows, columns = places(image)
    place = [rows + lens_px * scale * way[..., 0], columns + lens_px * scale * way[..., 1]]
    moved = [
        ndimage.map_coordinates(plane.astype(float), place, order=1, mode="grid-constant")
        for plane in image
    ]
    return np.clip(np.stack(moved) + 255 * lighting * (by_row - by_column), 0, 255)


# The places of rays, and of what water bends, have seven digits in float32; the ties are pixels
# at the threshold.
ORACLES: dict[str, Oracle] = {
    "single_frequency_greyscale": Oracle(single_frequency_greyscale),
    "cocentric_sine_waves": Oracle(cocentric_sine_waves),
    "plasma_noise": Oracle(plasma_noise),
    "blue_noise_sample": Oracle(blue_noise_sample, ties=0.0005),
    "brownish_noise": Oracle(brownish_noise),
    "perlin_noise": Oracle(perlin_noise),
    "sparkles": Oracle(sparkles, uint8=0.52, float32=0.02),
    "inverse_sparkles": Oracle(inverse_sparkles, uint8=0.51, float32=0.02),
    "checkerboard_cutout": Oracle(checkerboard_cutout),
    "caustic_refraction": Oracle(caustic_refraction, uint8=0.52, float32=0.02),
}
