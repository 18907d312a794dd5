"""ImageNet-C-bar, noise with a given spectrum: blue_noise_sample, brownish_noise."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.fields import TABLE_SIZE, field_index
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE, add_pattern
from noctule.corruptions.pixels import per_image
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

Color = Literal["blue", "brownish"]


@corruption(
    family="noise",
    source=f"{SOURCE}: blue_noise_sample",
    draws={
        "threshold": PerSeverity(-2.26, -2.02, -1.78, -1.3, -0.82, lowest=-1e3, highest=1e3),
        "phases": NoiseField(),
    },
    bytes_per_value=24,
)
def blue_noise_sample(
    images: Images, *, released: bool = False, threshold: PerImage, phases: Stream
) -> Images:
    """Blacken pixels where blue noise is below a threshold, which gives evenly spaced dots.

    The amplitude of the noise is proportional to the frequency. Its values are practically
    normally distributed, so that 1.2 % of the pixels are black at severity 1, and 21 % at
    severity 5.

    Args:
        released: Use every phase twice, which correlates pixel (y, x) and pixel
            (height − y, width − x) by cos(2π (y / height + x / width)).
        threshold: Threshold in standard deviations of the noise; published as 0.3 times the
            paper's severity, minus 2.5.
        phases: 16 random bits for each frequency.
    """
    noise = _noise(images, phases, "blue", planes=1, mirrored=released)
    return images * (noise > per_image(threshold))


@corruption(
    family="noise",
    source=f"{SOURCE}: brownish_noise",
    draws={
        "sigma": PerSeverity(*(s * 6.4 / 255 for s in (1, 2, 3, 4, 5)), highest=1.0),
        "phases": NoiseField(),
    },
    bytes_per_value=40,
)
def brownish_noise(
    images: Images, *, released: bool = False, sigma: PerImage, phases: Stream
) -> Images:
    """Add noise with amplitudes of 1 / (frequency² + 1), independent for each channel.

    Frequencies are in cycles per shorter side. As published, the mean is also random and is not
    included in the standard deviation.

    Args:
        released: Truncate uint8 results instead of rounding them, and use every phase twice, as
            in `blue_noise_sample`.
        sigma: Standard deviation in [0, 1] units; published as 6.4 / 255 times the paper's
            severity.
        phases: 16 random bits for each frequency of each channel.
    """
    noise = _noise(images, phases, "brownish", planes=images.shape[1], mirrored=released)
    return add_pattern(images, noise, sigma, released=released)


def _noise(
    images: Tensor, phases: Stream, color: Color, *, planes: int, mirrored: bool
) -> Tensor:
    """Noise of standard deviation 1 in every plane: float32 (batch, planes, height, width).

    It is the real part of the inverse Fourier transform of a spectrum with random phases. If
    `mirrored`, phases are equal at frequencies that are opposite but for one step of the grid,
    as in the released code, which probably was meant to have opposite phases at opposite
    frequencies.
    """
    height, width = images.shape[2:]
    index = field_index(phases, planes * height * width).view(-1, planes, height, width)
    if mirrored:
        # The second half of the columns holds the negative frequencies.
        negative = torch.arange(width, device=images.device) >= (width + 1) // 2
        index = torch.where(negative, index, index.flip(2, 3))
    spectrum = circle(images.device)[index].mul_(
        spectrum_of(height, width, color, images.device)
    )
    # Image by image, because the algorithm may depend on the number of transforms.
    noise = torch.stack([torch.fft.ifft2(image).real for image in spectrum])
    return _standardized(noise)


def _standardized(noise: Tensor) -> Tensor:
    """Divide by the standard deviation of each plane.

    A floating-point sum would depend on the number of threads, so integers are summed in
    float64, which is exact up to 2**53.
    """
    whole = (noise.to(torch.float64) * 2**12).round_()
    count = noise.shape[2] * noise.shape[3]
    mean = whole.sum(dim=(2, 3), keepdim=True) / count
    square = whole.square_().sum(dim=(2, 3), keepdim=True) / count
    deviation = (square - mean**2).sqrt_().mul_(2.0**-12)
    return noise / deviation.to(torch.float32)


@functools.cache
def circle(device: torch.device) -> Tensor:
    """exp(i · phase) for 65,536 phases: complex64."""
    phase = torch.arange(TABLE_SIZE, dtype=torch.float64) * (2 * math.pi / TABLE_SIZE)
    return torch.polar(torch.ones_like(phase), phase).to(torch.complex64).to(device)


@functools.lru_cache(maxsize=8)
def spectrum_of(height: int, width: int, color: Color, device: torch.device) -> Tensor:
    """Amplitude at each frequency, for an expected variance of 1: float32 (height, width)."""
    side = min(height, width)
    rows, columns = (
        torch.fft.fftfreq(n, 1 / side, dtype=torch.float64) for n in (height, width)
    )
    square = rows[:, None] ** 2 + columns**2
    amplitude = square.sqrt() if color == "blue" else 1 / (square + 1)
    power = amplitude.square().sum() - amplitude[0, 0] ** 2  # without the mean
    scaled: Tensor = amplitude * (height * width / (power / 2).sqrt())
    return scaled.to(torch.float32).to(device)
