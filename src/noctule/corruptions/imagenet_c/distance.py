"""Distance of each pixel to the nearest marked pixel, in OpenCV's chamfer metric.

G. Borgefors, "Distance transformations in digital images", CVGIP 1986: the length of the
shortest path of steps along rows and columns (1 px), diagonals (1.4 px) and knight's moves
(2.1969 px).
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_PX = 20
UNITS_PER_PX = 1000
# A shortest path consists of at most two kinds of steps, each in one direction, in any order.
# So all steps of a kind can be taken together, by strides whose sums are all numbers up to
# MOST_PX.
STEPS = (
    (1000, ((0, 1), (1, 0)), (1, 2, 4, 8, 5)),
    (1400, ((1, 1), (1, -1)), (1, 2, 4, 7)),
    (2197, ((1, 2), (2, 1), (2, -1), (1, -2)), (1, 2, 4, 2)),
)


def chamfer_distance(marks: Tensor) -> Tensor:
    """The distance to the nearest mark, at most `MOST_PX`.

    Args:
        marks: 1 at marks and 0 elsewhere, int16 (batch, height, width).

    Returns:
        int16 (batch, height, width), in thousandths of a pixel.
    """
    batch, height, width = marks.shape
    # With rows stored end to end, and gaps between them wider than a path, strides are shifts.
    pitch = width + MOST_PX
    farthest = MOST_PX * UNITS_PER_PX
    distance = marks.new_full((batch, height, pitch), farthest)
    torch.mul(marks, -farthest, out=distance[:, :, :width]).add_(farthest)
    flat = distance.view(batch, -1)
    longer = torch.empty_like(flat)
    for length, directions, strides in STEPS:
        for stride in strides:
            torch.add(flat, stride * length, out=longer)
            for down, right in directions:
                _relax(flat, longer, stride * (down * pitch + right))
    return distance[:, :, :width]


def _relax(flat: Tensor, longer: Tensor, shift: int) -> None:
    """Lower distances to `longer` at the elements `shift` before and after."""
    if shift >= flat.shape[1]:
        return
    before, behind = flat[:, shift:], flat[:, :-shift]
    torch.minimum(before, longer[:, :-shift], out=before)
    torch.minimum(behind, longer[:, shift:], out=behind)
