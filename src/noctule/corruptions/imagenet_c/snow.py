"""ImageNet-C: snow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity, Uniform
from noctule.corruptions.fields import normal_field
from noctule.corruptions.filters import clipped_zoom
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.blur import SOURCE, finished, scaled
from noctule.corruptions.imagenet_c.motion import along_lines
from noctule.corruptions.pixels import (
    REFERENCE_SIDE_PX,
    from_float,
    full_scale,
    per_image,
    to_float,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream


@corruption(
    family="weather",
    source=f"{SOURCE}: snow",
    draws={
        "mean": PerSeverity(0.1, 0.2, 0.55, 0.55, 0.55, lowest=-10.0, highest=10.0),
        "deviation": PerSeverity(0.3, 0.3, 0.3, 0.3, 0.3, highest=10.0),
        "flake_px": PerSeverity(3.0, 2.0, 4.0, 4.5, 2.5, highest=REFERENCE_SIDE_PX / 2),
        "threshold": PerSeverity(0.5, 0.5, 0.9, 0.85, 0.85),
        "radius_px": PerSeverity(10.0, 12.0, 12.0, 12.0, 12.0, highest=REFERENCE_SIDE_PX / 2),
        "sigma_px": PerSeverity(4.0, 4.0, 8.0, 8.0, 12.0, highest=float(REFERENCE_SIDE_PX)),
        "image_share": PerSeverity(0.8, 0.7, 0.7, 0.65, 0.55, highest=1.0),
        "tilt_deg": Uniform(0.0, 45.0, graded=False, signed=True),
        "flakes": NoiseField(),
    },
    bytes_per_value=24,
)
def snow(
    images: Images,
    released: bool = False,
    *,
    mean: PerImage,
    deviation: PerImage,
    flake_px: PerImage,
    threshold: PerImage,
    radius_px: PerImage,
    sigma_px: PerImage,
    image_share: PerImage,
    tilt_deg: PerImage,
    flakes: Stream,
) -> Images:
    """Bleach the image, and add two layers of snowflakes with streaks.

    Flakes are magnified normal noise above a threshold, in 8 bits, blurred along a steep line
    (see `motion_blur`). The layer is added as it is and rotated by 180°. Before that, the image
    is mixed with the brighter of itself and 1.5 times its grey plus 0.5.

    Args:
        released: Truncate the layer and the result to 8 bits, and round the blurred layer to 8
            bits, which is not rounded otherwise.
        mean: Mean of the noise.
        deviation: Standard deviation of the noise.
        flake_px: Magnification of the noise at 224 px, scaled with the shorter side, at least
            1.
        threshold: Noise below the threshold is set to 0.
        radius_px: Radius of the motion blur at 224 px, scaled with the shorter side.
        sigma_px: Standard deviation of the motion blur at 224 px, scaled with the shorter side.
        image_share: Weight of the image in the mixture, in [0, 1].
        tilt_deg: Angle of the line, from straight up towards the right.
        flakes: 16 random bits for each value of the noise.
    """
    size = (images.shape[2], images.shape[3])
    spread = [per_image(values, torch.float64) for values in (deviation, mean, threshold)]

    def scatter(
        layer: Tensor,
        flake: float,
        flakes: Stream,
        deviation: Tensor,
        mean: Tensor,
        least: Tensor,
    ) -> Tensor:
        factor = max(1.0, scaled(flake, images))
        noise = clipped_zoom(_noise(flakes, factor, size), factor, size) * deviation + mean
        noise = (noise * (noise >= least)).clamp(0, 1) * 255
        return from_float(noise, layer.dtype, in_range=True, truncate=released)

    def fall(layer: Tensor, radius: float, sigma: float, tilt_deg: Tensor) -> Tensor:
        radius, sigma = scaled(radius, images), scaled(sigma, images)
        return along_lines(layer, radius, sigma, tilt_deg - 90)

    empty = torch.empty_like(images[:, :1], dtype=torch.uint8)
    layer = group_by_params(empty, [flake_px], scatter, flakes, *spread)
    fallen = group_by_params(layer, (radius_px, sigma_px), fall, tilt_deg)
    if released:
        fallen.round_()
    fallen.mul_(full_scale(images) / 255)
    values = _bleached(images, per_image(image_share)) + (fallen + fallen.flip(2, 3))
    return finished(values, images.dtype, released=released, in_range=False).to(images.dtype)


def _noise(flakes: Stream, factor: float, size: tuple[int, int]) -> Tensor:
    """N(0, 1) noise of the size that is visible once magnified: float64 (batch, 1, ·, ·)."""
    down, across = (math.ceil(side / factor) for side in size)
    return normal_field(flakes, down * across).to(torch.float64).view(-1, 1, down, across)


def _bleached(images: Tensor, image_share: Tensor) -> Tensor:
    """The image mixed with the brighter of itself and 1.5 × grey + 0.5: float32."""
    values = to_float(images)
    grey = values
    if images.shape[1] == 3:
        grey = values[:, :1] * 0.299 + values[:, 1:2] * 0.587 + values[:, 2:] * 0.114
    bright = torch.maximum(values, grey * 1.5 + 0.5 * full_scale(images))
    return values * image_share + bright * (1 - image_share)
