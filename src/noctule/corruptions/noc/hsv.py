"""RGB to HSV and back, bit-identical to Pillow's 8-bit conversion.

Pillow mixes float32 and float64, and truncates. For every colour, the float32 operations here
give the same bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.pixels import divisor


def rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert like Pillow's `convert("HSV")`.

    Args:
        images: uint8 (batch, 3, height, width).

    Returns:
        Hue, saturation and value: uint8 (batch, height, width). The hue of greys is undefined.
    """
    red, green, blue = images.to(torch.float32).unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    spread = high - low
    # Distance of the middle channel from the largest, in units of the spread.
    share = (high + high + low - red - green - blue) / spread.clamp(min=1)
    is_red, is_green = red == high, green == high
    following = torch.where(is_red, green, torch.where(is_green, blue, red))
    even = torch.where(is_red, 0, torch.where(is_green, 2, 4))
    angle = torch.where(following == low, even - 1 + share, even + 1 - share)
    hue = angle / divisor(6, images) * 255
    hue = torch.where(hue < 0, hue + 255, hue)
    saturation = spread / high.clamp(min=1) * 255
    return hue.to(torch.uint8), saturation.to(torch.uint8), high.to(torch.uint8)


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert like Pillow's `convert("RGB")`.

    Args:
        hue, saturation, value: uint8 (batch, height, width).

    Returns:
        uint8 (batch, 3, height, width).
    """
    angle = hue.to(torch.float32) * (6 / 255)
    sector = angle.floor()
    fraction = angle - sector
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    # How much of the saturation reduces a channel, in the six sectors that begin with its own.
    weights = torch.stack([fraction, one, one, 1 - fraction, zero, zero])
    strength = saturation.to(torch.float32) / divisor(255, hue)
    channels = []
    for shift in (5, 3, 1):  # red, green, blue
        position = (sector.to(torch.int64) + shift) % 6
        share = 1 - strength * weights.gather(0, position[None])[0]
        channels.append((share * value + 0.5).to(torch.uint8))
    return torch.stack(channels, dim=1)
