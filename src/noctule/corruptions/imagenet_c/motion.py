"""ImageNet-C: motion_blur."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noctule.corruptions.draws import PerSeverity, Uniform
from noctule.corruptions.filters import extended
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.blur import SOURCE, scaled
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage


@corruption(
    family="blur",
    source=f"{SOURCE}: motion_blur",
    draws={
        "radius_px": PerSeverity(10.0, 15.0, 15.0, 15.0, 20.0, highest=REFERENCE_SIDE_PX / 2),
        "sigma_px": PerSeverity(3.0, 5.0, 8.0, 12.0, 15.0, highest=float(REFERENCE_SIDE_PX)),
        "angle_deg": Uniform(0.0, 45.0, graded=False, signed=True),
    },
    bytes_per_value=24,
)
def motion_blur(
    images: Images, *, radius_px: PerImage, sigma_px: PerImage, angle_deg: PerImage
) -> Images:
    """Average along a line to one side, with Gaussian weights; edge pixels are repeated.

    The line has 2 · radius + 1 pixels, the nearest to its points. This is ImageMagick's motion
    blur, which the released code calls. There is no released mode, because ImageMagick rounds
    to 8 bits.

    Args:
        radius_px: Half the length of the line at 224 px, scaled with the shorter side and
            rounded, at least 1 px.
        sigma_px: Standard deviation of the weights at 224 px, scaled with the shorter side.
        angle_deg: Angle of the line, from the right towards the bottom.
    """

    def change(part: Tensor, radius: float, sigma: float, angle_deg: Tensor) -> Tensor:
        values = along_lines(part, scaled(radius, part), scaled(sigma, part), angle_deg)
        return from_float(values, part.dtype, in_range=True)

    return group_by_params(images, (radius_px, sigma_px), change, angle_deg)


def along_lines(images: Tensor, radius_px: float, sigma_px: float, angle_deg: Tensor) -> Tensor:
    """Average along lines that start at each pixel; see `motion_blur`.

    Args:
        images: uint8 or float32 (batch, channels, height, width).
        radius_px, sigma_px: Radius and standard deviation in pixels of the images.
        angle_deg: Angle of the line of each image, (batch,).

    Returns:
        float32, in the shape and units of the images.
    """
    batch, channels, height, width = images.shape
    weights = line_weights(radius_px, sigma_px)
    rows, columns = line_offsets(len(weights), angle_deg.cpu())
    top, left = (max(0, -int(offsets.min())) for offsets in (rows, columns))
    bottom, right = (max(0, int(offsets.max())) for offsets in (rows, columns))
    wide = extended(images.flatten(0, 1), (top, bottom), (left, right), "nearest")
    pitch = wide.shape[2]
    flat = wide.view(batch, channels, -1)
    offsets = ((top + rows) * pitch + left + columns).to(images.device)
    here = torch.arange(height, device=images.device)[:, None] * pitch
    here = (here + torch.arange(width, device=images.device)).flatten()
    total = torch.zeros(images.shape, dtype=torch.float32, device=images.device).flatten(2)
    for tap, weight in enumerate(weights):
        index = (here + offsets[:, tap, None])[:, None].expand(total.shape)
        total.add_(flat.gather(2, index).mul_(weight))
    return total.view(images.shape)


def line_weights(radius_px: float, sigma_px: float) -> tuple[float, ...]:
    """The weights of the pixels of a line; they sum to 1."""
    pixels = 2 * max(1, round(radius_px)) + 1
    weights = [math.exp(-0.5 * (x / max(sigma_px, 1e-3)) ** 2) for x in range(pixels)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights if weight > 1e-9)


def line_offsets(pixels: int, angle_deg: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets down and to the right of the pixels of each line: int64 (batch, pixels).

    Points halfway between two pixels, up to rounding errors, count for the first.

    >>> [offsets.tolist() for offsets in line_offsets(4, torch.tensor([30.0]))]
    [[[0, 0, 1, 1]], [[0, 1, 2, 3]]]
    """
    angle = angle_deg.to(torch.float64).deg2rad()[:, None]
    along = torch.arange(pixels)
    down, right = (
        (part * along - 0.5).round(decimals=9).ceil().to(torch.int64)
        for part in (angle.sin(), angle.cos())
    )
    return down, right
