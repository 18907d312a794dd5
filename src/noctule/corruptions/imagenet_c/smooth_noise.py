"""Smoothed normal noise, in whole numbers of 16 bits: a third of the cost of float32."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from noctule.corruptions.fields import field_index
from noctule.corruptions.filters import extended, gaussian_filter, gaussian_kernel
from noctule.sampling import Stream

# The largest number of the noise, and of its sums along rows before those along columns: times
# the sums of the weights, they fill 16 bits, and leave room for rounding 9 of these away.
MOST, MOST_IN_ROWS = 63, 127
ROOM = (1 << 15) - (1 << 8) - 1
# Of the noise: of 256 equally likely normal numbers, the largest of which is MOST.
DEVIATION = 21.81
# Sums along rows are clipped beyond so many standard deviations of those at the picture's edge,
# which are the largest, as the edge pixel stands for all beyond it.
CLIPPED_AT = 3.5
# Wider filters have weights that are too small for whole numbers.
WIDEST_SIGMA_PX = 6.0


def small_noise(stream: Stream, count: int) -> Tensor:
    """N(0, DEVIATION²) in whole numbers, from 8 bits each: int8 (batch, count)."""
    index = field_index(stream, -(-count // 2)).flatten()
    pairs = _pair_table(stream.keys.device).index_select(0, index)
    return pairs.view(len(stream), -1).view(torch.int8)[:, :count].contiguous()


@functools.cache
def _pair_table(device: torch.device) -> Tensor:
    """Two normal numbers in an int16, for each pair of bytes: (65536,)."""
    chance = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    line = torch.erfinv(2 * chance - 1)
    line = line.mul_(MOST / line[-1]).round_().to(torch.int8)
    pairs = torch.stack([line.repeat(256), line.repeat_interleave(256)], dim=1)
    return pairs.view(torch.int16).flatten().to(device)


def smooth_noise(noise: Tensor, sigma_px: float) -> Tensor:
    """N(0, 1) for each pixel after a Gaussian filter that repeats the edge pixels.

    Departure from `filters.gaussian_filter`, for speed: the weights are rounded, so that those
    beyond some three standard deviations are 0, and the sums along rows have 8 bits. The result
    is off by some hundredths of its standard deviation.

    Args:
        noise: from `small_noise`, int8 (batch, height, width).
        sigma_px: standard deviation of the filter.

    Returns:
        float32 (batch, 1, height, width).
    """
    height, width = noise.shape[1:]
    if sigma_px > WIDEST_SIGMA_PX:
        return gaussian_filter(noise[:, None].to(torch.float32), sigma_px).div_(DEVIATION)
    across, down = (whole_weights(sigma_px, ROOM // most) for most in (MOST, MOST_IN_ROWS))
    radius = len(across) - 1
    flat = extended(noise, (0, 0), (radius, radius), "nearest", torch.int16).view(1, -1)
    pitch = width + 2 * radius
    rows = _sums(flat, across, 1).as_strided(noise.shape, (height * pitch, pitch, 1))
    radius, shift = len(down) - 1, _shift(across)
    rows = extended(rows, (radius, radius), (0, 0), "nearest", torch.int16)
    half, most = (1 << shift) >> 1, min(MOST_IN_ROWS << shift, ROOM)
    rows.clamp_(-most, most).add_(half).bitwise_right_shift_(shift)
    total = _sums(rows.flatten(1), down, width).view(-1, 1, height, width)
    scale = (1 << shift) / (DEVIATION * _gain(across) * _gain(down))
    return total.to(torch.float32).mul_(scale)


def _gain(weights: list[int]) -> int:
    return 2 * sum(weights) - weights[0]


def _shift(weights: list[int]) -> int:
    """By how many bits sums along rows are shortened, to fit `MOST_IN_ROWS`."""
    deviation = DEVIATION * math.hypot(sum(weights), *weights[1:])
    return max(0, math.ceil(math.log2(CLIPPED_AT * deviation / MOST_IN_ROWS)))


@functools.lru_cache(maxsize=32)
def whole_weights(sigma_px: float, total: int) -> list[int]:
    """The filter in whole numbers, from the middle outwards, that sum to `total` at most.

    >>> whole_weights(1.0, 100)
    [40, 24, 5]
    """
    weights = [math.floor(weight * total + 0.5) for weight in gaussian_kernel(sigma_px)]
    while weights[-1] == 0:
        weights.pop()
    weights[0] -= max(0, 2 * sum(weights) - weights[0] - total)
    return weights


def _sums(flat: Tensor, weights: list[int], step: int) -> Tensor:
    """Σ weight · value along the rows of int16 (rows, n), with taps `step` apart."""
    radius = len(weights) - 1
    length = flat.shape[1] - 2 * radius * step
    total = flat[:, radius * step :][:, :length] * weights[0]
    for number, weight in enumerate(weights[1:], 1):
        for tap in (radius - number, radius + number):
            total.add_(flat[:, tap * step :][:, :length], alpha=weight)
    return total
