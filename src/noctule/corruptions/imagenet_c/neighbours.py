"""Sums and comparisons of a pixel with its eight neighbours, for batches of planes.

A frame of one pixel makes every neighbour a view. Masks are whole numbers, 0 and 1, of the
planes' own type, because comparisons that give booleans take ten times as long on the CPU.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Frame = Literal["zero", "repeat", "mirror"]


def framed(planes: Tensor, frame: Frame) -> Tensor:
    """The planes (batch, height, width) with a pixel more on every side.

    Args:
        planes: Of any type.
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
    """What lies so far from each pixel, −1 to 1: a view of a framed plane."""
    height, width = frame.shape[1] - 2, frame.shape[2] - 2
    return frame[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def sum_of_nine(planes: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The sum over each pixel and its neighbours, mirrored about the edge pixels.

    Args:
        planes: Of a type that holds the sum of three.
        dtype: Of the sum of nine, if it is not theirs.
    """
    frame = framed(planes, "mirror")
    rows = frame[:, :-2] + frame[:, 1:-1]
    rows = rows.add_(frame[:, 2:]).to(dtype or planes.dtype)
    result = rows[:, :, :-2] + rows[:, :, 1:-1]
    return result.add_(rows[:, :, 2:])
