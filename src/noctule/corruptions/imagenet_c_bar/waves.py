"""ImageNet-C-bar, regular waves: single_frequency_greyscale, cocentric_sine_waves."""

from __future__ import annotations

import torch

from noctule.corruptions.draws import Choice, PerSeverity, Uniform, unit
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, add_pattern
from noctule.corruptions.imagenet_c_bar.positions import (
    angle_from_down,
    per_plane,
    pixel_positions,
)
from noctule.corruptions.loops.elementary import cosine
from noctule.corruptions.pixels import side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

# Far below a pixel; avoids a division by 0 if a user sets the width to 0.
NARROWEST_RING_PX = 1e-6


def _amplitudes(*severities: float, greatest: float) -> PerSeverity:
    """Convert the paper's severities, on a scale to 10, to amplitudes.

    Args:
        *severities: The paper's value for each severity.
        greatest: Amplitude at the value 10, in grey levels of 255.
    """
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

    As published, the frequency is in cycles per pixel, up to the limit of the pixel grid: it
    does not scale with the image.

    Args:
        released: Truncate uint8 results instead of rounding them.
        amplitude: Amplitude in [0, 1] units; published as 19.6 / 255 times the paper's
            severity.
        frequency: Frequency along the axis where it is higher, in cycles per pixel.
        slope: Frequency along the other axis, as a share of `frequency`, in [−1, 1].
        axis: 0 if the frequency is higher from row to row, 1 if from column to column.
        phase_deg: Phase at the top left pixel, in degrees.
    """
    rows, columns = pixel_positions(images)
    other = frequency * slope
    down = rows * per_plane(torch.where(axis == 0, frequency, other))
    down = down + per_plane(phase_deg) * (1 / 360)
    across = columns * per_plane(torch.where(axis == 0, other, frequency))
    # sin(a + b), from functions of only the rows and only the columns.
    sin_down, cos_down, sin_across, cos_across = (
        cosine(turns - lag).to(torch.float32) for turns in (down, across) for lag in (0.25, 0)
    )
    wave = (sin_down * cos_across).add_(cos_down * sin_across)
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
    """Add rings around a point, whose radius varies with the angle as a sine.

    Across the rings, the profile is a sawtooth; only the outline of a ring is a sine. The name
    is spelt as published.

    Args:
        released: Truncate uint8 results instead of rounding them.
        amplitude: Half the height of a tooth, in [0, 1] units; published as 6.4 / 255 times the
            paper's severity.
        center_row: Row of the centre as a share of the height.
        center_column: Column of the centre as a share of the width.
        lobes: Number of periods of the outline around a ring, not necessarily an integer.
        lobe_px: Amplitude of the outline at 224 px, scaled with the shorter side.
        ring_px: Width of a ring at 224 px, scaled with the shorter side.
    """
    rows, columns = pixel_positions(images)
    height, width = images.shape[2:]
    scale = side_scale(images)
    dy = rows - per_plane(center_row) * height
    dx = columns - per_plane(center_column) * width
    # float64, because with narrow rings the index of a ring can be in the thousands.
    distance = (dy.square() + dx.square()).sqrt_()
    outline = cosine(angle_from_down(dy, dx, distance) * per_plane(lobes) - 0.25)
    ring = distance.add_(outline.mul_(per_plane(lobe_px) * scale))
    ring.div_((per_plane(ring_px) * scale).clamp(min=NARROWEST_RING_PX))
    tooth = ring.sub_(ring.floor()).sub_(0.5).to(torch.float32)
    return add_pattern(images, tooth[:, None], 2 * amplitude, released=released)
