"""Colour: backlight, brightness, contrast, color_distortion, gray_scale, hue."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Choice, Integer, Uniform
from noctule.corruptions.noc.hsv import hsv_to_rgb, rgb_to_hsv
from noctule.corruptions.pixels import (
    add_clamped,
    coordinates,
    divisor,
    exact_mean,
    from_float,
    per_image,
    side_scale,
    to_float,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Laugros et al. 2020"


@corruption(
    family="color",
    source=f"{SOURCE}, released code: backlight",
    draws={
        "change": Uniform(0.11, 0.44, signed=True),
        "split_px": Integer(-45, 44, graded=False),
        "axis": Choice("rows", "columns"),
    },
)
def backlight(
    images: Images, *, change: PerImage, split_px: PerImage, axis: PerImage
) -> Images:
    """Brighten one side of a straight line and darken the other by the same amount.

    Args:
        change: Change on the side before the line, in [0, 1] units; the other side changes by
            −change.
        split_px: Distance of the line from the middle at 224 px, scaled with the shorter side.
        axis: 0 splits the rows, 1 the columns.
    """
    rows, columns = coordinates(images)
    height, width = images.shape[2:]
    offset = (split_px.to(torch.float32) * side_scale(images)).round().view(-1, 1, 1, 1)
    by_column = axis.view(-1, 1, 1, 1).bool()
    before = torch.where(by_column, columns < width // 2 + offset, rows < height // 2 + offset)
    change = per_image(change, torch.float64)
    return add_clamped(images, torch.where(before, change, -change))


@corruption(
    family="color",
    source=f"{SOURCE}, released code: brightness",
    draws={"change": Uniform(0.16, 0.51, signed=True)},
)
def brightness(images: Images, *, change: PerImage) -> Images:
    """Add a constant to all pixels, and clamp.

    Args:
        change: Constant to add, in [0, 1] units.
    """
    return add_clamped(images, per_image(change, torch.float64))


@corruption(
    family="color",
    source=f"{SOURCE}, released code: contrast",
    draws={"weight": Uniform(0.33, 0.74)},
    bytes_per_value=16,
)
def contrast(images: Images, *, weight: PerImage) -> Images:
    """Mix the image with its mean over all pixels and channels.

    Args:
        weight: Weight of the mean, in [0, 1].
    """
    share = per_image(weight)
    values = to_float(images)
    mean = exact_mean(values, (1, 2), integers=images.dtype == torch.uint8)
    return from_float(values.mul_(1 - share).add_(share * mean), images.dtype, in_range=True)


@corruption(
    family="color",
    source=f"{SOURCE}, released code: color_disortion",
    draws={"change": Uniform(0.09, 0.40), "channel": Choice("red", "green", "blue")},
    channels=3,
    aliases=("color_disortion",),
)
def color_distortion(images: Images, *, change: PerImage, channel: PerImage) -> Images:
    """Brighten one channel, and clamp. Published as `color_disortion`. Needs 3 channels.

    Args:
        change: Constant to add to the channel, in [0, 1] units.
        channel: 0 for red, 1 for green, 2 for blue.
    """
    chosen = torch.arange(3, device=images.device) == channel[:, None]
    return add_clamped(images, (change[:, None] * chosen)[:, :, None, None])


@corruption(
    family="color",
    source=f"{SOURCE}, released code: gray_scale",
    draws={"weight": Uniform(0.49, 1.0)},
    channels=3,
    bytes_per_value=16,
)
def gray_scale(images: Images, *, weight: PerImage) -> Images:
    """Mix the image with its luma (ITU-R BT.601, Pillow's integer form). Needs 3 channels.

    The luma of uint8 images is rounded to 8 bits, as in the released code. Departure: the luma
    of float32 images is not rounded, where the released code truncates it to 8 bits.

    Args:
        weight: Weight of the luma, in [0, 1].
    """
    share = per_image(weight)
    values = to_float(images).mul_(1 - share)
    return from_float(values.add_(_luma(images) * share), images.dtype)


def _luma(images: Tensor) -> Tensor:
    """The luma: float32 (batch, 1, height, width), in the units of the images."""
    wide = images.to(torch.int32) if images.dtype == torch.uint8 else images
    red, green, blue = wide.unbind(1)
    luma = (red * 19595 + green * 38470 + blue * 7471).unsqueeze(1)
    if images.dtype == torch.uint8:
        return luma.add_(1 << 15).bitwise_right_shift_(16).to(torch.float32)
    return luma.mul_(2.0**-16)


@corruption(
    family="color",
    source=f"{SOURCE}, released code: hue",
    draws={"turn": Uniform(0.05, 0.5, signed=True)},
    channels=3,
    bytes_per_value=32,
)
def hue(images: Images, *, turn: PerImage) -> Images:
    """Rotate the hue in Pillow's 8-bit HSV; greys do not change. Needs 3 channels.

    As in the released code, the conversion to 8-bit HSV and back alone changes 70 % of the
    pixels, by at most 4 grey levels. Departure: float32 images are first rounded to 8 bits,
    where the released code truncates them.

    Args:
        turn: Rotation in turns of the colour circle.
    """
    eight_bit = (
        images if images.dtype == torch.uint8 else (images * 255).round_().to(torch.uint8)
    )
    hue_, saturation, value = rgb_to_hsv(eight_bit)
    step = (turn * 255).to(torch.int64) % 256  # truncates towards zero first, as released
    turned = hsv_to_rgb(hue_.add_(step.to(torch.uint8).view(-1, 1, 1)), saturation, value)
    return turned if images.dtype == torch.uint8 else turned / divisor(255, images)
