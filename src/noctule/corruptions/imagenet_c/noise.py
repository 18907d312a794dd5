"""ImageNet-C: gaussian_noise, shot_noise, impulse_noise, speckle_noise.

Each element (pixel of one channel) takes 16 random bits, and its change is monotone in them:
the severities of an image differ in strength only.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from noctule.corruptions.draws import SEVERITIES, NoiseField, PerSeverity
from noctule.corruptions.fields import TABLE_SIZE, field_index, normal_field
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.pixels import from_float, full_scale, per_image
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# The mean number of photons of float32 values is rounded to 1 / 64 of one of 255 grey levels.
RATE_BITS = 6
# Added before truncation, so that integers that float32 misses by its last bit keep their
# level.
NUDGE = 1e-4


@corruption(
    family="noise",
    source=f"{SOURCE}: Gaussian noise",
    draws={
        "sigma": PerSeverity(0.08, 0.12, 0.18, 0.26, 0.38, highest=1.0),
        "noise": NoiseField(),
    },
    bytes_per_value=13,
)
def gaussian_noise(
    images: Images, *, released: bool = False, sigma: PerImage, noise: Stream
) -> Images:
    """Add Gaussian noise, independently per pixel and channel.

    The noise has 65,536 equally likely values, up to ±4.3 sigma.

    Args:
        released: Truncate uint8 results instead of rounding them, which darkens by half a grey
            level.
        sigma: Standard deviation, in [0, 1] units.
        noise: 16 random bits per element.
    """
    added = normal_field(noise, images[0].numel()).view_as(images)
    added.mul_(per_image(full_scale(images) * sigma))
    if images.dtype == torch.uint8:
        added = added.floor_() if released else added.round_()
    return from_float(added.add_(images), images.dtype)


@corruption(
    family="noise",
    source=f"{SOURCE}: speckle noise",
    draws={
        "sigma": PerSeverity(0.15, 0.2, 0.35, 0.45, 0.6, highest=1.0),
        "noise": NoiseField(),
    },
    bytes_per_value=13,
)
def speckle_noise(
    images: Images, *, released: bool = False, sigma: PerImage, noise: Stream
) -> Images:
    """Add Gaussian noise in proportion to the value, independently per pixel and channel.

    The noise has 65,536 equally likely values, up to ±4.3 sigma.

    Args:
        released: Truncate uint8 results instead of rounding them, which darkens by half a grey
            level.
        sigma: Standard deviation as a share of the value.
        noise: 16 random bits per element.
    """
    gain = normal_field(noise, images[0].numel()).view_as(images).mul_(per_image(sigma)).add_(1)
    return from_float(gain.mul_(images), images.dtype, truncate=released)


@corruption(
    family="noise",
    source=f"{SOURCE}: impulse noise",
    draws={
        "amount": PerSeverity(0.03, 0.06, 0.09, 0.17, 0.27, highest=1.0),
        "noise": NoiseField(),
    },
    bytes_per_value=13,
)
def impulse_noise(images: Images, *, amount: PerImage, noise: Stream) -> Images:
    """Set each element (pixel of one channel) to black or white with probability amount / 2.

    The specks of a low severity are a subset of those of a high one.

    Args:
        amount: Probability that an element is replaced, in steps of 1 / 32,768 and below 1.
        noise: 16 random bits per element.
    """
    # The lowest and highest of 65,536 words are specks.
    words = noise.bits16(images[0].numel()).view_as(images)
    specks = per_image((amount * 32768).round().clamp(max=32767), torch.int16)
    result = torch.where(words > 32767 - specks, int(full_scale(images)), images)
    return torch.where(words < specks - 32768, 0, result)


@corruption(
    family="noise",
    source=f"{SOURCE}: shot noise",
    draws={
        "photons": PerSeverity(60, 25, 12, 5, 3, lowest=1, highest=2000),
        "noise": NoiseField(),
    },
    bytes_per_value=13,
)
def shot_noise(
    images: Images, *, released: bool = False, photons: PerImage, noise: Stream
) -> Images:
    """Add shot noise: a Poisson number of photons, independently per pixel and channel.

    Cumulative probabilities are exact to 1 / 65,536. float32 values between two of 255 grey
    levels randomly take the distribution of one or the other, so that their mean is exact to
    1 / 128 of a level.

    Args:
        released: Truncate uint8 results instead of rounding them, which darkens slightly.
        photons: Mean, and largest, number of photons of white.
        noise: 16 random bits per element, or 32 if the images are float32.
    """
    return group_by_params(
        images, [photons], functools.partial(_counted, released=released), noise
    )


def _counted(images: Tensor, white: float, noise: Stream, *, released: bool) -> Tensor:
    """The counts in the units of the images, for one mean number of photons of white."""
    photons = int(white)
    values = _poisson(_levels(images, noise), noise, photons).view_as(images).to(torch.float32)
    if images.dtype == torch.float32:
        return values.div_(photons)
    values.mul_(255 / photons)
    if released:
        values.add_(NUDGE)
    return from_float(values, images.dtype, in_range=True, truncate=released)


def _levels(images: Tensor, noise: Stream) -> Tensor:
    """Each element as one of 256 grey levels: int32 (batch, elements)."""
    flat = images.flatten(1)
    if images.dtype == torch.uint8:
        return flat.to(torch.int32)
    elements = flat.shape[1]
    dither = noise.bits16(2 * elements)[:, elements:] & (1 << RATE_BITS) - 1
    steps = (flat * (255 << RATE_BITS)).round_().to(torch.int32)
    return steps.add_(dither).bitwise_right_shift_(RATE_BITS)


def _poisson(levels: Tensor, noise: Stream, photons: int) -> Tensor:
    """A Poisson number for each element; `photons` is the mean at level 255: int64."""
    interval = field_index(noise, levels.shape[1], torch.int64) + TABLE_SIZE * levels
    ends = poisson_ends(photons, levels.device)
    return torch.searchsorted(ends, interval, right=True) - levels * (photons + 1)


@functools.lru_cache(maxsize=2 * len(SEVERITIES))
def poisson_ends(photons: int, device: torch.device) -> Tensor:
    """The Poisson distributions of 256 levels, in 65,536 intervals each.

    Returns:
        int64 (256 · (photons + 1),), ascending: 65,536 · level + the number of intervals whose
        count is at most 0, 1, 2, … photons.
    """
    level = torch.arange(256, dtype=torch.float64)[:, None]
    at_most = torch.special.gammaincc(
        torch.arange(1, photons + 2, dtype=torch.float64), level * (photons / 255)
    )
    at_most[:, -1] = 1  # clamped to white
    ends: Tensor = (at_most * TABLE_SIZE + 0.5).floor() + level * TABLE_SIZE
    return ends.to(torch.int64).flatten().to(device)
