"""Sums and comparisons of a pixel with its eight neighbours, for batches of planes.

With a frame of one pixel, all neighbours are views.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Frame = Literal["zero", "repeat", "mirror"]


def framed(planes: Tensor, frame: Frame) -> Tensor:
    """Pad planes by one pixel on every side.

    Args:
        planes: (batch, height, width), of any dtype.
        frame: "zero", "repeat" the edge pixel, or "mirror" about it (c b | a b c).
    """
    batch, height, width = planes.shape
    result = planes.new_empty(batch, height + 2, width + 2)
    result[:, 1:-1, 1:-1] = planes
    inner = 1 if frame == "repeat" else 2
    for side in (result, result.mT):
        first, last = (0, 0) if frame == "zero" else (side[:, inner], side[:, -1 - inner])
        side[:, 0], side[:, -1] = first, last
    return result


def neighbour(frame: Tensor, down: int, right: int) -> Tensor:
    """The neighbours at an offset of −1 to 1 from each pixel: a view of a framed plane."""
    height, width = frame.shape[1] - 2, frame.shape[2] - 2
    return frame[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def sum_of_nine(planes: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The sum of each pixel and its eight neighbours, mirrored about the edge pixels.

    Args:
        planes: (batch, height, width), of a dtype that holds the sum of three.
        dtype: dtype of the result; by default that of the planes.
    """
    frame = framed(planes, "mirror")
    rows = frame[:, :-2] + frame[:, 1:-1]
    rows = rows.add_(frame[:, 2:]).to(dtype or planes.dtype)
    result = rows[:, :, :-2] + rows[:, :, 1:-1]
    return result.add_(rows[:, :, 2:])
