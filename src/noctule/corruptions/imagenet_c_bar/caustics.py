"""ImageNet-C-bar, caustic_refraction."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions.draws import PerSeverity, Uniform
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE
from noctule.corruptions.imagenet_c_bar.positions import (
    exact_sqrt,
    per_plane,
    pixel_positions,
)
from noctule.corruptions.loops.elementary import cosine, cosine32, power_1_4
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float, full_scale, side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

Waves = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sine and cosine of the bent y, then of the bent x."""
BENDS = 5
TURN = 2 * math.pi
OFFSET = 250 / TURN
"""Offset of the waves' coordinates in turns, as published; the pattern depends on it."""
WHOLE_OFFSET = math.ceil(OFFSET)
REFRACTIVE_INDEX = 4.0
SOFTENING_PX = 1.0
STEEP_COSINE = 1 - 1e-3
BRIGHTEST = 1.8
"""Sum of waves above which the height of the water exceeds 1."""


@corruption(
    family="geometry",
    source=f"{SOURCE}: caustic_refraction",
    draws={
        "lens_px": PerSeverity(*(s * 11.2 for s in (2.35, 3.2, 4.9, 6.6, 9.15)), highest=1e4),
        "lighting": PerSeverity(*(s * 0.2 for s in (2.35, 3.2, 4.9, 6.6, 9.15)), highest=1e3),
        "time": Uniform(0.5, 2.0, graded=False),
        "wave_px": Uniform(168.0, 280.0, graded=False),
    },
    bytes_per_value=32,
)
def caustic_refraction(
    images: Images,
    *,
    released: bool = False,
    lens_px: PerImage,
    lighting: PerImage,
    time: PerImage,
    wave_px: PerImage,
) -> Images:
    """Refract and light the image by the slopes of a water surface.

    Pixels that are refracted from outside the image are black, as published.

    Args:
        released: Do what the released code does, apparently by mistake. uint8 results are
            truncated. Slopes below 2.6° do not refract, which leaves a discontinuity of 3.4 px
            at severity 5. Outside the image the water has the height 0, so that the outermost
            pixels lie on a slope; otherwise slopes at the border are one-sided. Slopes and the
            smoothing of the water by 1 px do not scale with the image, so that images of 32 px
            change much more than images of 224 px.
        lens_px: Displacement for a slope of 1 at 224 px, before the factor of refraction;
            published as 11.2 times the paper's severity.
        lighting: Brightness per slope, in [0, 1] units; published as 0.2 times the paper's
            severity.
        time: Time of the water's animation.
        wave_px: Period of the water at 224 px.
    """
    scale = side_scale(images)
    slope_scale = 1.0 if released else scale
    weights = soft_weights(*images.shape[2:], released)
    surface = _soft(_water(images, time, wave_px * scale), weights)
    by_row, by_column = _slopes(surface, beyond_is_zero=released)
    # Heights do not depend on the size; slopes are in units of those at 224 px.
    by_row.mul_(slope_scale), by_column.mul_(slope_scale)
    light = (by_row - by_column).mul_(per_plane(lighting).to(torch.float32))
    reach = _refraction(by_row, by_column, dead_zone=released)
    reach.mul_((per_plane(lens_px) * scale).to(torch.float32))
    moved = _sampled(images, by_row.mul_(reach), by_column.mul_(reach))
    return from_float(
        moved.add_(light[:, None].mul_(full_scale(images))), images.dtype, truncate=released
    )


def _water(images: Tensor, time: Tensor, wave_px: Tensor) -> Tensor:
    """Height of the water, in [0, 1]: float32 (batch, height, width).

    A well-known shader: coordinates are bent repeatedly by sines, and the water is high where
    two waves are both steep.
    """
    rows, columns = (
        (axis / per_plane(wave_px)).frac_().sub_(OFFSET) for axis in pixel_positions(images)
    )
    y, x = ((axis * TURN).to(torch.float32) for axis in (rows, columns))
    # Cosines are computed of smaller numbers, which are more precise in float32.
    rows, columns = ((axis + WHOLE_OFFSET).to(torch.float32) for axis in (rows, columns))
    waves = _sin_and_cos(rows, columns)
    total = torch.zeros(1, dtype=torch.float32, device=images.device)
    for step in range(BENDS):
        phase = per_plane(time) * ((1 - 3.5 / (step + 1)) / TURN)
        sin, cos = (cosine(phase - lag).to(torch.float32) for lag in (0.25, 0))
        waves = _bent(waves, rows, columns, sin, cos)
        sin_y, cos_y, sin_x, cos_x = waves
        steep_y = (sin_y * cos).add_(cos_y * sin)  # sin(bent y + phase)
        steep_x = (cos_x * cos).sub_(sin_x * sin)  # cos(bent x + phase)
        both = (steep_y * steep_x).abs_()
        # 1 / hypot(y / steep_y, x / steep_x), without divisions by 0.
        across = exact_sqrt(steep_x.mul_(y).square_().add_(steep_y.mul_(x).square_()))
        total = total + both.div_(across.add_(1e-9))
    brightness = total.mul_(1 / (5 * 0.005)).add_(1 / 5).clamp_(max=BRIGHTEST)
    fourth_root = exact_sqrt(exact_sqrt(brightness))
    power: Tensor = power_1_4(fourth_root).neg_().add_(1.17)
    return power.square_().square_().square_().clamp_(max=1)


def _sin_and_cos(y: Tensor, x: Tensor) -> Waves:
    return cosine32(y - 0.25), cosine32(y), cosine32(x - 0.25), cosine32(x)


def _bent(waves: Waves, y: Tensor, x: Tensor, sin: Tensor, cos: Tensor) -> Waves:
    """Sine and cosine of the next bent coordinates, from those of the previous ones.

    In radians, the next are y + cos(phase − bent y) + sin(phase + bent x), and
    x + sin(phase − bent x) + cos(phase + bent y).
    """
    sin_y, cos_y, sin_x, cos_x = waves
    sum_y = (cos_y * cos).add_(sin_y * sin) + (sin_x * cos).add_(cos_x * sin)
    sum_x = (cos_x * sin).sub_(sin_x * cos) + (cos_y * cos).sub_(sin_y * sin)
    return _sin_and_cos(sum_y.mul_(1 / TURN).add_(y), sum_x.mul_(1 / TURN).add_(x))


@functools.lru_cache(maxsize=64)
def soft_weights(height: int, width: int, released: bool) -> NDArray[np.float32]:
    """Weights of the filter that smooths the water: a Gaussian, truncated at 4 sigma."""
    sigma_px = SOFTENING_PX * (1.0 if released else min(height, width) / REFERENCE_SIDE_PX)
    radius = int(4 * sigma_px + 0.5)
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / sigma_px) ** 2)
    return (weight / weight.sum()).to(torch.float32).numpy()


def _soft(values: Tensor, weights: NDArray[np.float32]) -> Tensor:
    """A Gaussian filter like SciPy's, with reflected borders.

    Computed by sums of shifted copies, because the algorithm of a convolution may depend on the
    batch.
    """
    radius = len(weights) // 2
    for dim in (2, 1):
        size = values.shape[dim]
        position = torch.arange(-radius, size + radius, device=values.device) % (2 * size)
        padded = values.index_select(dim, torch.minimum(position, 2 * size - 1 - position))
        values = torch.zeros_like(values)
        for start, factor in enumerate(weights.tolist()):
            values.add_(padded.narrow(dim, start, size) * factor)
    return values


def _slopes(surface: Tensor, *, beyond_is_zero: bool) -> tuple[Tensor, Tensor]:
    """Difference of the heights of the next and the previous pixel, per row and per column."""
    edge = F.pad(
        surface[:, None], (1, 1, 1, 1), mode="constant" if beyond_is_zero else "replicate"
    )
    edge = edge[:, 0]
    by_row = edge[:, 2:, 1:-1] - edge[:, :-2, 1:-1]
    return by_row, edge[:, 1:-1, 2:] - edge[:, 1:-1, :-2]


def _refraction(by_row: Tensor, by_column: Tensor, *, dead_zone: bool) -> Tensor:
    """The displacement of light from straight above, as a factor of the slope.

    By Snell's law, sin(outer) = sin(inner) / index; the light continues at inner − outer.
    """
    square = by_row.square().add_(by_column.square())
    cosine = exact_sqrt(square + 1).reciprocal_()
    sine_square = square.mul_(cosine).mul_(cosine)
    outer_cosine = exact_sqrt(sine_square.mul_(-1 / REFRACTIVE_INDEX**2).add_(1))
    # sin(inner − outer), divided by the slope, which is sin(inner) / cos(inner).
    factor = outer_cosine.sub_(cosine * (1 / REFRACTIVE_INDEX)).mul_(cosine)
    return factor.mul_(cosine < STEEP_COSINE) if dead_zone else factor


def _sampled(images: Tensor, down_px: Tensor, right_px: Tensor) -> Tensor:
    """Read the images at displaced positions, bilinearly; black outside: float32."""
    height, width = images.shape[2:]
    rows, columns = (axis.to(torch.float32) for axis in pixel_positions(images))
    # In an image with a black frame, which is wider behind, for the next pixel.
    framed = F.pad(images, (1, 2, 1, 2)).flatten(2)
    y = down_px.add_(rows).clamp_(-1, height).add_(1)
    x = right_px.add_(columns).clamp_(-1, width).add_(1)
    first = (y.to(torch.int64) * (width + 3) + x.to(torch.int64))[:, None]
    y, x = y.frac_()[:, None], x.frac_()[:, None]

    def corner(offset: int) -> Tensor:
        index = (first + offset).flatten(2).expand(-1, images.shape[1], -1)
        return framed.gather(2, index).view_as(images).to(torch.float32)

    upper, lower = corner(0), corner(width + 3)
    upper.add_((corner(1) - upper).mul_(x))
    lower.add_((corner(width + 4) - lower).mul_(x))
    return upper.add_((lower - upper).mul_(y))
