"""Pixel coordinates for the corruptions of ImageNet-C-bar."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.loops.elementary import angle_in_quadrant, angle_in_quadrant32


def pixel_positions(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column indices: float64 (1, height, 1) and (1, 1, width)."""
    height, width = images.shape[2:]
    rows = torch.arange(height, dtype=torch.float64, device=images.device)
    columns = torch.arange(width, dtype=torch.float64, device=images.device)
    return rows.view(1, -1, 1), columns.view(1, 1, -1)


def per_plane(values: Tensor) -> Tensor:
    """Reshape (batch,) to float64 (batch, 1, 1)."""
    return values.to(torch.float64).view(-1, 1, 1)


def exact_sqrt(values: Tensor) -> Tensor:
    """The square root, correctly rounded, which torch's is not on every CPU: float32."""
    return values.to(torch.float64).sqrt_().to(torch.float32)


def angle_from_down(down: Tensor, right: Tensor, distance: Tensor) -> Tensor:
    """The angle of an offset in turns, from −½ to ½: 0 downwards and ¼ to the right.

    Args:
        down, right: Offsets, of the same dtype, float64 or float32.
        distance: Root of the sum of their squares.
    """
    in_quadrant = angle_in_quadrant if distance.dtype == torch.float64 else angle_in_quadrant32
    angle: Tensor = in_quadrant(down.abs(), right.abs(), distance)
    angle = torch.where(down < 0, -angle + 0.5, angle)
    return torch.where(right < 0, -angle, angle)
