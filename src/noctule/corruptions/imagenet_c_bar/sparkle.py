"""ImageNet-C-bar, light in rays from a point: sparkles, inverse_sparkles."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Integer, NoiseField, PerSeverity, Uniform
from noctule.corruptions.fields import normal_field
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, move_to_white
from noctule.corruptions.imagenet_c_bar.positions import (
    angle_from_down,
    exact_sqrt,
    pixel_positions,
)
from noctule.corruptions.loops.elementary import exp2_near_0, log2_near_1
from noctule.corruptions.pixels import side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream, integers, unit_interval

SPARKLES = 5
FEWEST_RAYS, MOST_RAYS = 50, 199
SPREAD = 0.25
"""Standard deviation of the lengths of rays, as a share of their mean."""
SHORTEST_RAY_PX = 1.0
SHADE_RADIUS_PX = 56.0
ROOT_HALF_BITS = 0x3F3504F3
"""√½ in float32; sign, exponent and fraction of a number as an integer."""


@corruption(
    family="occlusion",
    source=f"{SOURCE}: sparkles",
    draws={
        "radius_px": PerSeverity(2.24, 4.48, 6.72, 11.2, 13.44, highest=1e4),
        "places": NoiseField(),
        "rays": NoiseField(),
    },
    bytes_per_value=20,
)
def sparkles(
    images: Images,
    *,
    released: bool = False,
    radius_px: PerImage,
    places: Stream,
    rays: Stream,
) -> Images:
    """Add five sparkles, whose rays fade with the square of the distance.

    Args:
        released: Truncate uint8 results instead of rounding them.
        radius_px: Mean distance up to which a sparkle is white, at 224 px; published as 2.24
            times the paper's severity. Rays are at least one pixel long at any size.
        places: Random words for the position of each sparkle and the number of its rays, 50 to
            199.
        rays: 16 random bits for the length of each ray.
    """
    height, width = images.shape[2:]
    row, column = (unit_interval(word) for word in places.words(SPARKLES))
    counts = integers(places.words(SPARKLES, lane=1)[0], FEWEST_RAYS, MOST_RAYS)
    mean = radius_px.to(torch.float32)[:, None, None] * side_scale(images)
    spread = normal_field(rays, SPARKLES * (MOST_RAYS + 1)).view(len(images), SPARKLES, -1)
    lengths = (mean + SPREAD * mean * spread).clamp_(min=SHORTEST_RAY_PX)
    left = torch.ones((len(images), height, width), dtype=torch.float32, device=images.device)
    for k in range(SPARKLES):
        center = row[:, k] * height, column[:, k] * width
        light = _light(images, center, counts[:, k], lengths[:, k])
        left.mul_(light.clamp_(max=1).neg_().add_(1))
    return move_to_white(images, left.neg_().add_(1)[:, None], released=released)


@corruption(
    family="occlusion",
    source=f"{SOURCE}: inverse_sparkles",
    draws={
        "exponent": PerSeverity(0.13, 0.26, 0.52, 1.17, 1.3, highest=100.0),
        "center_row": Uniform(0.25, 0.75, graded=False),
        "center_column": Uniform(0.25, 0.75, graded=False),
        "ray_count": Integer(FEWEST_RAYS, MOST_RAYS, graded=False),
        "rays": NoiseField(),
    },
    bytes_per_value=20,
)
def inverse_sparkles(
    images: Images,
    *,
    released: bool = False,
    exponent: PerImage,
    center_row: PerImage,
    center_column: PerImage,
    ray_count: PerImage,
    rays: Stream,
) -> Images:
    """Turn the image white except for one sparkle with a radius of a quarter of the side.

    Args:
        released: Truncate uint8 results instead of rounding them.
        exponent: Exponent of (radius / distance)², the weight of the image; published as 0.13
            times the paper's severity.
        center_row: Row of the centre as a share of the height.
        center_column: Column of the centre as a share of the width.
        ray_count: Number of rays, at least 1.
        rays: 16 random bits for the length of each ray.
    """
    height, width = images.shape[2:]
    mean = SHADE_RADIUS_PX * side_scale(images)
    lengths = normal_field(rays, int(ray_count.max())).mul_(SPREAD * mean).add_(mean)
    center = tuple(
        (share * size).to(torch.float32)
        for share, size in ((center_row, height), (center_column, width))
    )
    power = exponent.to(torch.float32).view(-1, 1, 1)
    stays = _light(images, center, ray_count, lengths, power=power).clamp_(max=1)
    return move_to_white(images, stays.neg_().add_(1)[:, None], released=released)


def _light(
    images: Tensor,
    center: tuple[Tensor, ...],
    ray_count: Tensor,
    lengths: Tensor,
    *,
    power: Tensor | None = None,
) -> Tensor:
    """The brightness of a sparkle at each pixel, unbounded: float32 (batch, height, width).

    It is (length / distance)² of the ray, raised to a power; between rays, a quarter less.

    Args:
        images: Images, of which only the size is used.
        center: Row and column of the centre in pixels, float32 (batch,) each.
        ray_count: Number of rays, int64 (batch,).
        lengths: Lengths of at least that number of rays, float32 (batch, rays).
        power: Exponent, (batch, 1, 1), or None for 1.
    """
    rows, columns = (axis.to(torch.float32) for axis in pixel_positions(images))
    dy = rows - center[0].view(-1, 1, 1)
    dx = columns - center[1].view(-1, 1, 1)
    square = dy.square() + dx.square()
    count = ray_count.to(torch.float32).view(-1, 1, 1)
    ray = (
        angle_from_down(dy, dx, exact_sqrt(square)).mul_(count).add_(count * 0.5).clamp_(min=0)
    )
    number = ray.floor()
    within = ray.sub_(number)
    start, step = _ray_ends(lengths, ray_count, number.to(torch.int64).flatten(1))
    length = step.view_as(within).mul_(within).add_(start.view_as(within))
    light = length.square_().div_(square.add_(1e-4))
    if power is not None:
        light = _power(light, power)
    return light.mul_(within.sub_(0.5).square_().neg_().add_(1))


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    """Base ** exponent, from 2**-126 to 2: float32."""
    bits = base.view(torch.int32)
    scale = (bits - ROOT_HALF_BITS) >> 23
    fraction = (bits - (scale << 23)).view(torch.float32)  # in [√½, √2)
    logarithm = log2_near_1(fraction).add_(scale).mul_(exponent).clamp_(-126, 1)
    whole = logarithm.round()
    factor = ((whole.to(torch.int32) + 127) << 23).view(torch.float32)
    power: Tensor = exp2_near_0(logarithm.sub_(whole))
    return power.mul_(factor)


def _ray_ends(lengths: Tensor, ray_count: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """The length of a ray, and the difference of the next ray's: (batch, pixels) each."""
    around = torch.arange(int(ray_count.max()) + 2, device=lengths.device) % ray_count[:, None]
    ring = lengths.gather(1, around)
    return ring.gather(1, number), ring.diff(dim=1).gather(1, number)
