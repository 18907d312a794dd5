"""ImageNet-C: brightness_c, contrast_c, saturate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from noctule.corruptions.draws import PerLevel
from noctule.corruptions.grouping import by_setting, few_at_a_time
from noctule.corruptions.pixels import full_scale, in_levels, to_float
from noctule.corruptions.registry import corruption

SOURCE = "Hendrycks & Dietterich 2019, ImageNet-C"

# Truncation must not take a whole level from whole numbers that float32 misses by its last bit.
NUDGE = 1e-4
# Less is as good as 0: float32 must not overflow in dividing by it.
TINY = 1e-30


@corruption(
    family="color",
    source=f"{SOURCE}: brightness",
    draws={"change": PerLevel(0.1, 0.2, 0.3, 0.4, 0.5, highest=1.0)},
    published_name="brightness",
)
def brightness_c(images: Tensor, *, published: bool = False, change: Tensor) -> Tensor:
    """Add a constant to the value (largest channel), keeping hue and saturation.

    The other channels grow in proportion; black becomes gray; the value ends at white. Grey
    images take the constant.

    Args:
        images: see `noctule.corrupt`.
        published: truncate uint8 results; else round them. The released code truncates after a
            float64 round trip through HSV, whose rounding takes a level from up to 3 % of the
            values more; that is not imitated.
        change: in [0, 1] units, (batch,).
    """
    white, nudge = full_scale(images), _nudge(images, published)

    def brighten(few: Tensor, added: float) -> Tensor:
        value = _largest(few)
        black = _is_zero(value)
        # Black is made 1, so that its ratio is what it shall become.
        ratio = to_float(value).add_(white * added + nudge).clamp_(max=white + nudge)
        ratio.div_((value + black).to(torch.float32))
        values = (few + black).to(torch.float32).mul_(ratio)
        return _rounded(values, few, published)

    return _by_setting_and_few(images, [change], brighten)


@corruption(
    family="color",
    source=f"{SOURCE}: contrast",
    draws={"factor": PerLevel(0.4, 0.3, 0.2, 0.1, 0.05, highest=1.0)},
    published_name="contrast",
)
def contrast_c(images: Tensor, *, published: bool = False, factor: Tensor) -> Tensor:
    """Shrink the distance of all pixels from the mean of their channel.

    Args:
        images: see `noctule.corrupt`.
        published: truncate uint8 results; else round them.
        factor: what is left of the distance, (batch,).
    """
    nudge = _nudge(images, published)

    def flatten(few: Tensor, share: float) -> Tensor:
        values = to_float(few)
        offset = _channel_means(values, exact=few.dtype == torch.uint8)
        offset.mul_(1 - share).add_(nudge)
        return _rounded(values.mul_(share).add_(offset), few, published)

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
        "factor": PerLevel(0.3, 0.1, 2.0, 5.0, 20.0),
        "added": PerLevel(0.0, 0.0, 0.0, 0.1, 0.2, highest=1.0),
    },
    channels=3,
)
def saturate(
    images: Tensor, *, published: bool = False, factor: Tensor, added: Tensor
) -> Tensor:
    """Multiply the saturation and add to it, keeping hue and value. Needs 3 channels.

    The saturation ends at 1. Grays have hue 0, so that what is added makes them red.

    Args:
        images: see `noctule.corrupt`.
        published: truncate uint8 results; else round them. The released code truncates after a
            float64 round trip through HSV, whose rounding takes a level from up to 7 % of the
            values more; that is not imitated.
        factor: of the saturation, (batch,).
        added: to the saturation, in [0, 1] units, (batch,).
    """
    nudge = _nudge(images, published)

    def change(few: Tensor, factor: float, added: float) -> Tensor:
        value = _largest(few)
        below = value - few  # how far each channel is below the value
        ratio = _stretch(value, below, factor, added)
        values = below.to(torch.float32).mul_(ratio)
        bright = to_float(value).add_(nudge)
        return _rounded(torch.sub(bright, values, out=values), few, published)

    return _by_setting_and_few(images, (factor, added), change)


def _stretch(value: Tensor, below: Tensor, factor: float, added: float) -> Tensor:
    """What the distances below the value are multiplied by: float32 (batch, 1, height, width).

    S′ / S = S′ · V / spread, where S = spread / V, and at most V / spread.

    Args:
        below: made red, and lower in the others by 1, where it is gray and something is added.
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
        return few_at_a_time(lambda few: change(few, *values), part)

    return by_setting(images, parameters, few_of)


def _nudge(images: Tensor, published: bool) -> float:
    """What results need before `_rounded`; cheaper to add where there are fewer numbers."""
    return NUDGE if published and images.dtype == torch.uint8 else 0.0


def _rounded(values: Tensor, images: Tensor, published: bool) -> Tensor:
    """Values between black and white, in the images' units; for `few_at_a_time`."""
    return in_levels(values, images.dtype, in_range=True, truncate=published)
