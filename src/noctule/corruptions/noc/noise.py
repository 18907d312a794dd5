"""Noise: gaussian, salt_pepper, uniform."""

from __future__ import annotations

import math

import torch

from noctule.corruptions.draws import NoiseField, Uniform
from noctule.corruptions.fields import TABLE_SIZE, field_index, half_normal_table
from noctule.corruptions.pixels import per_image, shade
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import FIELD_ROUNDS, Stream, bits_of, high24

SOURCE = "Laugros et al. 2020"

MIN_DENSITY = 0.032  # of the candidates of salt_pepper: the highest severity
# No 24-bit number has a longer gap: log(2**-25) / log(1 − .032) < 533.
MOST_GAPS = 533


@corruption(
    family="noise",
    source=f"{SOURCE}, released code: gaussian",
    draws={"sigma": Uniform(0.05, 0.18), "noise": NoiseField()},
    bytes_per_value=16,
)
def gaussian(images: Images, *, sigma: PerImage, noise: Stream) -> Images:
    """Add the absolute value of Gaussian noise, independently per pixel and channel.

    Departure from what the name suggests, as released: the noise only brightens.

    Args:
        sigma: Standard deviation before the absolute value, in [0, 1] units.
        noise: 16 random bits per element.
    """
    index = field_index(noise, images[0].numel(), torch.int64)
    normal = half_normal_table(images.device)[index].view_as(images)
    amplitude = per_image(sigma)
    if images.dtype == torch.float32:
        return normal.mul_(amplitude).add_(images).clamp_(max=1)
    step = normal.mul_(255 * amplitude).round_()
    return step.add_(images).clamp_(max=255).to(torch.uint8)


@corruption(
    family="noise",
    source=f"{SOURCE}, published range only; the operation is noctule's",
    draws={"amplitude": Uniform(0.06, 0.20), "noise": NoiseField()},
    bytes_per_value=16,
)
def uniform(images: Images, *, amplitude: PerImage, noise: Stream) -> Images:
    """Add noise uniform in (−amplitude, amplitude), independently per pixel and channel.

    The authors published a range but no code, so the operation is noctule's own.

    Args:
        amplitude: Largest change, in [0, 1] units.
        noise: 16 random bits per element.
    """
    index = field_index(noise, images[0].numel(), torch.int64)
    odd = index.mul_(2).add_(1 - TABLE_SIZE).view_as(images)
    added = odd.to(torch.float32).div_(TABLE_SIZE).mul_(per_image(amplitude))
    if images.dtype == torch.float32:
        return added.add_(images).clamp_(0, 1)
    return added.mul_(255).round_().add_(images).clamp_(0, 255).to(torch.uint8)


@corruption(
    family="noise",
    source=f"{SOURCE}, released code: salt_pepper",
    draws={"amount": Uniform(0.003, 0.032), "noise": NoiseField()},
)
def salt_pepper(images: Images, *, amount: PerImage, noise: Stream) -> Images:
    """Set each element (pixel of one channel) to black or white with probability amount / 2.

    Only the specks are computed. Candidate positions have geometrically distributed gaps at the
    density of the highest severity, and a lower severity keeps a subset of them. This gives the
    same distribution as one coin per element, and the specks of a low severity are a subset of
    those of a high one.

    Args:
        amount: Probability that an element is replaced.
        noise: Two random words per candidate.
    """
    elements = images[0].numel()
    density = amount.clamp(min=MIN_DENSITY)[:, None]
    mean = elements * float(density.max())
    # Eight standard deviations above the mean: too few with a probability of 1e-15.
    candidates = min(elements, math.ceil(mean + 8 * math.sqrt(mean) + 16))
    gap_words, keep_words = noise.words(candidates, rounds=FIELD_ROUNDS)
    # A gap is longer than n with the probability (1 − density)^n, a product in a fixed order,
    # because rounding must not move a gap, which would move all later specks, on any device.
    longer = (1 - density.cpu()).expand(-1, MOST_GAPS - 1).cumprod(dim=1)
    least = -(longer * (1 << 24) - 0.5).floor().to(torch.int64).to(images.device)
    gaps = torch.searchsorted(least, -high24(gap_words), right=True) + 1
    position = gaps.cumsum(dim=1) - 1
    is_speck = high24(keep_words) * density < amount[:, None] * (1 << 24)
    image, candidate = (is_speck & (position < elements)).nonzero(as_tuple=True)
    result = images.clone()
    speck = shade(bits_of(keep_words)[image, candidate], images)
    result.view(len(images), -1)[image, position[image, candidate]] = speck
    return result
