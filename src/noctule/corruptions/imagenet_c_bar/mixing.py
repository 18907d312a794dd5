"""Ways in which ImageNet-C-bar combines an image and a pattern."""

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
    """Add amplitude · pattern, and clamp.

    Args:
        pattern: float32, broadcastable to the images; overwritten.
        amplitude: Amplitude in [0, 1] units, (batch,).
        released: Whether to truncate uint8 results instead of rounding them.
    """
    change = pattern.mul_(per_image(amplitude * full_scale(images)))
    return from_float(to_float(images).add_(change), images.dtype, truncate=released)


def blend_pattern(images: Tensor, pattern: Tensor, alpha: Tensor, *, released: bool) -> Tensor:
    """(1 − alpha) · image + alpha · pattern.

    Args:
        pattern: float32 in [0, 1] units, broadcastable to the images; overwritten.
        alpha: Weight of the pattern, (batch,).
        released: Whether to truncate uint8 results instead of rounding them.
    """
    change = pattern.mul_(per_image(alpha * full_scale(images)))
    values = to_float(images).mul_(per_image(1 - alpha)).add_(change)
    return from_float(values, images.dtype, truncate=released)


def move_to_white(images: Tensor, share: Tensor, *, released: bool) -> Tensor:
    """Interpolate between the images and white.

    Args:
        share: Weight of white, float32 in [0, 1], broadcastable to the images.
        released: Whether to truncate uint8 results instead of rounding them.
    """
    values = to_float(images)
    # Added to the value, not subtracted from white, so that the sum is never below the value
    # and truncation does not darken where the share is close to 0.
    values.add_(values.neg().add_(full_scale(images)).mul_(share))
    return from_float(values, images.dtype, truncate=released)
