"""Blur: blur, thumbnail_resize."""

from __future__ import annotations

import torch

from noctule.corruptions.draws import Uniform
from noctule.corruptions.filters import filter_planes
from noctule.corruptions.noc.resampling import resize_rows
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float, per_image, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Laugros et al. 2020"
PASSES_AT_224_PX = 5


@corruption(
    family="blur",
    source=f"{SOURCE}, released code: blur",
    draws={"weight": Uniform(0.4, 0.95)},
    bytes_per_value=16,
)
def blur(images: Images, *, weight: PerImage) -> Images:
    """Mix the image with a blurred copy: five passes of a 3 × 3 box filter.

    Every pass pads with zeros, so the edges darken. The total variance of the passes is
    10/3 px² per axis at 224 px. At other sizes the number of passes, at least one, scales with
    the square of the shorter side, so that the standard deviation scales with the side.

    Args:
        weight: Share of the blurred image.
    """
    share = per_image(weight)
    kernel = box_kernel(passes_at(min(images.shape[2:])))
    smooth = filter_planes(images.flatten(0, 1), kernel, kernel, "odd").view(images.shape)
    return from_float(smooth.mul_(share).add_(to_float(images).mul_(1 - share)), images.dtype)


def passes_at(side_px: int) -> int:
    """The number of passes for images with this shorter side."""
    return max(1, round(PASSES_AT_224_PX * (side_px / REFERENCE_SIDE_PX) ** 2))


def box_kernel(passes: int) -> list[float]:
    """The weights of repeated passes of a box filter with 3 taps, from the centre outwards.

    Weights below 1e-9 are left out.

    >>> [round(9 * weight, 6) for weight in box_kernel(2)]
    [3.0, 2.0, 1.0]
    """
    weights = [1.0]
    for _ in range(passes):
        wide = [0.0, 0.0, *weights, 0.0, 0.0]
        weights = [sum(wide[k : k + 3]) / 3 for k in range(len(wide) - 2)]
    return [weight for weight in weights[len(weights) // 2 :] if weight > 1e-9]


@corruption(
    family="blur",
    source=f"{SOURCE}, released code: thumbnail_resize",
    draws={"factor": Uniform(1.1, 3.25)},
    bytes_per_value=16,
)
def thumbnail_resize(images: Images, *, factor: PerImage) -> Images:
    """Shrink with antialiased bilinear filtering, then enlarge to the original size.

    The filters are Pillow's. Departure: Pillow rounds to 8 bits after each of its four passes;
    here only the result is rounded, so values can differ by up to two grey levels. The order of
    the passes is another, too: rows are shrunk first and stretched last.

    Args:
        factor: Ratio of the sizes, at least 1: the small image has int(height / factor) ×
            int(width / factor) pixels.
    """
    height, width = (torch.full_like(factor, side).long() for side in images.shape[2:])
    low, narrow = ((side / factor).long().clamp(min=1) for side in (height, width))
    none = torch.zeros_like(height)
    small = resize_rows(to_float(images), none, height, low).mT
    small = resize_rows(resize_rows(small, none, width, narrow), none, narrow, width).mT
    return from_float(resize_rows(small, none, low, height), images.dtype)
