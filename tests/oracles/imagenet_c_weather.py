"""Slow forms of corruptions of ImageNet-C, from their definitions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from noctule.corruptions.imagenet_c.ice import ice
from oracles.kernels import Levels, Pixels
from oracles.oracle import Oracle
from oracles.smooth_noise import smooth_noise
from oracles.threefry import WordStream, threefry

Plane = NDArray[np.float64]


def first_then_second_words(stream: WordStream, count: int) -> NDArray[np.uint32]:
    """The first words of `count` elements, followed by their second words; 13 rounds."""
    counters = np.arange(count, dtype=np.uint64)
    words = threefry(stream.key, counters, np.zeros_like(counters), 13)
    return np.concatenate(words).astype("<u4")


# ----------------------------------------------------------------------------------------- fog


def steps_of(side: int, plasma: WordStream) -> list[float]:
    """A number in (−1, 1) for each point of a map: of 16 bits for the first 64², else of 8."""
    coarse = min(side, 64) ** 2
    words = first_then_second_words(plasma, (side**2 + coarse) // 8)
    halves, octets = words.view("<i2")[:coarse], words.view("i1")[2 * coarse :]
    return [*((halves + 0.5) / 2**15), *((octets + 0.5) / 2**7)]


def diamond_square(side: int, decay: float, plasma: WordStream) -> Plane:
    """The textbook algorithm on a torus, point by point."""
    chances, grid = steps_of(side, plasma), np.zeros((side, side))
    step, reach = side, 1.0
    while step > 1:
        half, n = step // 2, side // step

        def fill(i: int, j: int, number: int, near: list[tuple[int, int]], r: float) -> None:
            grid[i, j] = (
                sum(grid[a % side, b % side] for a, b in near) / 4 + r * chances[number]
            )

        places = [(a, i * step, j * step) for a, (i, j) in enumerate(np.ndindex(n, n))]
        for a, i, j in places:
            square = [(i, j), (i + step, j), (i, j + step), (i + step, j + step)]
            fill(i + half, j + half, n * n + a, square, reach)
        for a, i, j in places:
            diamond = [(i, j), (i, j + step), (i - half, j + half), (i + half, j + half)]
            fill(i, j + half, 2 * n * n + a, diamond, reach)
            diamond = [(i, j), (i + step, j), (i + half, j - half), (i + half, j + half)]
            fill(i + half, j, 3 * n * n + a, diamond, reach)
        step, reach = half, reach / decay**2
    return (grid - grid.min()) / (grid.max() - grid.min())


def fog(image: Pixels, *, intensity: float, wibble_decay: float, plasma: WordStream) -> Levels:
    _, height, width = image.shape
    side = 2 ** math.ceil(math.log2(max(height, width)))
    veil = diamond_square(side, wibble_decay, plasma)[:height, :width]
    white = image.max() / 255
    result: Levels = (image + 255 * intensity * veil) * white / (white + intensity)
    return result


# --------------------------------------------------------------------------- elastic_transform


def three_points(
    image: Pixels, reach: float, corners: WordStream
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Three points (x, y), and where they move to."""
    _, height, width = image.shape
    centre, half = np.array([width // 2, height // 2]), min(height, width) // 3
    points = centre + half * np.array([[1, 1], [1, -1], [-1, -1]])
    chances = [[corners.real(i, which=xy) for xy in (0, 1)] for i in range(3)]
    return points, points + reach * (2 * np.array(chances) - 1)


def read_back(image: Levels, x: Plane, y: Plane, mode: str) -> Levels:
    planes = [ndimage.map_coordinates(plane, [y, x], order=1, mode=mode) for plane in image]
    return np.stack(planes)


def noise_of(height: int, width: int, sigma: float, stream: WordStream) -> NDArray[np.float64]:
    """For x and for y, the same all over a cell, with the variance of noise in every pixel."""
    down, across = height, width
    if sigma >= 8:
        down, across = (max(4, math.ceil(4 * n / sigma)) for n in (height, width))
    count = 2 * down * across
    octets = first_then_second_words(stream, -(-count // 8)).view("i1")[:count]
    noise = (octets.reshape(2, down, across) + 0.5) / 128
    for axis, (cells, length) in enumerate(((down, height), (across, width)), start=1):
        # Fine pixels, in a number that both divide, averaged to pixels.
        fine = np.repeat(noise, length, axis=axis)
        shape = (*fine.shape[:axis], length, cells, *fine.shape[axis + 1 :])
        noise = fine.reshape(shape).mean(axis=axis + 1)
    return noise / math.sqrt(height / down * width / across)


def elastic_transform(
    image: Pixels,
    *,
    alpha_px: float,
    sigma_px: float,
    affine_px: float,
    corners: WordStream,
    displacement: WordStream,
) -> Levels:
    _, height, width = image.shape
    scale = min(height, width) / 224
    y, x = np.indices((height, width)).astype(float)
    before, after = three_points(image, affine_px * scale, corners)
    back = np.linalg.solve(np.c_[after, np.ones(3)], before)  # rows: of x, of y, constant
    from_x, from_y = (x * a + y * b + c for a, b, c in back.T)
    moved = read_back(image.astype(float), from_x, from_y, "mirror")
    if alpha_px == 0:
        return moved
    sigma = sigma_px * scale
    dx, dy = (
        alpha_px * scale * ndimage.gaussian_filter(n, sigma, mode="reflect", truncate=3)
        for n in noise_of(height, width, sigma, displacement)
    )
    return read_back(moved, x + dx, y + dy, "reflect")


# --------------------------------------------------------------------------------------- frost


def luma_if_grey(layer: Levels, channels: int) -> Levels:
    """Red, green and blue as they are, or as one channel."""
    return layer if channels == 3 else np.tensordot([0.2989, 0.587, 0.114], layer, 1)[None]


def window_of(sheet: Pixels, corner: tuple[int, int], scale: float, image: Pixels) -> Levels:
    """A window of a repeating sheet that is enlarged without a seam."""
    places = [
        (np.arange(first, first + n) + 0.5) / scale - 0.5
        for first, n in zip(corner, image.shape[1:], strict=True)
    ]
    grid = np.meshgrid(*places, indexing="ij")
    planes = [
        ndimage.map_coordinates(p.astype(float), grid, order=1, mode="grid-wrap") for p in sheet
    ]
    return np.rint(planes)


def frost(
    image: Pixels,
    *,
    image_share: float,
    frost_share: float,
    texture_scale: float,
    place: WordStream,
) -> Levels:
    channels, height, width = image.shape
    scale = texture_scale * min(height, width) / 224
    sheet = ice(place.whole(0, 0, 5))
    side = round(512 * scale)
    row, column = (place.whole(1, 0, side - 1, which=which) for which in (0, 1))
    if scale <= 1:
        sheet = np.asarray(Image.fromarray(sheet).resize((side, side), Image.Resampling.BOX))
    planes = sheet.transpose(2, 0, 1).astype(np.int64)
    if scale <= 1:
        rows, columns = (row + np.arange(height)) % side, (column + np.arange(width)) % side
        layer = planes[:, rows][:, :, columns].astype(float)
    else:
        layer = window_of(planes, (row, column), scale, image)
    layer = luma_if_grey(layer, channels)
    return np.clip(image_share * image + frost_share * layer, 0, 255)


# ------------------------------------------------------------------------------------- spatter


def canny(plane: Plane, low: int, high: int) -> Plane:
    """Sobel, the thinnest ridge in one of four directions, and both thresholds."""
    dy, dx = (
        ndimage.correlate1d(
            ndimage.correlate1d(plane, [-1, 0, 1], axis, mode="nearest"),
            [1, 2, 1],
            1 - axis,
            mode="nearest",
        )
        for axis in (0, 1)
    )
    size = np.pad(np.abs(dx) + np.abs(dy), 1)
    edge = np.zeros(plane.shape)
    tan = 13573 / 2**15
    for i, j in np.argwhere(size[1:-1, 1:-1] > low):
        x, y = abs(dx[i, j]), abs(dy[i, j])
        here, near = size[i + 1, j + 1], size[i : i + 3, j : j + 3]
        if y < tan * x:
            ridge = here > near[1, 0] and here >= near[1, 2]
        elif y > (tan + 2) * x:
            ridge = here > near[0, 1] and here >= near[2, 1]
        elif (dx[i, j] < 0) == (dy[i, j] < 0):
            ridge = here > near[0, 0] and here > near[2, 2]
        else:
            ridge = here > near[0, 2] and here > near[2, 0]
        edge[i, j] = here * ridge
    label, _ = ndimage.label(edge, np.ones((3, 3)))
    kept: Plane = np.isin(label, np.unique(label[edge > high])) & (edge > 0)  # type: ignore[assignment]
    return kept


def distance_to(edges: Plane) -> Plane:
    """The shortest way in steps of 1, 1.4 and 2.197 px, up to 20 px: around every edge."""
    far, near = np.sort(np.abs(np.indices((41, 41)) - 20), axis=0)[::-1].astype(float)
    knights = np.minimum(near, far - near)
    cost = 2197 * knights + 1400 * (near - knights) + 1000 * (far - near - knights)
    result = np.full(np.add(edges.shape, 40), 20000.0)
    for i, j in np.argwhere(edges):
        part = result[i : i + 41, j : j + 41]
        np.minimum(part, cost, out=part)
    return result[20:-20, 20:-20] / 1000


def equalized(plane: Plane) -> Plane:
    values, counts = np.unique(plane, return_counts=True)
    if len(values) == 1:
        return plane
    ranks = (np.cumsum(counts) - counts[0]) * (255 / (plane.size - counts[0]))
    return np.rint(ranks)[np.searchsorted(values, plane)]


def shine(depth: Plane, *, wraps: bool = False) -> Plane:
    """Of water, at most 1; what is deeper than 1 starts at 0 again, or is 1 deep."""
    level = np.floor(depth * 255) % 256 if wraps else np.floor(np.clip(depth * 255, 0, 255))
    mean = np.ones((3, 3)) / 9
    distance = ndimage.correlate(distance_to(canny(level, 50, 150)), mean, mode="mirror")
    relief = ndimage.correlate(
        equalized(np.floor(distance + 1e-9)),
        [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
        mode="mirror",
    )
    relief = np.rint(ndimage.correlate(np.clip(relief, 0, 255), mean, mode="mirror"))
    light: Plane = level * relief
    return light / max(light.max(), 1)


def spatter(
    image: Pixels,
    *,
    mean: float,
    spread_px: float,
    sigma_px: float,
    threshold: float,
    mud: int,
    intensity: float,
    mud_sigma_px: float,
    liquid: WordStream,
) -> Levels:
    channels, height, width = image.shape
    scale = min(height, width) / 224
    noise = smooth_noise(liquid, height, width, sigma_px * scale)
    depth = mean + spread_px * scale * noise
    if mud:
        cover = ndimage.gaussian_filter(
            (depth > threshold).astype(float), mud_sigma_px * scale, mode="nearest"
        )
        share = np.where(cover < 0.8, 0, cover)
        paint = luma_if_grey(np.array([63.0, 42, 20])[:, None, None], channels)
        return image * (1 - share) + share * paint
    share = intensity * shine(np.where(depth < threshold, 0, depth))
    paint = luma_if_grey(np.array([175.0, 238, 238])[:, None, None], channels)
    return np.clip(image + share * paint, 0, 255)


ORACLES: dict[str, Oracle] = {
    # The enlarged frost is rounded to whole levels: ties.
    "frost": Oracle(frost, float32=0.005, ties=0.0005),
    # In float32 a pixel may pass a threshold that it fails in float64.
    "spatter": Oracle(spatter, float32=0.02, ties=0.005),
    "fog": Oracle(fog, float32=0.005),
    # A coordinate in float32 is right to 1e-5 px, where the steepest edge has 255 levels.
    "elastic_transform": Oracle(elastic_transform, uint8=0.53, float32=0.03),
}
