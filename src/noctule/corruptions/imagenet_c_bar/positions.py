"""Pixel coordinates for the corruptions of ImageNet-C-bar."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pixel_positions(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column indices: float64 (1, height, 1) and (1, 1, width)."""
    height, width = images.shape[2:]
    rows = torch.arange(height, dtype=torch.float64, device=images.device)
    columns = torch.arange(width, dtype=torch.float64, device=images.device)
    return rows.view(1, -1, 1), columns.view(1, 1, -1)


def per_plane(values: Tensor) -> Tensor:
    """Reshape (batch,) to float64 (batch, 1, 1)."""
    return values.to(torch.float64).view(-1, 1, 1)


def angle_from_down(down: Tensor, right: Tensor, distance: Tensor) -> Tensor:
    """The angle of an offset, atan2(right, down): 0 downwards and ½π to the right.

    The last bit of torch.atan2 and torch.pow may depend on the position of a value in a tensor,
    and so on the batch; that of torch.atan does not.

    Args:
        down, right: Offsets, of the same shape and dtype.
        distance: Root of the sum of their squares.
    """
    # By the half-angle formula, for the first quadrant: in [0, ½π].
    tangent = right.abs().div_(down.abs().add_(distance).add_(1e-30))
    acute = tangent.atan_().mul_(2)
    half_turn = math.pi / 2
    return acute.neg_().add_(half_turn).copysign_(down).neg_().add_(half_turn).copysign_(right)
