"""Geometry: translation, shear, rotation, elastic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noctule.corruptions.draws import Choice, Integer
from noctule.corruptions.noc.resampling import resize_rows
from noctule.corruptions.pixels import coordinates, from_float, scale_px, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Laugros et al. 2020"
_ONE = 1 << 16  # fixed point with 16 fractional bits, as Pillow's affine transform has it


@corruption(
    family="geometry",
    source=f"{SOURCE}, released code: translation",
    draws={"dx_px": Integer(15, 62, signed=True), "dy_px": Integer(15, 62, signed=True)},
)
def translation(images: Images, *, dx_px: PerImage, dy_px: PerImage) -> Images:
    """Shift each image by whole pixels along both axes; black fill.

    Args:
        dx_px: Shift to the right at 224 px, scaled with the shorter side.
        dy_px: Shift downwards at 224 px, scaled with the shorter side.
    """
    rows, _ = coordinates(images)
    source_row = rows.flatten() - scale_px(dy_px, images)[:, None]
    return _shift_rows(
        images, source_row, -scale_px(dx_px, images)[:, None].expand_as(source_row)
    )


@corruption(
    family="geometry",
    source=f"{SOURCE}, CC_Transform: shear",
    draws={"angle_deg": Integer(12, 39, signed=True)},
)
def shear(images: Images, *, angle_deg: PerImage) -> Images:
    """Shear each image along x about its centre; nearest neighbour, black fill.

    Sampling is that of current Pillow versions; torchvision 0.6, which the authors used, placed
    the centre half a pixel off.

    Args:
        angle_deg: Shear angle in degrees; a positive angle moves the upper rows to the right.
    """
    slope = torch.deg2rad(angle_deg.to(torch.float64)).tan()
    rows = coordinates(images)[0].flatten().expand(len(images), -1)
    start = _fixed(0.5 + 0.5 * slope - slope * images.shape[2] / 2)
    shift = (start[:, None] + _fixed(slope)[:, None] * rows) >> 16
    return _shift_rows(images, rows, shift)


def _fixed(value: Tensor) -> Tensor:
    """Pillow's conversion to fixed point: int64."""
    return (value * _ONE + 0.5).floor().to(torch.int64)


def _shift_rows(images: Tensor, source_row: Tensor, shift: Tensor) -> Tensor:
    """Fill each row from another row of the same image, offset by a shift; black outside.

    Args:
        images: (batch, channels, height, width), of any dtype.
        source_row: Index of the row to read, int64 (batch, height).
        shift: Column at which to start reading, int64 (batch, height).
    """
    batch, channels, height, width = images.shape
    margin = min(width, int(shift.abs().max()))
    shift = shift.clamp(-margin, margin)
    pitch = width + 2 * margin
    # One more row of zeros, from which rows outside the image are read.
    padded = F.pad(images.flatten(0, 2), (margin, margin, 0, 1)).flatten()
    plane = torch.arange(batch * channels, device=images.device).view(batch, channels, 1)
    row = (plane * height + source_row[:, None]) * pitch + margin + shift[:, None]
    inside = ((source_row >= 0) & (source_row < height))[:, None]
    zeros_at = batch * channels * height * pitch
    start = torch.where(inside, row, zeros_at).flatten()
    return padded.unfold(0, width, 1).index_select(0, start).view_as(images)


@corruption(
    family="geometry",
    source=f"{SOURCE}, released code: rotation",
    draws={"angle_deg": Integer(7, 50, signed=True)},
    bytes_per_value=6,
)
def rotation(images: Images, *, angle_deg: PerImage) -> Images:
    """Rotate each image about its centre; nearest neighbour, black fill; positive is clockwise.

    Sampling is that of current Pillow versions; torchvision 0.6, which the authors used, placed
    the centre half a pixel off.

    Args:
        angle_deg: Rotation angle in degrees.
    """
    height, width = images.shape[2:]
    angle = torch.deg2rad(angle_deg.to(torch.float64))[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    dx, dy = 0.5 - width / 2, 0.5 - height / 2
    x = _coordinate(images, cos, sin, cos * dx + sin * dy + width / 2)
    y = _coordinate(images, -sin, cos, -sin * dx + cos * dy + height / 2)
    return _sample(images, x, y)


def _coordinate(images: Tensor, per_column: Tensor, per_row: Tensor, origin: Tensor) -> Tensor:
    """One coordinate of the source of every pixel: int32 (batch, height, width)."""
    rows, columns = (numbers[0] for numbers in coordinates(images))
    along_rows = (_fixed(origin) + _fixed(per_row) * rows).to(torch.int32)
    along_columns = (_fixed(per_column) * columns).to(torch.int32)
    return (along_rows + along_columns).bitwise_right_shift_(16)


def _sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read each pixel from column x and row y, int32 (batch, height, width); black outside."""
    batch, channels, height, width = images.shape
    framed = F.pad(images, (1, 1, 1, 1))  # a black frame stands for everything outside
    index = y.clamp_(-1, height).add_(1).mul_(width + 2).add_(x.clamp_(-1, width)).add_(1)
    index = index.to(torch.int64).view(batch, 1, -1).expand(-1, channels, -1)
    return framed.view(batch, channels, -1).gather(2, index).view_as(images)


@corruption(
    family="geometry",
    source=f"{SOURCE}, released code: elastic",
    draws={"cut_px": Integer(44, 110), "side": Choice("top", "left")},
    bytes_per_value=6,
)
def elastic(images: Images, *, cut_px: PerImage, side: PerImage) -> Images:
    """Cut a strip off the top or the left, and stretch the rest to the full size.

    Despite its published name this is a one-sided stretch by 1.24 to 1.96, not a warp.
    Interpolation is Pillow's bilinear filter. Departure: values can differ by one grey level
    from Pillow's fixed-point arithmetic.

    Args:
        cut_px: Width of the strip at 224 px, scaled with the shorter side.
        side: 0 for the top, 1 for the left.
    """
    result = torch.empty_like(images)
    cut = scale_px(cut_px, images).clamp(max=min(images.shape[2:]) - 1)
    for number in (0, 1):
        chosen = (side == number).nonzero().flatten()
        if len(chosen):
            part = images.index_select(0, chosen)
            if number == 0:
                part = _stretch_rows(part, cut[chosen])
            else:
                part = _stretch_rows(part.transpose(2, 3), cut[chosen]).transpose(2, 3)
            result.index_copy_(0, chosen, part)
    return result


def _stretch_rows(images: Tensor, cut: Tensor) -> Tensor:
    full = torch.full_like(cut, images.shape[2])
    return from_float(resize_rows(to_float(images), cut, full - cut, full), images.dtype)
