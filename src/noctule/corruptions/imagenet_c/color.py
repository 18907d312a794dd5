"""ImageNet-C: brightness_c, contrast_c, saturate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.pixels import exact_mean, from_float, full_scale, per_image, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Added before truncation, so that integers that float32 misses by its last bit keep their
# level.
NUDGE = 1e-4
# Smaller values count as 0, because dividing by them would overflow float32.
TINY = 1e-30


@corruption(
    family="color",
    source=f"{SOURCE}: brightness",
    draws={"change": PerSeverity(0.1, 0.2, 0.3, 0.4, 0.5, highest=1.0)},
    published_name="brightness",
    bytes_per_value=60,
)
def brightness_c(images: Images, *, released: bool = False, change: PerImage) -> Images:
    """Add a constant to the value (largest channel), keeping hue and saturation.

    The other channels grow in proportion, and the value is clamped to white. Black becomes
    grey. The constant is simply added to images with one channel.

    Args:
        released: Convert uint8 images to HSV in float64 and truncate the result, as the
            released code does, rounding errors included. Otherwise results are rounded.
        change: Constant to add, in [0, 1] units.
    """
    if _is_released(images, released):

        def brightened(hsv: Hsv) -> Hsv:
            return hsv._replace(value=(hsv.value + _per_pixel(change)).clamp_(max=1))

        return _through_hsv(images, brightened)
    white = full_scale(images)
    value = _largest(images)
    black = _is_zero(value)
    # Black is replaced by 1, so that the ratio is the new value.
    ratio = to_float(value).add_(per_image(white * change)).clamp_(max=white)
    ratio.div_((value + black).to(torch.float32))
    return from_float((images + black).to(torch.float32).mul_(ratio), images.dtype)


@corruption(
    family="color",
    source=f"{SOURCE}: contrast",
    draws={"factor": PerSeverity(0.4, 0.3, 0.2, 0.1, 0.05, highest=1.0)},
    published_name="contrast",
    bytes_per_value=13,
)
def contrast_c(images: Images, *, released: bool = False, factor: PerImage) -> Images:
    """Scale the distance of all pixels from the mean of their channel.

    Args:
        released: Truncate uint8 results instead of rounding them.
        factor: Factor of the distance, in [0, 1].
    """
    truncate = _is_released(images, released)
    values = to_float(images)
    offset = exact_mean(values, (2,), integers=images.dtype == torch.uint8)
    offset.mul_(per_image(1 - factor)).add_(NUDGE if truncate else 0)
    values.mul_(per_image(factor)).add_(offset)
    return from_float(values, images.dtype, truncate=truncate)


@corruption(
    family="color",
    source=f"{SOURCE}: saturate",
    draws={
        "factor": PerSeverity(0.3, 0.1, 2.0, 5.0, 20.0),
        "added": PerSeverity(0.0, 0.0, 0.0, 0.1, 0.2, highest=1.0),
    },
    channels=3,
    bytes_per_value=60,
)
def saturate(
    images: Images, *, released: bool = False, factor: PerImage, added: PerImage
) -> Images:
    """Multiply the saturation and add to it, keeping hue and value. Needs 3 channels.

    The saturation is clamped to 1. Greys have the hue 0, so that adding saturation makes them
    red.

    Args:
        released: Convert uint8 images to HSV in float64 and truncate the result, as the
            released code does, rounding errors included. Otherwise results are rounded.
        factor: Factor of the saturation.
        added: Constant to add to the saturation, in [0, 1] units.
    """
    if _is_released(images, released):

        def scaled(hsv: Hsv) -> Hsv:
            saturation = hsv.saturation * _per_pixel(factor) + _per_pixel(added)
            return hsv._replace(saturation=saturation.clamp_(0, 1))

        return _through_hsv(images, scaled)
    value = _largest(images)
    below = value - images  # distance of each channel below the value
    # The factor of the distances is S′ / S = S′ · V / spread, since S = spread / V, and at most
    # V / spread.
    spread = _largest(below)
    gray = _is_zero(spread)
    most = to_float(value).div_(spread + gray)
    gray = gray * per_image(added != 0, images.dtype)
    below[:, 1:] += gray  # if saturation is added, green and blue become 0 in greys
    ratio = (1 - gray).to(torch.float32).mul_(per_image(factor)) + most * per_image(added)
    values = below.to(torch.float32).mul_(torch.minimum(ratio, most))
    return from_float(to_float(value).sub(values), images.dtype)


def _largest(images: Tensor) -> Tensor:
    """The largest channel: (batch, 1, height, width)."""
    return images.amax(dim=1, keepdim=True)


def _is_zero(values: Tensor) -> Tensor:
    """1 where values are 0 or negligible, otherwise 0; in their dtype."""
    return (values < TINY).to(values.dtype)


class Hsv(NamedTuple):
    """Hue in turns, saturation and value in [0, 1]: float64 (batch, height, width) each."""

    hue: Tensor
    saturation: Tensor
    value: Tensor


def _is_released(images: Tensor, released: bool) -> bool:
    """Whether results are truncated as in the released code."""
    return released and images.dtype == torch.uint8


def _per_pixel(values: Tensor) -> Tensor:
    """Reshape (batch,) to (batch, 1, 1)."""
    return values[:, None, None]


def _through_hsv(images: Tensor, change: Callable[[Hsv], Hsv]) -> Tensor:
    """Apply a change to uint8 images in the released code's steps and precision.

    Each operation is performed by the authors' code through scikit-image, in float64, so that
    the same values end slightly below a grey level and are truncated to the one below.
    """
    pixels = images.to(torch.float64).div_(255)
    if images.shape[1] == 1:
        gray = torch.zeros_like(pixels[:, 0])
        result = change(Hsv(gray, gray, pixels[:, 0])).value[:, None]
    else:
        result = _to_rgb(change(_to_hsv(pixels)))
    return result.mul_(255).to(torch.uint8)


def _to_hsv(rgb: Tensor) -> Hsv:
    """Bit-identical to scikit-image's `rgb2hsv`; float64 (batch, 3, height, width)."""
    red, green, blue = rgb.unbind(dim=1)
    value = rgb.amax(dim=1)
    spread = value - rgb.amin(dim=1)
    gray = spread == 0
    divisor = spread.masked_fill(gray, 1)
    # The last of equal channels determines the hue.
    sixths = torch.where(
        blue == value,
        (red - green).div_(divisor).add_(4),
        torch.where(
            green == value,
            (blue - red).div_(divisor).add_(2),
            (green - blue).div_(divisor),
        ),
    )
    hue = sixths.div_(6)
    hue.add_((hue < 0).to(torch.float64)).masked_fill_(gray, 0)
    return Hsv(hue, spread / value.masked_fill(gray, 1), value)


def _to_rgb(hsv: Hsv) -> Tensor:
    """Bit-identical to scikit-image's `hsv2rgb`: float64 (batch, 3, height, width)."""
    angle = hsv.hue * 6
    sector = angle.floor()
    rest = angle.sub_(sector)
    high = hsv.value
    low = high * (1 - hsv.saturation)
    falling = high * (1 - rest * hsv.saturation)
    rising = high * (1 - (1 - rest) * hsv.saturation)
    levels = torch.stack([high, rising, low, falling], dim=1)
    # Index into these of red, green and blue in the six sectors.
    order = ((0, 3, 2, 2, 1, 0), (1, 0, 0, 3, 2, 2), (2, 2, 1, 0, 0, 3))
    channels = torch.tensor(order, device=sector.device)
    index = channels[:, sector.to(torch.int64) % 6].transpose(0, 1)
    return levels.gather(1, index)
