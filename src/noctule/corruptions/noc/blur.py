"""Blur: blur, thumbnail_resize."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Uniform
from noctule.corruptions.noc.resampling import first_rows, resize_rows
from noctule.corruptions.pixels import from_float, per_image, side_scale, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Laugros et al. 2020"
PASSES_AT_224_PX = 5


@corruption(
    family="blur",
    source=f"{SOURCE}, released code: blur",
    draws={"weight": Uniform(0.4, 0.95)},
    bytes_per_value=16,
)
def blur(images: Images, *, weight: PerImage) -> Images:
    """Mix the image with a blurred copy: five passes of a 3 × 3 box filter.

    The filter pads with zeros, so the edges darken. The total variance of the passes is
    10/3 px² per axis at 224 px. At other sizes the number of passes, at least one, scales with
    the square of the shorter side, so that the standard deviation scales with the side.

    Args:
        weight: Share of the blurred image.
    """
    share = per_image(weight)
    smooth = _box_passes(
        to_float(images), max(1, round(PASSES_AT_224_PX * side_scale(images) ** 2))
    )
    smooth = smooth.mul_(share)
    return from_float(smooth.add_(to_float(images).mul_(1 - share)), images.dtype)


def _box_passes(values: Tensor, passes: int) -> Tensor:
    """Repeat a 3 × 3 box filter with zero padding in every pass.

    Zero padding in every pass equals one odd reflection about the first pixel outside the
    image, which the filter preserves. So the planes are reflected once, stored end to end and
    filtered without regard to edges: values leak from row to row and from plane to plane by one
    pixel per pass, which stays within the reflection.
    """
    values = _reflect_oddly(_reflect_oddly(values, passes, dim=2), passes, dim=3)
    shape = values.shape
    flat, spare = values.flatten(), values.new_empty(values.numel())
    for step in (1, shape[3]):
        for _ in range(passes):
            width = len(flat) - 2 * step
            out = torch.add(flat[: -2 * step], flat[2 * step :], out=spare[:width])
            out.add_(flat[step:-step]).mul_(1 / 3)
            flat, spare = out, flat
    # Pixel (passes, passes) of a reflected plane is now its first.
    inner = (*shape[:2], shape[2] - 2 * passes, shape[3] - 2 * passes)
    plane = shape[2] * shape[3]
    return flat.as_strided(inner, (shape[1] * plane, plane, shape[3], 1)).contiguous()


def _reflect_oddly(values: Tensor, margin: int, dim: int) -> Tensor:
    """Extend by `margin` on both sides: a zero, then the mirrored pixels with opposite sign."""
    size = values.shape[dim]
    distance = torch.arange(-margin, size + margin, device=values.device) + 1
    turn = distance % (2 * size + 2)  # the reflected image repeats with this period
    source = torch.minimum(turn, 2 * size + 2 - turn) - 1
    sign = ((turn > 0) & (turn <= size)).to(values.dtype) - (turn > size + 1).to(values.dtype)
    sign_shape = [1] * values.dim()
    sign_shape[dim] = -1
    return values.index_select(dim, source.clamp(0, size - 1)).mul_(sign.view(sign_shape))


@corruption(
    family="blur",
    source=f"{SOURCE}, released code: thumbnail_resize",
    draws={"factor": Uniform(1.1, 3.25)},
    bytes_per_value=16,
)
def thumbnail_resize(images: Images, *, factor: PerImage) -> Images:
    """Shrink with antialiased bilinear filtering, then enlarge to the original size.

    The filters are Pillow's. Departure: Pillow rounds to 8 bits after each of its four passes;
    here only the result is rounded, so values can differ by up to two grey levels.

    Args:
        factor: Ratio of the sizes, at least 1: the small image has int(height / factor) ×
            int(width / factor) pixels.
    """
    values = _shrink_and_stretch(to_float(images.transpose(2, 3)), factor)
    return from_float(_shrink_and_stretch(values.transpose(2, 3), factor), images.dtype)


def _shrink_and_stretch(values: Tensor, factor: Tensor) -> Tensor:
    """Shrink and enlarge along the rows; float32 (batch, channels, height, width)."""
    channels, height = values.shape[1:3]
    small = (height / factor).to(torch.int64).clamp(min=1).repeat_interleave(channels)
    full = torch.full_like(small, height)
    rows = values.reshape(-1, values.shape[3])
    shrunk = resize_rows(rows, first_rows(full), full, small)
    return resize_rows(shrunk, first_rows(small), small, full).view(values.shape)
