"""ImageNet-C-bar, regular waves: single_frequency_greyscale, cocentric_sine_waves."""

from __future__ import annotations

import math

import torch

from noctule.corruptions.draws import Choice, PerSeverity, Uniform, unit
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, add_pattern
from noctule.corruptions.imagenet_c_bar.positions import (
    angle_from_down,
    per_plane,
    pixel_positions,
    side_scale,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

# A ring this narrow is far below a pixel already; keeps a user's 0 from dividing by 0.
NARROWEST_RING_PX = 1e-6


def _amplitudes(*severities: float, greatest: float) -> PerSeverity:
    """The published severities of 10 as amplitudes; `greatest` is severity 10's, of 255."""
    return PerSeverity(*(severity * greatest / 2550 for severity in severities), highest=1.0)


@corruption(
    family="noise",
    source=f"{SOURCE}: single_frequency_greyscale",
    draws={
        "amplitude": _amplitudes(1, 1.5, 2, 4.5, 5, greatest=196),
        "frequency": Uniform(0.0, 0.5, graded=False),
        "slope": Uniform(0.0, 1.0, graded=False, signed=True),
        "axis": Choice("rows", "columns"),
        "phase_deg": Uniform(0.0, 360.0, graded=False),
    },
    bytes_per_value=12,
)
def single_frequency_greyscale(
    images: Images,
    *,
    released: bool = False,
    amplitude: PerImage,
    frequency: PerImage,
    slope: PerImage,
    axis: PerImage,
    phase_deg: PerImage,
) -> Images:
    """Add one plane sine wave, the same to all channels.

    The frequency is in the units of the pixel grid, up to its limit, as published: it does not
    scale with the image.

    Args:
        images: See `noctule.corrupt`.
        released: uint8 is truncated; nothing else differs.
        amplitude: In [0, 1] units, published as severity · 19.6 / 255.
        frequency: Along the axis where it is higher, cycles per pixel.
        slope: The other axis' frequency as a share of it, in [−1, 1].
        axis: 0 if the frequency is higher from row to row, 1 from column to column.
        phase_deg: In the top left pixel, degrees.
    """
    rows, columns = pixel_positions(images)
    turn, other = 2 * math.pi * frequency, 2 * math.pi * frequency * slope
    down = rows * per_plane(torch.where(axis == 0, turn, other))
    down = down + per_plane(torch.deg2rad(phase_deg.to(torch.float64)))
    across = columns * per_plane(torch.where(axis == 0, other, turn))
    # sin(a + b), from functions of rows and of columns alone.
    wave = down.sin().to(torch.float32) * across.cos().to(torch.float32)
    wave.add_(down.cos().to(torch.float32) * across.sin().to(torch.float32))
    return add_pattern(images, wave[:, None], amplitude, released=released)


@corruption(
    family="noise",
    source=f"{SOURCE}: cocentric_sine_waves",
    draws={
        "amplitude": _amplitudes(3, 5, 8, 9, 10, greatest=64),
        "center_row": unit(),
        "center_column": unit(),
        "lobes": Uniform(0.0, 10.0, graded=False),
        "lobe_px": Uniform(0.0, 22.4, graded=False),
        "ring_px": Uniform(0.0, 22.4, graded=False),
    },
    bytes_per_value=20,
)
def cocentric_sine_waves(
    images: Images,
    *,
    released: bool = False,
    amplitude: PerImage,
    center_row: PerImage,
    center_column: PerImage,
    lobes: PerImage,
    lobe_px: PerImage,
    ring_px: PerImage,
) -> Images:
    """Add rings about a point, whose radius goes up and down in a sine with the angle.

    Across the rings the profile is a saw tooth: only the outline of a ring is a sine. The name
    is spelt as published.

    Args:
        images: See `noctule.corrupt`.
        released: uint8 is truncated; nothing else differs.
        amplitude: Half the height of a tooth, in [0, 1] units, published as
            severity · 6.4 / 255.
        center_row: The point's row as a share of the height.
        center_column: The point's column as a share of the width.
        lobes: Periods of the outline around a ring, not whole.
        lobe_px: Amplitude of the outline for 224 px.
        ring_px: Width of a ring for 224 px.
    """
    rows, columns = pixel_positions(images)
    height, width = images.shape[2:]
    scale = side_scale(images)
    shape = (len(images), height, width)
    dy = (rows - per_plane(center_row) * height).expand(shape).contiguous()
    dx = (columns - per_plane(center_column) * width).expand(shape).contiguous()
    # float64: with rings narrower than a pixel, a ring's number goes into the thousands.
    distance = dx.square().add_(dy.square()).sqrt_()
    angle = angle_from_down(dy, dx, distance)
    outline = angle.mul_(per_plane(lobes)).sin_().mul_(per_plane(lobe_px) * scale)
    place = distance.add_(outline)
    place.div_((per_plane(ring_px) * scale).clamp(min=NARROWEST_RING_PX))
    tooth = place.sub_(place.floor()).sub_(0.5).to(torch.float32)
    return add_pattern(images, tooth[:, None], 2 * amplitude, released=released)
