"""ImageNet-C: spatter."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.filters import gaussian_filter
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.canny import canny
from noctule.corruptions.imagenet_c.distance import MOST_PX, UNITS_PER_PX, chamfer_distance
from noctule.corruptions.imagenet_c.neighbours import framed, neighbour, sum_of_nine
from noctule.corruptions.imagenet_c.smooth_noise import small_noise, smooth_noise
from noctule.corruptions.pixels import (
    LUMA,
    from_float,
    full_scale,
    per_image,
    side_scale,
    to_float,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

WATER = (175, 238, 238)  # pale turquoise
MUD = (63, 42, 20)
CANNY_LOW, CANNY_HIGH = 50, 150
LEAST_MUD = 0.8
MIDDLE = MOST_PX * UNITS_PER_PX // 2
LEVEL_BITS = 5  # for distances in whole pixels, up to 20


@corruption(
    family="weather",
    source="Hendrycks & Dietterich 2019, released code: spatter",
    draws={
        "mean": PerSeverity(0.65, 0.65, 0.65, 0.65, 0.67, highest=100),
        "spread_px": PerSeverity(0.3, 0.3, 0.3, 0.3, 0.4, highest=100),
        "sigma_px": PerSeverity(4.0, 3.0, 2.0, 1.0, 1.0, highest=50),
        "threshold": PerSeverity(0.69, 0.68, 0.68, 0.65, 0.65, highest=100),
        "mud": PerSeverity(0, 0, 0, 1, 1, highest=1),
        "intensity": PerSeverity(0.6, 0.6, 0.5, 0.0, 0.0, highest=100),
        "mud_sigma_px": PerSeverity(0.0, 0.0, 0.0, 1.5, 1.5, highest=50),
        "liquid": NoiseField(),
    },
    bytes_per_value=24,
)
def spatter(
    images: Images,
    *,
    released: bool = False,
    mean: PerImage,
    spread_px: PerImage,
    sigma_px: PerImage,
    threshold: PerImage,
    mud: PerImage,
    intensity: PerImage,
    mud_sigma_px: PerImage,
    liquid: Stream,
) -> Images:
    """Add drops of water, which shine at their edges, or splashes of mud, which cover.

    The liquid is smoothed Gaussian noise above a threshold. Departure, for speed: the noise has
    8 bits, and the weights of its filter are rounded. Water adds light: its depth times the
    equalised and embossed distance to the outlines of the drops. Mud replaces the image where
    its smoothed mask is at least 0.8. On images with one channel, both have the luma of their
    colour.

    Args:
        released: The depth of water overflows above 1 and restarts at 0, and uint8 results are
            truncated instead of rounded.
        mean: Mean of the noise.
        spread_px: Standard deviation of the noise before it is smoothed, for grains of one
            pixel at 224 px; scaled like a length, so that the smoothed noise is the same at
            every size.
        sigma_px: Standard deviation of the noise's Gaussian filter at 224 px, scaled with the
            shorter side.
        threshold: Noise above it is liquid.
        mud: 1 for mud, 0 for water.
        intensity: Brightness of the brightest water, as a share of white; not used for mud.
        mud_sigma_px: Standard deviation of the mud's Gaussian filter at 224 px, scaled with the
            shorter side; not used for water.
        liquid: 8 random bits for each pixel.
    """
    height, width = images.shape[2:]
    scale = side_scale(images)
    noise = small_noise(liquid, height * width).view(-1, height, width)

    def change(
        part: Tensor,
        is_mud: float,
        sigma: float,
        mud_sigma: float,
        noise: Tensor,
        mean: Tensor,
        spread: Tensor,
        threshold: Tensor,
        intensity: Tensor,
    ) -> Tensor:
        depth = smooth_noise(noise, sigma).mul_(per_image(spread)).add_(per_image(mean))
        least = per_image(threshold)
        if is_mud:
            return _covered(part, _mud(depth, least, mud_sigma), truncate=released)
        light = _water(depth, least, wraps=released).mul_(per_image(intensity))
        return _lit(part, light, truncate=released)

    settings = (mud, sigma_px * scale, mud_sigma_px * scale)
    return group_by_params(
        images, settings, change, noise, mean, spread_px * scale, threshold, intensity
    )


def _lit(images: Tensor, light: Tensor, *, truncate: bool) -> Tensor:
    """Add light of the colour of water; `light` is a share of white for each pixel."""
    water = _color(WATER, images)

    color = light * water
    if images.dtype == torch.float32:
        return from_float(color + images, images.dtype)
    # The image has integer grey levels, so that only the light needs rounding.
    return torch.minimum(from_float(color, images.dtype, truncate=truncate), ~images) + images


def _covered(images: Tensor, share: Tensor, *, truncate: bool) -> Tensor:
    """Cover a share of each pixel with mud."""
    paint = _color(MUD, images)

    values = to_float(images) * (1 - share) + share * paint
    return from_float(values, images.dtype, truncate=truncate)


def _color(levels: tuple[int, int, int], images: Tensor) -> Tensor:
    """A colour, or its luma, in the units of the images: float32 (1, channels, 1, 1)."""
    color = torch.tensor(levels, dtype=torch.float64) * (full_scale(images) / 255)
    if images.shape[1] == 1:
        color = (color * torch.tensor(LUMA, dtype=torch.float64)).sum(dim=0, keepdim=True)
    return color.to(images.device, torch.float32).view(1, -1, 1, 1)


def _mud(depth: Tensor, threshold: Tensor, sigma: float) -> Tensor:
    """The share of each pixel that mud covers: float32 (batch, 1, height, width)."""
    share = gaussian_filter((depth > threshold).to(torch.float32), sigma)
    return share * (share >= LEAST_MUD)


def _water(depth: Tensor, threshold: Tensor, *, wraps: bool) -> Tensor:
    """The brightness of the water, at most 1: float32 (batch, 1, height, width)."""
    depth = ((depth >= threshold) * depth * 255).squeeze(1)
    eight_bit = depth.to(torch.int32).bitwise_and_(255) if wraps else depth.clamp_(max=255)
    level = eight_bit.to(torch.int16)
    # Centred on 0, so that the sum of three fits into 16 bits.
    distance = chamfer_distance(canny(level, CANNY_LOW, CANNY_HIGH)).sub_(MIDDLE)
    whole_px = sum_of_nine(distance, torch.float32).add_(9 * MIDDLE + 0.5)
    whole_px = whole_px.div_(9 * UNITS_PER_PX).to(torch.int16)
    relief = sum_of_nine(_embossed(_equalized(whole_px))).to(torch.float32)
    light = relief.div_(9).round_().mul_(level.to(torch.float32))
    peak = light.flatten(1).amax(dim=1).clamp(min=1)
    return light.div_(peak.view(-1, 1, 1)).unsqueeze(1)


def _equalized(planes: Tensor) -> Tensor:
    """Equalise the histogram like OpenCV's `equalizeHist`.

    Args:
        planes: Integers in [0, 32), int16 (batch, height, width).

    Returns:
        Integers in [0, 255], int16 (batch, height, width).
    """
    index = planes.flatten(1).to(torch.int64)
    counts = torch.zeros(len(index), 1 << LEVEL_BITS, dtype=torch.int64, device=index.device)
    counts.scatter_add_(1, index, torch.ones_like(index))
    return _ranks(counts).gather(1, index).view_as(planes)


def _ranks(counts: Tensor) -> Tensor:
    """The equalised value of each level: int16 (batch, levels)."""
    at_most = counts.cumsum(dim=1)
    least = (counts > 0).to(torch.int64).argmax(dim=1, keepdim=True)
    lowest = at_most.gather(1, least)
    others = at_most[:, -1:] - lowest
    gain = 255 / others.clamp(min=1).to(torch.float32)
    table = ((at_most - lowest).clamp(min=0) * gain).round()
    return torch.where(others == 0, least.to(torch.float32), table).to(torch.int16)


def _embossed(planes: Tensor) -> Tensor:
    """Emboss with the filter (−2 −1 0 | −1 1 1 | 0 1 2), clamped to [0, 255]."""
    frame = framed(planes, "mirror")
    result = (neighbour(frame, 1, 1) - neighbour(frame, -1, -1)).mul_(2)
    result.add_(neighbour(frame, 1, 0)).sub_(neighbour(frame, -1, 0))
    result.add_(neighbour(frame, 0, 1)).sub_(neighbour(frame, 0, -1))
    return result.add_(planes).clamp_(0, 255)
