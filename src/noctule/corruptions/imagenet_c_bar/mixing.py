"""How the corruptions of ImageNet-C-bar put a pattern on an image."""

from __future__ import annotations

from torch import Tensor

from noctule.corruptions.pixels import (
    from_float,
    full_scale,
    per_image,
    to_float,
)

SOURCE = "Mintun et al. 2021, ImageNet-C-bar"


def add_pattern(
    images: Tensor, pattern: Tensor, amplitude: Tensor, *, released: bool
) -> Tensor:
    """Add amplitude · pattern.

    Args:
        pattern: float32, broadcastable to the images; overwritten.
        amplitude: In [0, 1] units, (batch,).
        released: Truncate uint8 instead of rounding it.
    """
    change = pattern.mul_(per_image(amplitude * full_scale(images)))
    return from_float(to_float(images).add_(change), images.dtype, truncate=released)


def blend_pattern(images: Tensor, pattern: Tensor, alpha: Tensor, *, released: bool) -> Tensor:
    """Mix (1 − alpha) of the images with alpha of a pattern.

    Args:
        pattern: float32 in [0, 1] units, broadcastable to the images; overwritten.
        alpha: Share of the pattern, (batch,).
        released: Truncate uint8 instead of rounding it.
    """
    change = pattern.mul_(per_image(alpha * full_scale(images)))
    values = to_float(images).mul_(per_image(1 - alpha)).add_(change)
    return from_float(values, images.dtype, truncate=released)


def move_to_white(images: Tensor, share: Tensor, *, released: bool) -> Tensor:
    """Go a share of the way to white.

    Args:
        share: float32 in [0, 1], broadcastable to the images.
        released: Truncate uint8 instead of rounding it.
    """
    values = to_float(images)
    # Added to the value, not taken from white: the sum is then never below the value, and
    # truncation does not darken where the share is next to nothing.
    values.add_(values.neg().add_(full_scale(images)).mul_(share))
    return from_float(values, images.dtype, truncate=released)
