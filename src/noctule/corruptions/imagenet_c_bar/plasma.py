"""ImageNet-C-bar, plasma_noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noctule.corruptions.draws import Integer, PerSeverity, Uniform
from noctule.corruptions.grouping import group_equal
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, blend_pattern
from noctule.corruptions.imagenet_c_bar.positions import per_plane, pixel_positions, side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

# Each bend is at least 1.25 times smaller than the one before: later ones cannot be seen.
MOST_BENDS = 32


@corruption(
    family="noise",
    source=f"{SOURCE}: plasma_noise",
    draws={
        "alpha": PerSeverity(*(s * 6.4 / 255 for s in (4.75, 7, 8.5, 9.25, 10)), highest=1.0),
        "time": Uniform(0.0, 6 * math.pi, graded=False),
        "bends": Integer(4, 6, graded=False),
        "sharpness": Uniform(0.5, 1.0, graded=False),
        "scale_px": Uniform(16.8, 44.8, graded=False),
    },
    bytes_per_value=24,
)
def plasma_noise(
    images: Images,
    *,
    released: bool = False,
    alpha: PerImage,
    time: PerImage,
    bends: PerImage,
    sharpness: PerImage,
    scale_px: PerImage,
) -> Images:
    """Mix the image with a coloured plasma: sines of coordinates that sines have bent.

    The plasma lies in [−1, 1] and not in [0, 1], as published, so that it darkens on average.
    A grey image takes the plasma's red.

    Args:
        images: See `noctule.corrupt`.
        released: uint8 is truncated; nothing else differs.
        alpha: Share of the plasma, published as severity · 6.4 / 255.
        time: Phase of the animation that it is a frame of, in radians.
        bends: How often the coordinates are bent, 1 to 32; more are taken as 32.
        sharpness: In [0, 1]; the higher, the more the later, finer bends move.
        scale_px: Length for 224 px that is one radian of the first bend.
    """
    height, width = images.shape[2:]
    plasma = torch.empty(
        (len(images), 3, height, width), dtype=torch.float32, device=images.device
    )
    rows, columns = (place / side_scale(images) for place in pixel_positions(images))
    for index, (count,) in group_equal(bends.clamp(max=MOST_BENDS)):
        unit_px, sharp, phase = (per_plane(v[index]) for v in (scale_px, sharpness, time))
        x, y = _bent(columns / unit_px, rows / unit_px, int(count), sharp, phase)
        middle = (x + y).add_(phase.sin()).mul_(0.5)
        colors = (x.sub_(phase), middle, y.add_(phase))
        for channel, color in enumerate(colors):
            plasma[index, channel] = color.sin_().to(torch.float32)
    channels = images.shape[1]
    return blend_pattern(images, plasma[:, :channels], alpha, released=released)


def _bent(
    x: Tensor, y: Tensor, count: int, sharpness: Tensor, phase: Tensor
) -> tuple[Tensor, Tensor]:
    """Coordinates after `count` bends, each of higher frequency and smaller than the last.

    float64, because every bend magnifies the rounding of those before it.
    """
    frequency, size = 1.0, torch.ones_like(sharpness)
    for step in range(count):
        shift = phase / 1.15**step
        along_x = (y * frequency).add_(shift).cos_().div_(size)
        along_y = (x * frequency).add_(shift).sin_().div_(size)
        x = x + (along_x - 0.3 * along_y)
        y = y + (along_y + 0.3 * along_x)
        frequency *= 1.93
        size = size * (2.25 - sharpness)
    return x, y
