"""Arithmetic shared by the kernels, for uint8 and for float32 in [0, 1].

The uint8 result of an operation is its result on x / 255, times 255, rounded half to even and
clamped: exactly what an 8-bit file of the corrupted image contains.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

REFERENCE_SIDE_PX = 224
LUMA = (0.2989, 0.587, 0.114)  # weights of red, green and blue


def full_scale(images: Tensor) -> float:
    """The value of white: 255 for uint8, 1 for float32."""
    return 255.0 if images.dtype == torch.uint8 else 1.0


def to_float(images: Tensor) -> Tensor:
    """A float32 copy in the units of the images, [0, full_scale]."""
    return images.to(torch.float32, copy=True)


def from_float(
    values: Tensor, dtype: torch.dtype, *, in_range: bool = False, truncate: bool = False
) -> Tensor:
    """Convert float32 values to `dtype`: clamp them, and round them if it is uint8.

    Args:
        values: float32 in the units of `dtype`; overwritten.
        dtype: uint8 or float32.
        in_range: Whether the values need no clamping.
        truncate: Whether to round towards 0, as released code often does in its conversion to
            uint8.
    """
    if dtype == torch.float32:
        return values.clamp_(0, 1)
    if not in_range:
        values.clamp_(0, 255)  # before int16, which would wrap
    return (values if truncate else values.round_()).to(torch.int16).to(dtype)


def side_scale(images: Tensor) -> float:
    """The factor by which lengths for 224 px scale: the shorter side divided by 224."""
    return float(min(images.shape[2:]) / REFERENCE_SIDE_PX)


def exact_mean(values: Tensor, dims: tuple[int, ...], *, integers: bool) -> Tensor:
    """The mean over the last axis and the axes `dims`, which are kept: float32.

    A floating-point sum would depend on the number of threads, so integers are summed: exactly
    in float32 along a row of bytes, and in float64 up to 2**53.

    Args:
        values: float32 (batch, channels, height, width), in the units of the images.
        dims: Axes of the mean besides the last.
        integers: Whether the values are bytes.
    """
    whole = values if integers else (values * 2**24).round_().to(torch.float64)
    total = whole.sum(dim=3, keepdim=True).sum(dim=dims, keepdim=True, dtype=torch.float64)
    count = values.shape[3] * math.prod(values.shape[dim] for dim in dims)
    return (total / (count if integers else count * 2**24)).to(torch.float32)


def per_image(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Reshape (batch,) to (batch, 1, 1, 1)."""
    return values.to(dtype).view(-1, 1, 1, 1)


def divisor(value: float, images: Tensor) -> Tensor:
    """A number to divide by; GPUs would multiply by the rounded inverse of a Python number."""
    return torch.full((), value, dtype=torch.float32, device=images.device)


def shade(value: Tensor, images: Tensor) -> Tensor:
    """Convert values in [0, 1] to pixel values in the dtype of the images."""
    if images.dtype == torch.uint8:
        return (value * 255).round().to(torch.uint8)
    return value.to(torch.float32)


def scale_px(length_px: Tensor | int, images: Tensor, *, minimum_px: int = 1) -> Tensor:
    """Scale lengths for 224 px with the shorter side of the images: int64.

    Magnitudes are rounded half to even, and are at least `minimum_px`; signs are kept.
    """
    length = torch.as_tensor(length_px, dtype=torch.float32, device=images.device)
    size = (length.abs() * side_scale(images)).round().to(torch.int64)
    return size.clamp(min=minimum_px) * torch.where(length < 0, -1, 1)


def fraction_to_index(fraction: Tensor, count: Tensor) -> Tensor:
    """Map a fraction in [0, 1] to one of the `count` integers from 0: int64."""
    return torch.minimum((fraction * count).to(torch.int64), count - 1)


def add_clamped(images: Tensor, change: Tensor) -> Tensor:
    """Add a change to the images, and clamp.

    Args:
        change: float64 in [-1, 1], broadcastable to the images.
    """
    if images.dtype == torch.float32:
        return (images + change.to(torch.float32)).clamp_(0, 1)
    return (images + (change * 255).round().to(torch.int16)).clamp_(0, 255).to(torch.uint8)


def paste(images: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """Replace the pixels under a mask by values in [0, 1]; all broadcastable to the images."""
    return torch.where(mask, shade(value, images), images)


def coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column indices: int64 (1, 1, height, 1) and (1, 1, 1, width)."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    return rows, torch.arange(width, device=images.device).view(1, 1, 1, -1)
