"""Pillow's 8-bit HSV: RGB to HSV and back, equal to the bit."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_SIDES = 256


@functools.cache
def _hue_table(device: torch.device) -> Tensor:
    """Pillow's hue of every colour: int32 (6 · 256 · 256,), indexed by `_hue_index`.

    Pillow mixes float32 and float64, and truncates. A table built in the same precisions is
    exact and leaves no floating point to be done per pixel.
    """
    levels = torch.arange(_SIDES, dtype=torch.float32)
    spread = levels.expand(_SIDES, _SIDES)
    middle = (levels[:, None] / spread.clamp(min=1)).to(torch.float64)
    farthest = torch.ones_like(middle)
    # Distances of the other two channels from the largest, in units of the spread; red is
    # followed by green, green by blue, blue by red.
    angles = [
        (sixth + previous) - following
        for sixth in (0, 2, 4)
        for previous, following in ((farthest, middle), (middle, farthest))
    ]
    turn = torch.stack(angles).to(torch.float32).to(torch.float64).div_(6).add_(1).remainder_(1)
    hue = turn.to(torch.float32).to(torch.float64).mul_(255).to(torch.int32)
    return hue.masked_fill_(spread == 0, 0).flatten().to(device)


def _hue_index(red: Tensor, green: Tensor, blue: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """(2 · largest channel + whether the following one is smallest, high − mid, high − low)."""
    not_red = (red != high).to(torch.int32)
    not_green = (green != high).to(torch.int32)
    largest = not_red * (1 + not_green)
    green_low, blue_low, red_low = ((p == low).to(torch.int32) for p in (green, blue, red))
    following = not_red * (not_green * red_low + (1 - not_green) * blue_low) + (1 - not_red) * green_low
    to_middle = 2 * high + low - red - green - blue
    sector = largest.mul_(2).add_(following)
    return sector.mul_(_SIDES).add_(to_middle).mul_(_SIDES).add_(high).sub_(low)


def rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert as Pillow's `convert("HSV")`.

    Args:
        images: uint8 (batch, 3, height, width).

    Returns:
        Hue, saturation and value: int32 (batch, height, width), 0 to 255.
    """
    red, green, blue = images.to(torch.int32).unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    index = _hue_index(red, green, blue, high, low).to(torch.int64)
    hue = _hue_table(images.device).gather(0, index.flatten()).view_as(high)
    # Divided in float32, multiplied in float64: truncation shows the difference.
    share = (high - low).to(torch.float32).div_(high.clamp(min=1))
    return hue, share.to(torch.float64).mul_(255).to(torch.int32), high


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert as Pillow's `convert("RGB")`: uint8 (batch, 3, height, width)."""
    angle = hue.to(torch.float32).mul_(6 / 255)
    sector = angle.floor()
    fraction = angle.sub_(sector)
    strength = saturation.to(torch.float32).div_(255)
    bright = value.to(torch.float32)
    q = bright * (1 - strength * fraction)
    t = bright * (1 - strength * (1 - fraction))
    p = bright * (1 - strength)
    planes = [plane.add_(0.5).to(torch.uint8) for plane in (bright, p, q, t)]
    order = sector.to(torch.uint8).remainder_(6)
    chosen = [(order == number).to(torch.uint8) for number in range(6)]
    channels = [_pick(planes, chosen, rule) for rule in ("vqpptv", "tvvqpp", "pptvvq")]
    return torch.stack(channels, dim=1)


def _pick(planes: list[Tensor], chosen: list[Tensor], rule: str) -> Tensor:
    """One channel: in each sector of the circle, the plane the rule's letter names."""
    named = dict(zip("vpqt", planes, strict=True))
    result = torch.zeros_like(planes[0])
    for sector, letter in zip(chosen, rule, strict=True):
        result.addcmul_(named[letter], sector)
    return result
