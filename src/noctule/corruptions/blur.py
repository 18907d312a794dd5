"""Blur: blur, thumbnail_resize."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Uniform
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float, per_image, to_float
from noctule.corruptions.resampling import first_rows, resize_rows
from noctule.corruptions.spec import corruption

SOURCE = "Laugros et al. 2020"
PASSES_AT_224_PX = 5


@corruption(
    family="blur", source=f"{SOURCE}, published code: blur", draws={"weight": Uniform(0.4, 0.95)}
)
def blur(images: Tensor, *, weight: Tensor) -> Tensor:
    """Mix the image with its blur by five 3 × 3 box passes, zero-padded, so edges darken.

    The passes' total variance is 10/3 px² per axis at 224 px. At other sizes their number
    scales with the square of the shorter side, so that sigma scales with the side; at least
    one pass is made.

    Args:
        images: see `noctule.corrupt`.
        weight: share of the blurred image, (batch,).
    """
    share = per_image(weight)
    scale = min(images.shape[2:]) / REFERENCE_SIDE_PX
    smooth, spare = to_float(images), torch.empty(images.shape, device=images.device)
    for _ in range(max(1, round(PASSES_AT_224_PX * scale**2))):
        _add_neighbours(smooth, spare, dim=2)
        _add_neighbours(spare, smooth, dim=3)
        smooth.mul_(1 / 9)
    smooth.mul_(share)
    return from_float(smooth.add_(spare.copy_(images).mul_(1 - share)), images.dtype)


def _add_neighbours(values: Tensor, out: Tensor, dim: int) -> None:
    """out = values plus both neighbours along a dimension, zero outside."""
    last = values.shape[dim] - 1
    out.copy_(values)
    out.narrow(dim, 1, last).add_(values.narrow(dim, 0, last))
    out.narrow(dim, 0, last).add_(values.narrow(dim, 1, last))


@corruption(
    family="blur",
    source=f"{SOURCE}, published code: thumbnail_resize",
    draws={"factor": Uniform(1.1, 3.25)},
)
def thumbnail_resize(images: Tensor, *, factor: Tensor) -> Tensor:
    """Shrink with antialiased bilinear filtering, and stretch back to the old size.

    The filters are Pillow's; departure: Pillow rounds to 8 bits after each of its four passes,
    here only the result is rounded, so that values can differ by up to two levels.

    Args:
        images: see `noctule.corrupt`.
        factor: the small image has int(height / factor) × int(width / factor) pixels, (batch,).
    """
    values = to_float(images)
    for _ in range(2):  # once along rows, then transposed, along columns
        planes, size = values.shape[0] * values.shape[1], values.shape[2]
        full = torch.full((planes,), size, device=images.device)
        small = (size / factor).to(torch.int64).clamp(min=1).repeat_interleave(values.shape[1])
        shrunk = resize_rows(values.flatten(0, 2), first_rows(full), full, small)
        stretched = resize_rows(shrunk, first_rows(small), small, full)
        values = stretched.view(values.shape).transpose(2, 3).contiguous()
    return from_float(values, images.dtype)
