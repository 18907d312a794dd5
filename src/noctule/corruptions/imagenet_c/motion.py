"""ImageNet-C: motion_blur."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noctule.corruptions.draws import PerLevel, Uniform
from noctule.corruptions.filters import extended, sum_of_bytes, sum_of_floats
from noctule.corruptions.imagenet_c.blur import SOURCE, scaled
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float
from noctule.corruptions.registry import corruption


@corruption(
    family="blur",
    source=f"{SOURCE}: motion_blur",
    draws={
        "radius_px": PerLevel(10.0, 15.0, 15.0, 15.0, 20.0, highest=REFERENCE_SIDE_PX / 2),
        "sigma_px": PerLevel(3.0, 5.0, 8.0, 12.0, 15.0, highest=float(REFERENCE_SIDE_PX)),
        "angle_deg": Uniform(0.0, 45.0, graded=False, signed=True),
    },
    bytes_per_value=12,
)
def motion_blur(
    images: Tensor, *, radius_px: Tensor, sigma_px: Tensor, angle_deg: Tensor
) -> Tensor:
    """Average along a line to one side, with Gaussian weights; edge pixels are repeated.

    The line has 2 · radius + 1 pixels, each the nearest to its place on it. This is what
    ImageMagick's motion blur does, which the released code calls: on pictures of 8 bits, and
    rounding, so that there is no published mode.

    Args:
        images: see `noctule.corrupt`.
        radius_px: half the length of the line at 224 px, scaled with the shorter side and
            rounded, at least 1, (batch,).
        sigma_px: standard deviation of the weights at 224 px, scaled with the shorter side,
            (batch,).
        angle_deg: of the line, from the right towards the bottom, (batch,).
    """
    result = torch.empty_like(images)
    settings = zip(radius_px.tolist(), sigma_px.tolist(), angle_deg.tolist(), strict=True)
    for number, (radius, sigma, angle) in enumerate(settings):
        line = motion_line(scaled(radius, images), scaled(sigma, images), angle)
        result[number] = from_float(
            along_line(images[number], line), images.dtype, in_range=True
        )
    return result


Line = list[tuple[int, int, float]]
"""The pixels of a line, as rows down, columns to the right, and weights."""


def motion_line(radius_px: float, sigma_px: float, angle_deg: float) -> Line:
    """The line of a motion blur; its weights sum to 1."""
    pixels = 2 * max(1, round(radius_px)) + 1
    weights = [math.exp(-0.5 * (x / max(sigma_px, 1e-3)) ** 2) for x in range(pixels)]
    total, angle = math.fsum(weights), math.radians(angle_deg)
    return [
        (_nearest(x * math.sin(angle)), _nearest(x * math.cos(angle)), weight / total)
        for x, weight in enumerate(weights)
        if weight > 1e-9
    ]


def _nearest(place: float) -> int:
    """Round half down; what is a half but for the last bits too."""
    return math.ceil(round(place - 0.5, 9))


def along_line(planes: Tensor, line: Line) -> Tensor:
    """Average (planes, height, width), uint8 or float32, along a line: float32."""
    height, width = planes.shape[1:]
    rows, columns = [y for y, _, _ in line], [x for _, x, _ in line]
    top, left = -min(0, *rows), -min(0, *columns)
    wide = extended(planes, (top, max(0, *rows)), (left, max(0, *columns)), "nearest")
    pitch = wide.shape[2]
    taps = [((top + y) * pitch + left + x, weight) for y, x, weight in line]
    summed = sum_of_bytes if planes.dtype == torch.uint8 else sum_of_floats
    length = (height - 1) * pitch + width
    return summed(wide.flatten(1), taps, length).as_strided(planes.shape, (length, pitch, 1))
