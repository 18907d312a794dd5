"""Noise: gaussian, salt_pepper, uniform."""

from __future__ import annotations

import math

import torch

from noctule.corruptions.draws import NoiseField, Uniform
from noctule.corruptions.fields import TABLE_SIZE, field_index, half_normal_table
from noctule.corruptions.pixels import shade
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import FIELD_ROUNDS, Stream, bits_of, high24

SOURCE = "Laugros et al. 2020"


@corruption(
    family="noise",
    source=f"{SOURCE}, released code: gaussian",
    draws={"sigma": Uniform(0.05, 0.18), "noise": NoiseField()},
    bytes_per_value=16,
)
def gaussian(images: Images, *, sigma: PerImage, noise: Stream) -> Images:
    """Add the absolute value of Gaussian noise, independently per pixel and channel.

    The published operation is one-sided, it only brightens; kept.

    Args:
        images: see `noctule.corrupt`.
        sigma: standard deviation before the absolute value, in [0, 1] units, (batch,).
        noise: 16 random bits for each element.
    """
    index = field_index(noise, images[0].numel(), torch.int64)
    amplitude = sigma.to(torch.float32)[:, None]
    if images.dtype == torch.float32:
        added = half_normal_table(images.device)[index].mul_(amplitude)
        return (images + added.view_as(images)).clamp_(max=1)
    table = (half_normal_table(images.device) * (255 * amplitude)).round_().clamp_(max=255)
    step = table.to(torch.uint8).gather(1, index).view_as(images)
    return torch.minimum(images, ~step).add_(step)


@corruption(
    family="noise",
    source=f"{SOURCE}, published range only; the operation is noctule's",
    draws={"amplitude": Uniform(0.06, 0.20), "noise": NoiseField()},
    bytes_per_value=16,
)
def uniform(images: Images, *, amplitude: PerImage, noise: Stream) -> Images:
    """Add noise uniform in (−amplitude, amplitude), independently per pixel and channel.

    A range is published without code; this operation is noctule's own.

    Args:
        images: see `noctule.corrupt`.
        amplitude: largest change, in [0, 1] units, (batch,).
        noise: 16 random bits for each element.
    """
    index = field_index(noise, images[0].numel(), torch.int64)
    odd = torch.arange(1, 2 * TABLE_SIZE, 2, dtype=torch.float32, device=images.device)
    ramp = odd / TABLE_SIZE - 1
    table = ramp * amplitude.to(torch.float32)[:, None]
    if images.dtype == torch.float32:
        return (images + table.gather(1, index).view_as(images)).clamp_(0, 1)
    step = (table * 255).round_().to(torch.int16).gather(1, index).view_as(images)
    return step.add_(images).clamp_(0, 255).to(torch.uint8)


@corruption(
    family="noise",
    source=f"{SOURCE}, released code: salt_pepper",
    draws={"amount": Uniform(0.003, 0.032), "noise": NoiseField()},
)
def salt_pepper(images: Images, *, amount: PerImage, noise: Stream) -> Images:
    """Set each element to black or to white with probability amount / 2 each.

    Elements are pixels of one channel. Only the specks are visited: candidates at the density
    of the hardest setting lie at geometric gaps, and a milder one keeps a part of them, which
    is the same distribution as one coin per element; the specks of a mild severity are among
    those of a severe one.

    Args:
        images: see `noctule.corrupt`.
        amount: probability that an element is replaced, (batch,).
        noise: two random words for each candidate.
    """
    elements = images[0].numel()
    density = amount.clamp(min=0.032)[:, None]
    mean = elements * float(density.max())
    # Eight standard deviations more than expected: enough but for a chance of 1e-15.
    candidates = min(elements, math.ceil(mean + 8 * math.sqrt(mean) + 16))
    gap_words, keep_words = noise.words(candidates, rounds=FIELD_ROUNDS)
    # float64: rounding must not move a gap, which would move all later specks, on any device.
    uniform_gap = (high24(gap_words).to(torch.float64) + 0.5) / (1 << 24)
    gaps = (uniform_gap.log() / torch.log1p(-density)).floor().to(torch.int64) + 1
    position = gaps.cumsum(dim=1) - 1
    kept = high24(keep_words) * density < amount[:, None] * (1 << 24)
    image, which = (kept & (position < elements)).nonzero(as_tuple=True)
    result = images.clone()
    speck = shade(bits_of(keep_words)[image, which], images)
    result.view(len(images), -1)[image, position[image, which]] = speck
    return result
