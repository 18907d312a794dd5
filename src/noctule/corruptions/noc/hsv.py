"""RGB to HSV and back, bit-identical to Pillow's 8-bit conversion.

Pillow mixes float32 and float64, and truncates. Every step depends on two bytes and on a sector
of the colour circle, so it is looked up in a table that is built with the same precisions. This
is exact, and leaves one floating-point product per pixel.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_SIDE = 256


@functools.cache
def _hue_table(device: torch.device) -> Tensor:
    """Pillow's hue of every colour: uint8 (6 · 256 · 256,), indexed as in `rgb_to_hsv`."""
    levels = torch.arange(_SIDE, dtype=torch.float32)
    spread = levels.expand(_SIDE, _SIDE)
    middle = (levels[:, None] / spread.clamp(min=1)).to(torch.float64)
    farthest = torch.ones_like(middle)
    # Distances of the other two channels from the largest, in units of the spread; the order of
    # the channels is red, green, blue, red.
    angles = [
        (sixth + previous) - following
        for sixth in (0, 2, 4)
        for previous, following in ((farthest, middle), (middle, farthest))
    ]
    turn = torch.stack(angles).to(torch.float32).to(torch.float64).div_(6).add_(1).remainder_(1)
    # Distances beyond the spread do not occur; their entries are clamped to fit.
    hue = turn.to(torch.float32).to(torch.float64).mul_(255).clamp_(0, 255).to(torch.uint8)
    return hue.masked_fill_(spread == 0, 0).flatten().to(device)


@functools.cache
def _saturation_table(device: torch.device) -> Tensor:
    """Saturation by value and spread (largest minus smallest channel): uint8 (256 · 256,)."""
    levels = torch.arange(_SIDE, dtype=torch.float32)
    share = levels / levels.clamp(min=1)[:, None]
    return share.to(torch.float64).mul_(255).clamp_(0, 255).to(torch.uint8).flatten().to(device)


@functools.cache
def _share_table(device: torch.device) -> Tensor:
    """Each channel as a share of the value, by saturation and hue: float32 (3, 256 · 256)."""
    angle = torch.arange(_SIDE, dtype=torch.float32) * (6 / 255)
    sector, strength = angle.floor(), torch.arange(_SIDE, dtype=torch.float32)[:, None] / 255
    fraction = angle - sector
    full = torch.ones(_SIDE, _SIDE, dtype=torch.float32)
    shares = {
        "v": full,
        "p": (1 - strength).expand(_SIDE, _SIDE),
        "q": 1 - strength * fraction,
        "t": 1 - strength * (1 - fraction),
    }
    order = (sector.to(torch.int64) % 6).expand(1, _SIDE, _SIDE)
    rules = ("vqpptv", "tvvqpp", "pptvvq")  # red, green and blue in the six sectors
    channels = [torch.stack([shares[c] for c in rule]).gather(0, order)[0] for rule in rules]
    return torch.stack(channels).flatten(1).to(device)


def rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert like Pillow's `convert("HSV")`.

    Args:
        images: uint8 (batch, 3, height, width).

    Returns:
        Hue, saturation and value: uint8 (batch, height, width).
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    not_red, not_green = (red != high).view(torch.uint8), (green != high).view(torch.uint8)
    green_low, blue_low, red_low = ((p == low).view(torch.uint8) for p in (green, blue, red))
    # Index of the largest channel (ties go to red, then green); whether the next is smallest.
    largest = not_green.add(1).mul_(not_red)
    next_low = green_low ^ (
        not_red & (green_low ^ blue_low ^ (not_green & (blue_low ^ red_low)))
    )
    # high − middle, modulo 256 like all arithmetic here.
    to_middle = high.add(high).add_(low).sub_(red).sub_(green).sub_(blue)
    spread = high - low
    index = largest.mul_(2).add_(next_low).to(torch.int64)
    index.mul_(_SIDE).add_(to_middle).mul_(_SIDE).add_(spread)
    hue = _look_up(_hue_table(images.device), index)
    index.copy_(high).mul_(_SIDE).add_(spread)
    return hue, _look_up(_saturation_table(images.device), index), high


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert like Pillow's `convert("RGB")`.

    Args:
        hue, saturation, value: uint8 (batch, height, width).

    Returns:
        uint8 (batch, 3, height, width).
    """
    index = saturation.to(torch.int64).mul_(_SIDE).add_(hue)
    bright = value.to(torch.float32)
    channels = [
        _look_up(table, index).mul_(bright).add_(0.5).to(torch.int16).to(torch.uint8)
        for table in _share_table(hue.device)
    ]
    return torch.stack(channels, dim=1)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    # One row per image, because gather works on rows in parallel.
    batch = len(index)
    return table.expand(batch, -1).gather(1, index.view(batch, -1)).view_as(index)
