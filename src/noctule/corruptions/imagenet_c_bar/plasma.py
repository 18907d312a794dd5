"""ImageNet-C-bar, plasma_noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noctule.corruptions.draws import Integer, PerSeverity, Uniform
from noctule.corruptions.grouping import group_equal
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, blend_pattern
from noctule.corruptions.imagenet_c_bar.positions import per_plane, pixel_positions
from noctule.corruptions.loops.elementary import cosine
from noctule.corruptions.pixels import side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

# Each bend is at least 1.25 times smaller than the previous one, so that later ones are
# invisible.
MOST_BENDS = 32
TURN = 2 * math.pi


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
    """Mix the image with a coloured plasma: sines of coordinates that are bent by sines.

    As published, the plasma is in [−1, 1] instead of [0, 1], so that it darkens on average.
    Images with one channel get the red of the plasma.

    Args:
        released: Truncate uint8 results instead of rounding them.
        alpha: Weight of the plasma; published as 6.4 / 255 times the paper's severity.
        time: Phase of the animation, in radians.
        bends: Number of times that coordinates are bent, 1 to 32; higher numbers count as 32.
        sharpness: Strength of the later, finer bends, in [0, 1].
        scale_px: Length of one radian of the first bend at 224 px.
    """
    height, width = images.shape[2:]
    plasma = torch.empty(
        (len(images), 3, height, width), dtype=torch.float32, device=images.device
    )
    rows, columns = pixel_positions(images)
    for index, (count,) in group_equal(bends.clamp(max=MOST_BENDS)):
        turn_px, sharp, phase = (
            per_plane(v[index])
            for v in (scale_px * (TURN * side_scale(images)), sharpness, time * (1 / TURN))
        )
        x, y = _bent(columns / turn_px, rows / turn_px, int(count), sharp, phase)
        middle = (x + y).add_(cosine(phase - 0.25) * (1 / TURN)).mul_(0.5)
        for channel, turns in enumerate((x - phase, middle, y + phase)):
            plasma[index, channel] = cosine(turns - 0.25).to(torch.float32)
    channels = images.shape[1]
    return blend_pattern(images, plasma[:, :channels], alpha, released=released)


def _bent(
    x: Tensor, y: Tensor, count: int, sharpness: Tensor, phase: Tensor
) -> tuple[Tensor, Tensor]:
    """Coordinates, in turns, after `count` bends, each smaller and finer than the last.

    In float64, because every bend magnifies the rounding errors of the previous ones.
    """
    frequency, size = 1.0, torch.full_like(sharpness, 1 / TURN)
    for _ in range(count):
        along_x = cosine((y * frequency).add_(phase)).mul_(size)
        along_y = cosine((x * frequency).add_(phase).sub_(0.25)).mul_(size)
        x = x + (along_x - along_y * 0.3)
        y = y + (along_y + along_x * 0.3)
        frequency *= 1.93
        phase, size = phase * (1 / 1.15), size / (-sharpness + 2.25)
    return x, y
