"""ImageNet-C: brightness_c, contrast_c, saturate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.grouping import group_by_params, map_chunks
from noctule.corruptions.pixels import exact_mean, full_scale, to_float, to_int16_levels
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Added before truncation, so that integers that float32 misses by its last bit keep their
# level.
NUDGE = 1e-4
# Smaller values count as 0, because dividing by them would overflow float32.
TINY = 1e-30
# Number of values in a chunk that is converted to HSV, in float64, on a CPU and elsewhere.
HSV_CPU_VALUES_AT_ONCE, HSV_VALUES_AT_ONCE = 6 * 224**2, 1 << 24


@corruption(
    family="color",
    source=f"{SOURCE}: brightness",
    draws={"change": PerSeverity(0.1, 0.2, 0.3, 0.4, 0.5, highest=1.0)},
    published_name="brightness",
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

        def brightened(hsv: Hsv, added: float) -> Hsv:
            return hsv._replace(value=(hsv.value + added).clamp_(max=1))

        return _through_hsv(images, [change], brightened)
    white = full_scale(images)

    def brighten(chunk: Tensor, added: float) -> Tensor:
        value = _largest(chunk)
        black = _is_zero(value)
        # Black is replaced by 1, so that the ratio is the new value.
        ratio = to_float(value).add_(white * added).clamp_(max=white)
        ratio.div_((value + black).to(torch.float32))
        values = (chunk + black).to(torch.float32).mul_(ratio)
        return to_int16_levels(values, chunk.dtype, in_range=True)

    return _map_groups(images, [change], brighten)


@corruption(
    family="color",
    source=f"{SOURCE}: contrast",
    draws={"factor": PerSeverity(0.4, 0.3, 0.2, 0.1, 0.05, highest=1.0)},
    published_name="contrast",
)
def contrast_c(images: Images, *, released: bool = False, factor: PerImage) -> Images:
    """Scale the distance of all pixels from the mean of their channel.

    Args:
        released: Truncate uint8 results instead of rounding them.
        factor: Factor of the distance, in [0, 1].
    """
    nudge = NUDGE if _is_released(images, released) else 0.0

    def flatten(chunk: Tensor, share: float) -> Tensor:
        values = to_float(chunk)
        offset = exact_mean(values, (2,), integers=chunk.dtype == torch.uint8)
        offset.mul_(1 - share).add_(nudge)
        values.mul_(share).add_(offset)
        return to_int16_levels(values, chunk.dtype, in_range=True, truncate=released)

    return _map_groups(images, [factor], flatten)


@corruption(
    family="color",
    source=f"{SOURCE}: saturate",
    draws={
        "factor": PerSeverity(0.3, 0.1, 2.0, 5.0, 20.0),
        "added": PerSeverity(0.0, 0.0, 0.0, 0.1, 0.2, highest=1.0),
    },
    channels=3,
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

        def scaled(hsv: Hsv, factor: float, added: float) -> Hsv:
            return hsv._replace(saturation=(hsv.saturation * factor + added).clamp_(0, 1))

        return _through_hsv(images, [factor, added], scaled)

    def change(chunk: Tensor, factor: float, added: float) -> Tensor:
        value = _largest(chunk)
        below = value - chunk  # distance of each channel below the value
        ratio = _stretch(value, below, factor, added)
        values = below.to(torch.float32).mul_(ratio)
        torch.sub(to_float(value), values, out=values)
        return to_int16_levels(values, chunk.dtype, in_range=True)

    return _map_groups(images, (factor, added), change)


def _stretch(value: Tensor, below: Tensor, factor: float, added: float) -> Tensor:
    """The factor of the distances below the value: float32 (batch, 1, height, width).

    S′ / S = S′ · V / spread, where S = spread / V, and at most V / spread.

    Args:
        value: Largest channel, (batch, 1, height, width).
        below: Distance of each channel below the value, (batch, 3, height, width). Where it is
            grey and saturation is added, green and blue are overwritten by 1.
        factor: Factor of the saturation.
        added: Constant to add to the saturation.
    """
    spread = _largest(below)
    gray = _is_zero(spread)
    spread.add_(gray)
    most = to_float(value).div_(spread)
    if added == 0:
        return most.clamp_(max=factor)
    below[:, 1:].add_(gray)
    ratio = (1 - gray).to(torch.float32).mul_(factor)
    return ratio.add_(most * added).clamp_(max=most)


def _largest(images: Tensor) -> Tensor:
    """The largest channel: (batch, 1, height, width)."""
    return images.amax(dim=1, keepdim=True)


def _is_zero(values: Tensor) -> Tensor:
    """1 where values are 0 or negligible, otherwise 0; in their dtype."""
    if values.dtype == torch.uint8:
        return values.clamp(max=1).bitwise_xor_(1)  # a tenth of the time of a comparison
    return (values < TINY).to(values.dtype)


def _map_groups(
    images: Tensor, parameters: Sequence[Tensor], change: Callable[..., Tensor]
) -> Tensor:
    """Apply `change(chunk, *values)` to chunks of images with equal parameters."""

    def map_group(part: Tensor, *values: float) -> Tensor:
        return map_chunks(lambda chunk: change(chunk, *values), part)

    return group_by_params(images, parameters, map_group)


class Hsv(NamedTuple):
    """Hue in turns, saturation and value in [0, 1]: float64 (batch, height, width) each."""

    hue: Tensor
    saturation: Tensor
    value: Tensor


def _is_released(images: Tensor, released: bool) -> bool:
    """Whether results are truncated as in the released code."""
    return released and images.dtype == torch.uint8


def _through_hsv(
    images: Tensor, parameters: Sequence[Tensor], change: Callable[..., Hsv]
) -> Tensor:
    """Apply `change(hsv, *values)` to uint8 images, in the released code's steps and precision.

    Each operation is performed by the authors' code through scikit-image, in float64, so that
    the same values end slightly below a grey level and are truncated to the one below.
    """

    def convert(chunk: Tensor, *values: float) -> Tensor:
        pixels = chunk.to(torch.float64).div_(255)
        if chunk.shape[1] == 1:
            gray = torch.zeros_like(pixels[:, 0])
            result = change(Hsv(gray, gray, pixels[:, 0]), *values).value[:, None]
        else:
            result = _to_rgb(change(_to_hsv(pixels), *values))
        return result.mul_(255).to(torch.uint8)

    def convert_group(part: Tensor, *values: float) -> Tensor:
        on_cpu = part.device.type == "cpu"
        most = HSV_CPU_VALUES_AT_ONCE if on_cpu else HSV_VALUES_AT_ONCE
        at_once = max(1, most // part[:1].numel())
        return torch.cat([convert(chunk, *values) for chunk in torch.split(part, at_once)])

    return group_by_params(images, parameters, convert_group)


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
