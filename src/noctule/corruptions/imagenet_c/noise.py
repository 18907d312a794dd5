"""ImageNet-C: gaussian_noise, shot_noise, impulse_noise, speckle_noise.

Each element (pixel of one channel) takes 16 random bits, and its change is monotone in them:
the severities of an image differ in strength only.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from noctule.corruptions.draws import SEVERITIES, NoiseField, PerSeverity
from noctule.corruptions.fields import (
    TABLE_SIZE,
    field_bits,
    look_up,
    normal_field,
    normal_table,
)
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.sparse import nonzero_positions
from noctule.corruptions.pixels import from_float, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# The mean number of photons of float32 values is rounded to 1 / 64 of one of 255 grey levels.
RATE_BITS = 6
# The lowest of the 16 bits, which are within a bin of the guide to a Poisson distribution.
BIN_BITS = 4
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

    def change(part: Tensor, sigma: float, noise: Stream) -> Tensor:
        if part.dtype == torch.float32:
            added = normal_field(noise, part[0].numel()).mul_(sigma).view_as(part)
            return added.add_(part).clamp_(0, 1)
        table = _steps(sigma, part.device, truncate=released)
        steps = look_up(table, field_bits(noise, part[0].numel())).view_as(part)
        return steps.add_(part).clamp_(0, 255).to(torch.uint8)

    return group_by_params(images, [sigma], change, noise)


@functools.lru_cache(maxsize=2 * len(SEVERITIES))
def _steps(sigma: float, device: torch.device, *, truncate: bool) -> Tensor:
    """The grey levels that are added for each 16-bit number: int16 (65536,)."""
    change = normal_table(device) * (255 * sigma)
    return (change.floor_() if truncate else change.round_()).to(torch.int16)


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

    def change(part: Tensor, sigma: float, noise: Stream) -> Tensor:
        gain = look_up(_gains(sigma, part.device), field_bits(noise, part[0].numel()))
        values = gain.view_as(part).mul_(to_float(part))
        return from_float(values, part.dtype, truncate=released)

    return group_by_params(images, [sigma], change, noise)


@functools.lru_cache(maxsize=len(SEVERITIES))
def _gains(sigma: float, device: torch.device) -> Tensor:
    """The factor of the value for each 16-bit number: float32 (65536,)."""
    return (normal_table(device) * sigma).add_(1)


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
    words = noise.bits16(images[0].numel())
    # The lowest and highest of 65,536 words are specks. Arithmetic takes a tenth of the time of
    # comparisons on the CPU.
    specks = (amount * 32768).round().clamp(max=32767).to(torch.int16)[:, None]
    inner = torch.minimum(torch.maximum(words, specks - 32768), 32767 - specks)
    sign = (words - inner).clamp_(-1, 1).view_as(images)
    if images.dtype == torch.float32:
        return sign.to(torch.float32).add_(images).clamp_(0, 1)
    return sign.mul_(255).add_(images).clamp_(0, 255).to(torch.uint8)


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
    """A Poisson number for each element; `photons` is the mean at level 255: int16."""
    guide, ends = _poisson_tables(photons, levels.device)
    words = noise.bits16(levels.shape[1])
    bins = (words >> BIN_BITS & TABLE_SIZE - 1 >> BIN_BITS).to(torch.int32)
    bins.add_(levels, alpha=TABLE_SIZE >> BIN_BITS)
    count = guide.expand(len(bins), -1).gather(1, bins.to(torch.int64))
    count.add_(words & (1 << BIN_BITS) - 1).bitwise_right_shift_(BIN_BITS)
    # In the tails, where a bin contains several counts (one element in a thousand), by search.
    rare = nonzero_positions(count.clamp(max=0))
    level = levels.flatten()[rare].to(torch.int64)
    interval = level * TABLE_SIZE + (words.flatten()[rare].to(torch.int64) & TABLE_SIZE - 1)
    rare_count = torch.searchsorted(ends, interval, right=True) - level * (photons + 1)
    count.view(-1)[rare] = rare_count.to(torch.int16)
    return count


@functools.lru_cache(maxsize=2 * len(SEVERITIES))
def _poisson_tables(photons: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The inverse distribution at the midpoints of 65,536 intervals u, for each of 256 levels.

    Returns:
        The guide, int16 (256 · 4,096,): for each level and each bin of 16 intervals, a number g
        such that (g + u mod 16) // 16 is the count; negative if the bin contains more than two
        counts. The ends, int64 (256 · (photons + 1),), ascending: 65,536 · level + the number
        of intervals whose count is at most 0, 1, 2, …
    """
    level = torch.arange(256, dtype=torch.float64)[:, None]
    at_most = torch.special.gammaincc(
        torch.arange(1, photons + 2, dtype=torch.float64), level * (photons / 255)
    )
    at_most[:, -1] = 1  # clamped to white
    ends = (at_most * TABLE_SIZE + 0.5).floor().to(torch.int64)
    size = 1 << BIN_BITS
    start = torch.arange(0, TABLE_SIZE, size).repeat(256, 1)
    lowest = torch.searchsorted(ends, start, right=True)
    highest = torch.searchsorted(ends, start + (size - 1), right=True)
    # The first count has the intervals of the bin before `ends`, all if that is beyond the bin.
    first = (ends.gather(1, lowest) - start).clamp(max=size)
    guide = size * lowest + (size - first)
    guide[highest > lowest + 1] = torch.iinfo(torch.int16).min
    ends = ends + level.to(torch.int64) * TABLE_SIZE
    return guide.to(torch.int16).flatten().to(device), ends.flatten().to(device)
