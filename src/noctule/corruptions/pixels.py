"""Arithmetic shared by the kernels, for uint8 and for float32 in [0, 1].

For uint8 a result is what the same operation on x / 255 gives, times 255, rounded half to even
and clamped: exactly what an 8-bit file of the corrupted image holds.

On the CPU, uint8 and int16 operations move a quarter and a half of the bytes of float32 and
`torch.where` costs sixty times an `and`: hence the integer forms below.
"""

from __future__ import annotations

import torch
from torch import Tensor

REFERENCE_SIDE_PX = 224
LUMA = (0.2989, 0.587, 0.114)  # shares of red, green and blue in grey


def full_scale(images: Tensor) -> float:
    """The value of white: 255 for uint8, 1 for float32."""
    return 255.0 if images.dtype == torch.uint8 else 1.0


def to_float(images: Tensor) -> Tensor:
    """A float32 copy in the images' own units, [0, full_scale]."""
    return images.to(torch.float32, copy=True)


def from_float(
    values: Tensor, dtype: torch.dtype, *, in_range: bool = False, truncate: bool = False
) -> Tensor:
    """Clamp float32 values in the units of `dtype`, and round them if it is uint8.

    Args:
        values: overwritten.
        dtype: uint8 or float32.
        in_range: whether they need no clamping.
        truncate: round towards 0, as much released code does by its conversion to uint8.
    """
    return to_int16_levels(values, dtype, in_range=in_range, truncate=truncate).to(dtype)


def to_int16_levels(
    values: Tensor, dtype: torch.dtype, *, in_range: bool = False, truncate: bool = False
) -> Tensor:
    """The same, as int16 instead of uint8: half way, for who copies the result anyway.

    The conversion by way of int16 takes a fifth of the direct one.
    """
    if dtype == torch.float32:
        return values.clamp_(0, 1)
    if not in_range:
        values.clamp_(0, 255)  # before int16, which would wrap
    return (values if truncate else values.round_()).to(torch.int16)


def per_image(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(batch,) to (batch, 1, 1, 1)."""
    return values.to(dtype).view(-1, 1, 1, 1)


def shade(value: Tensor, images: Tensor) -> Tensor:
    """Values in [0, 1] as pixel values of the images' dtype; the shape stays."""
    if images.dtype == torch.uint8:
        return (value * 255).round().to(torch.uint8)
    return value.to(torch.float32)


def scale_px(length_px: Tensor | int, images: Tensor, *, minimum_px: int = 1) -> Tensor:
    """Lengths given for 224 px, for these images: int64, rounded half to even.

    They scale with the shorter side; the sign is kept; magnitudes below `minimum_px` become it.
    """
    length = torch.as_tensor(length_px, dtype=torch.float32, device=images.device)
    size = (length.abs() * (min(images.shape[2:]) / REFERENCE_SIDE_PX)).round().to(torch.int64)
    return size.clamp(min=minimum_px) * torch.where(length < 0, -1, 1)


def place(fraction: Tensor, positions: Tensor) -> Tensor:
    """Turn a fraction in [0, 1] into one of `positions` whole numbers from 0: int64."""
    return torch.minimum((fraction * positions).to(torch.int64), positions - 1)


def add_clamped(images: Tensor, change: Tensor) -> Tensor:
    """The images plus a change, clamped.

    Args:
        change: float64 in [-1, 1], broadcastable to the images.
    """
    if images.dtype == torch.float32:
        return (images + change.to(torch.float32)).clamp_(0, 1)
    step = (change * 255).round().to(torch.int64)
    # Clamp to where the sum does not wrap, then add modulo 256.
    lowest, highest = (-step).clamp(min=0), 255 - step.clamp(min=0)
    result = torch.maximum(images, lowest.to(torch.uint8))
    torch.minimum(result, highest.to(torch.uint8), out=result)
    return result.add_((step % 256).to(torch.uint8))


def choose(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """`chosen` where the mask is true, `other` elsewhere; all broadcastable."""
    if other.dtype == torch.float32:
        return torch.where(mask, chosen, other)
    ones = mask.to(torch.uint8).mul_(255)
    return (other & ~ones).bitwise_or_(ones & chosen)


def paste(images: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """Replace the pixels under a mask by values in [0, 1]; all broadcastable to the images."""
    return choose(mask, shade(value, images), images)


def coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column numbers: int64 (1, 1, height, 1) and (1, 1, 1, width)."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    return rows, torch.arange(width, device=images.device).view(1, 1, 1, -1)
