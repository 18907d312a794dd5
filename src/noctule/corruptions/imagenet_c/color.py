"""ImageNet-C: brightness_c, contrast_c, saturate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.grouping import group_by_params, map_chunks
from noctule.corruptions.pixels import full_scale, to_float, to_int16_levels
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Truncation must not take a whole level from whole numbers that float32 misses by its last bit.
NUDGE = 1e-4
# Less is as good as 0: float32 must not overflow in dividing by it.
TINY = 1e-30
# Number of values that go through HSV at once, in float64, on a CPU and elsewhere.
HSV_CPU_VALUES_AT_ONCE, HSV_VALUES_AT_ONCE = 6 * 224**2, 1 << 24


@corruption(
    family="color",
    source=f"{SOURCE}: brightness",
    draws={"change": PerSeverity(0.1, 0.2, 0.3, 0.4, 0.5, highest=1.0)},
    published_name="brightness",
)
def brightness_c(images: Images, *, released: bool = False, change: PerImage) -> Images:
    """Add a constant to the value (largest channel), keeping hue and saturation.

    The other channels grow in proportion; black becomes gray; the value ends at white. Grey
    images take the constant.

    Args:
        images: See `noctule.corrupt`.
        released: Send uint8 images through HSV in float64 and truncate the result, as the
            released code does, rounding errors included. Otherwise results are rounded.
        change: In [0, 1] units.
    """
    if _is_released(images, released):

        def brightened(hsv: Hsv, added: float) -> Hsv:
            return hsv._replace(value=(hsv.value + added).clamp_(max=1))

        return _through_hsv(images, [change], brightened)
    white = full_scale(images)

    def brighten(few: Tensor, added: float) -> Tensor:
        value = _largest(few)
        black = _is_zero(value)
        # Black is made 1, so that its ratio is what it shall become.
        ratio = to_float(value).add_(white * added).clamp_(max=white)
        ratio.div_((value + black).to(torch.float32))
        values = (few + black).to(torch.float32).mul_(ratio)
        return to_int16_levels(values, few.dtype, in_range=True)

    return _by_setting_and_few(images, [change], brighten)


@corruption(
    family="color",
    source=f"{SOURCE}: contrast",
    draws={"factor": PerSeverity(0.4, 0.3, 0.2, 0.1, 0.05, highest=1.0)},
    published_name="contrast",
)
def contrast_c(images: Images, *, released: bool = False, factor: PerImage) -> Images:
    """Shrink the distance of all pixels from the mean of their channel.

    Args:
        images: See `noctule.corrupt`.
        released: Truncate uint8 results; else round them.
        factor: What is left of the distance.
    """
    nudge = NUDGE if _is_released(images, released) else 0.0

    def flatten(few: Tensor, share: float) -> Tensor:
        values = to_float(few)
        offset = _channel_means(values, exact=few.dtype == torch.uint8)
        offset.mul_(1 - share).add_(nudge)
        values.mul_(share).add_(offset)
        return to_int16_levels(values, few.dtype, in_range=True, truncate=released)

    return _by_setting_and_few(images, [factor], flatten)


def _channel_means(values: Tensor, *, exact: bool) -> Tensor:
    """Mean of each channel of each image: float32 (batch, channels, 1, 1).

    A floating-point sum would depend on the number of threads, so all sums are of whole
    numbers: exact in float32 along a row of bytes, and in float64 up to 2**53.
    """
    whole = values if exact else (values * 2**24).round_().to(torch.float64)
    total = whole.sum(dim=3, keepdim=True).sum(dim=2, keepdim=True, dtype=torch.float64)
    scale = values[0, 0].numel() * (1 if exact else 2**24)
    return (total / scale).to(torch.float32)


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

    The saturation ends at 1. Grays have hue 0, so that what is added makes them red.

    Args:
        images: See `noctule.corrupt`.
        released: Send uint8 images through HSV in float64 and truncate the result, as the
            released code does, rounding errors included. Otherwise results are rounded.
        factor: Of the saturation.
        added: To the saturation, in [0, 1] units.
    """
    if _is_released(images, released):

        def scaled(hsv: Hsv, factor: float, added: float) -> Hsv:
            return hsv._replace(saturation=(hsv.saturation * factor + added).clamp_(0, 1))

        return _through_hsv(images, [factor, added], scaled)

    def change(few: Tensor, factor: float, added: float) -> Tensor:
        value = _largest(few)
        below = value - few  # how far each channel is below the value
        ratio = _stretch(value, below, factor, added)
        values = below.to(torch.float32).mul_(ratio)
        torch.sub(to_float(value), values, out=values)
        return to_int16_levels(values, few.dtype, in_range=True)

    return _by_setting_and_few(images, (factor, added), change)


def _stretch(value: Tensor, below: Tensor, factor: float, added: float) -> Tensor:
    """What the distances below the value are multiplied by: float32 (batch, 1, height, width).

    S′ / S = S′ · V / spread, where S = spread / V, and at most V / spread.

    Args:
        below: Made red, and lower in the others by 1, where it is gray and something is added.
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
    """1 where values are 0 (or as good as), else 0, in their dtype."""
    if values.dtype == torch.uint8:
        return values.clamp(max=1).bitwise_xor_(1)  # a tenth of the cost of a comparison
    return (values < TINY).to(values.dtype)


def _by_setting_and_few(
    images: Tensor, parameters: Sequence[Tensor], change: Callable[..., Tensor]
) -> Tensor:
    """Apply `change(few, *values)` to a few images with the same parameters at a time."""

    def few_of(part: Tensor, *values: float) -> Tensor:
        return map_chunks(lambda few: change(few, *values), part)

    return group_by_params(images, parameters, few_of)


class Hsv(NamedTuple):
    """Hue in turns, saturation and value in [0, 1]: float64 (batch, height, width) each."""

    hue: Tensor
    saturation: Tensor
    value: Tensor


def _is_released(images: Tensor, released: bool) -> bool:
    """Whether results are to be truncated as the released code truncates them."""
    return released and images.dtype == torch.uint8


def _through_hsv(
    images: Tensor, parameters: Sequence[Tensor], change: Callable[..., Hsv]
) -> Tensor:
    """Apply `change(hsv, *values)` to uint8 images, in the released code's steps and precision.

    Each operation is one that the authors' program performs through scikit-image, in float64,
    so that the same values end just below a whole level and lose it.
    """

    def few_of(few: Tensor, *values: float) -> Tensor:
        pixels = few.to(torch.float64).div_(255)
        if few.shape[1] == 1:
            gray = torch.zeros_like(pixels[:, 0])
            result = change(Hsv(gray, gray, pixels[:, 0]), *values).value[:, None]
        else:
            result = _to_rgb(change(_to_hsv(pixels), *values))
        return result.mul_(255).to(torch.uint8)

    def parts_of(part: Tensor, *values: float) -> Tensor:
        on_cpu = part.device.type == "cpu"
        most = HSV_CPU_VALUES_AT_ONCE if on_cpu else HSV_VALUES_AT_ONCE
        at_once = max(1, most // part[:1].numel())
        return torch.cat([few_of(few, *values) for few in torch.split(part, at_once)])

    return group_by_params(images, parameters, parts_of)


def _to_hsv(rgb: Tensor) -> Hsv:
    """As scikit-image's `rgb2hsv`, to the bit; float64 (batch, 3, height, width)."""
    red, green, blue = rgb.unbind(dim=1)
    value = rgb.amax(dim=1)
    spread = value - rgb.amin(dim=1)
    gray = spread == 0
    divisor = spread.masked_fill(gray, 1)
    # Of equal channels the last decides on the hue.
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
    """As scikit-image's `hsv2rgb`, to the bit: float64 (batch, 3, height, width)."""
    angle = hsv.hue * 6
    sector = angle.floor()
    rest = angle.sub_(sector)
    high = hsv.value
    low = high * (1 - hsv.saturation)
    falling = high * (1 - rest * hsv.saturation)
    rising = high * (1 - (1 - rest) * hsv.saturation)
    levels = torch.stack([high, rising, low, falling], dim=1)
    # Which of these red, green and blue are in the six sectors.
    order = ((0, 3, 2, 2, 1, 0), (1, 0, 0, 3, 2, 2), (2, 2, 1, 0, 0, 3))
    channels = torch.tensor(order, device=sector.device)
    index = channels[:, sector.to(torch.int64) % 6].transpose(0, 1)
    return levels.gather(1, index)
