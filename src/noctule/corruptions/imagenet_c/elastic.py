"""ImageNet-C: elastic_transform."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.filters import gaussian_filter
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float, per_image, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import FIELD_ROUNDS, Stream, unit_interval

# The released script for 224 px has 244 instead; those for 32 and 64 px are right.
MISTAKEN_SIDE_PX = 244
RIGHT_SIDES_PX = (32, 64)
TRUNCATE = 3.0
# From this sigma on, the noise is drawn in cells of a quarter of sigma, with the same variance
# per area. This widens the filter by the variance of a box, sigma² / 192, and lowers the
# standard deviation of the displacement by 0.3 %.
COARSE_SIGMA_PX = 8.0
CELLS_PER_SIGMA = 4.0
LEAST_CELLS = 4
FIXED_POINT = float(1 << 20)
CELLS_AT_ONCE = 128


@corruption(
    family="geometry",
    source="Hendrycks & Dietterich 2019, released code: elastic_transform",
    draws={
        "alpha_px": PerSeverity(
            *(224 * share for share in (2.0, 2.0, 0.05, 0.07, 0.12)), highest=1e4
        ),
        "sigma_px": PerSeverity(
            *(224 * share for share in (0.7, 0.08, 0.01, 0.01, 0.01)), highest=1e3
        ),
        "affine_px": PerSeverity(
            *(224 * share for share in (0.1, 0.2, 0.02, 0.02, 0.02)), highest=1e4
        ),
        "corners": NoiseField(),
        "displacement": NoiseField(),
    },
    bytes_per_value=48,
)
def elastic_transform(
    images: Images,
    *,
    released: bool = False,
    alpha_px: PerImage,
    sigma_px: PerImage,
    affine_px: PerImage,
    corners: Stream,
    displacement: Stream,
) -> Images:
    """Apply a random affine transform, then displace every pixel by smooth noise.

    Both steps interpolate bilinearly: the first mirrors the image about its edge pixels, the
    second about its edges. All lengths are for 224 px and scale with the shorter side. As the
    filter damps the noise in proportion to its width, the smooth displacement in pixels does
    not depend on the size, as in the authors' scripts for three sizes.

    Args:
        released: Lengths are 244 / 224 times longer, except at 32 and 64 px, which have scripts
            of their own. In oblong images, the three points of the affine transform lie around
            (height / 2, width / 2) instead of the centre. uint8 results are truncated instead
            of rounded.
        alpha_px: Factor of the filtered displacement.
        sigma_px: Standard deviation of the Gaussian filter that is applied to noise uniform in
            (−1, 1), truncated at three standard deviations.
        affine_px: The affine transform moves three points by less than this along x and y.
        corners: Random words for the movement of the three points.
        displacement: 8 random bits for each pixel and direction; for large sigma, for each cell
            of a quarter of sigma.
    """
    side = min(images.shape[2:])
    scale = side / REFERENCE_SIDE_PX
    if released and side not in RIGHT_SIDES_PX:
        scale *= MISTAKEN_SIDE_PX / REFERENCE_SIDE_PX
    values = to_float(images)
    values = _warped(values, affine_px * scale, corners, released=released)

    def change(part: Tensor, alpha: float, sigma: float, displacement: Stream) -> Tensor:
        if alpha == 0:
            return part
        return _displaced(part, _displacement(displacement, alpha, sigma, images.shape[2:]))

    values = group_by_params(values, (alpha_px * scale, sigma_px * scale), change, displacement)
    return from_float(values, images.dtype, in_range=True, truncate=released)


def _warped(values: Tensor, reach_px: Tensor, corners: Stream, *, released: bool) -> Tensor:
    """Resample each image by the affine transform that moves three points at random."""
    height, width = values.shape[2:]
    x, y = (height // 2, width // 2) if released else (width // 2, height // 2)
    half = min(height, width) // 3
    points = torch.tensor(
        [[x + half, y + half], [x + half, y - half], [x - half, y - half]], dtype=torch.float64
    )
    words = torch.stack(corners.words(3), dim=-1).cpu()
    moves = (unit_interval(words).to(torch.float64) * 2 - 1) * reach_px.cpu().view(-1, 1, 1)
    matrix, offset = _affine(points + moves, points.expand(len(moves), -1, -1))
    row, column = _indices(values)
    (xx, xy), (yx, yy) = (
        [per_image(part)[:, 0].to(values.device) for part in line.unbind(dim=1)]
        for line in matrix.unbind(dim=1)
    )
    to_x, to_y = (per_image(start)[:, 0].to(values.device) for start in offset.unbind(dim=1))
    from_x, from_y = column * xx + row * xy + to_x, column * yx + row * yy + to_y
    return _read(values, from_x, from_y, corners=True)


def _indices(values: Tensor) -> tuple[Tensor, Tensor]:
    """The index of each row (height, 1) and of each column (width,): float32."""
    row, column = (
        torch.arange(size, dtype=torch.float32, device=values.device)
        for size in values.shape[2:]
    )
    return row[:, None], column


def _affine(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The affine map of three points (x, y) to three others, for each image.

    Args:
        source, target: float64 (batch, 3, 2).

    Returns:
        The matrix (batch, 2, 2) and the offset (batch, 2).
    """
    (p, q), (u, v) = (
        (points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        for points in (source, target)
    )
    area = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    # Points that are nearly collinear would map pixels to infinity.
    area = torch.where(area < 0, -1, 1) * area.abs().clamp(min=1)
    inverse = torch.stack([q[:, 1], -q[:, 0], -p[:, 1], p[:, 0]], dim=1) / area[:, None]
    a, b, c, d = inverse[:, :, None].unbind(dim=1)
    matrix = torch.stack([u * a + v * c, u * b + v * d], dim=2)
    moved = (matrix * source[:, :1]).sum(dim=2)
    return matrix, target[:, 0] - moved


def _displaced(values: Tensor, shift: Tensor) -> Tensor:
    """Read each pixel at its position plus a shift (batch, 2, height, width): x, then y."""
    row, column = _indices(values)
    return _read(values, shift[:, 0] + column, shift[:, 1] + row, corners=False)


def _read(values: Tensor, x: Tensor, y: Tensor, *, corners: bool) -> Tensor:
    """Read images with bilinear interpolation, mirrored at the border.

    Args:
        values: float32 (batch, channels, height, width).
        x, y: Column and row to read for each pixel, (batch, height, width).
        corners: Whether to mirror about the edge pixels instead of the edges.
    """
    height, width = values.shape[2:]
    x, y = _mirrored(x, width, corners=corners), _mirrored(y, height, corners=corners)
    left, top = x.floor(), y.floor()
    corner = (top * width + left).to(torch.int64)
    step_right, step_down = (left < width - 1).to(torch.int64), (top < height - 1) * width
    flat = values.flatten(2)

    def read(index: Tensor) -> Tensor:
        near = flat.gather(2, index.flatten(1)[:, None].expand(flat.shape))
        return near.view(values.shape)

    def between(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        return one + (other - one) * weight[:, None]  # exact where both are equal

    upper = between(read(corner), read(corner + step_right), x - left)
    below = corner + step_down
    lower = between(read(below), read(below + step_right), x - left)
    return between(upper, lower, y - top)


def _mirrored(position: Tensor, size: int, *, corners: bool) -> Tensor:
    """Mirror positions into [0, size − 1] about the edge pixels, or about the edges."""
    edge = 0 if corners else 1
    period = 2 * (size - 1 + edge)
    position = torch.maximum(position, -edge - position)
    position = position - (position * (1 / period)).floor() * period
    return torch.minimum(position, period - edge - position).clamp(0, size - 1)


def _displacement(stream: Stream, alpha: float, sigma: float, size: torch.Size) -> Tensor:
    """Filtered noise for x and for y, in pixels: float32 (batch, 2, height, width)."""
    height, width = size
    if sigma < COARSE_SIGMA_PX:
        noise = _noise(stream, height, width).to(torch.float32).mul_(1 / 256)
        return gaussian_filter(noise, sigma, truncate=TRUNCATE, border="reflect").mul_(alpha)
    down, across = (
        cell_weights(length, sigma).to(stream.keys.device) for length in (height, width)
    )
    noise = _noise(stream, down.shape[1], across.shape[1]).to(torch.float64)
    cell_px = height / down.shape[1] * width / across.shape[1]
    gain = alpha / 256 / FIXED_POINT**2 / math.sqrt(cell_px)
    return (down @ (noise @ across.T) * gain).to(torch.float32)


def _noise(stream: Stream, height: int, width: int) -> Tensor:
    """Uniform on the odd integers in (−256, 256): int16 (batch, 2, height, width).

    From the bytes of the first words of all elements, followed by those of the second words.
    """
    count = 2 * height * width
    words = stream.words(-(-count // 8), rounds=FIELD_ROUNDS)
    numbers = torch.cat(words, dim=1).view(torch.int8)[:, :count].to(torch.int16)
    return numbers.mul_(2).add_(1).view(-1, 2, height, width)


@functools.lru_cache(maxsize=16)
def cell_weights(length: int, sigma: float) -> Tensor:
    """The weights of `cell_bands` as a matrix: float64 (pixels, cells)."""
    first, bands = cell_bands(length, sigma)
    pixel = first[:, None] + torch.arange(bands.shape[1])
    return torch.zeros(length, len(first), dtype=torch.float64).scatter_(0, pixel.T, bands.T)


@functools.lru_cache(maxsize=16)
def cell_bands(length: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The weights of cells of noise in each pixel of a filtered line.

    They are those of SciPy's filter for noise that is constant over each cell, with borders
    that mirror about the edges. Weights are integers, so that sums are exact and do not depend
    on their order; the weights of a pixel sum to about `FIXED_POINT`.

    Returns:
        The first pixel in which each cell may have a weight, int64 (cells,), and its weights in
        the pixels from there, float64 (cells, pixels).
    """
    radius = int(TRUNCATE * sigma + 0.5)
    tap = torch.arange(-radius, radius + 1)
    weight = torch.exp(-0.5 * (tap.to(torch.float64) / sigma) ** 2)
    # A mirrored line is periodic with twice its length.
    around = torch.zeros(2 * length, dtype=torch.float64)
    around.index_add_(0, tap % (2 * length), weight / weight.sum())
    count = max(LEAST_CELLS, math.ceil(length * CELLS_PER_SIGMA / sigma))
    edge = torch.arange(count + 1, dtype=torch.float64) * (length / count)
    span = min(length, 2 * radius + math.ceil(length / count) + 1)
    first = (edge[:-1].to(torch.int64) - radius).clamp(0, length - span)
    bands = torch.empty(count, span, dtype=torch.float64)
    for start in range(0, count, CELLS_AT_ONCE):
        stop = min(count, start + CELLS_AT_ONCE)
        edges, begin = edge[start : stop + 1], first[start:stop] - first[start]
        near = torch.arange(int(edges[0]), min(length, math.ceil(edges[-1])))
        pixel = torch.arange(int(first[start]), int(first[stop - 1]) + span)[:, None]
        straight = around[(pixel - near) % (2 * length)]
        mirrored = around[(-1 - pixel - near) % (2 * length)]
        covered = (edges - near[:, None]).clamp(0, 1).diff(dim=1)
        weights = ((straight + mirrored) @ covered * FIXED_POINT).round_()
        rows = begin[:, None] + torch.arange(span)
        bands[start:stop] = weights.T.gather(1, rows)
    return first, bands
