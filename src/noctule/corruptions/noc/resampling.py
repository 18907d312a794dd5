"""Pillow's bilinear resampling with a different size for each image, as one gather per tap.

The rows of a batch are stored end to end, plane by plane (a plane is one channel of one image);
the number of rows may differ between planes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def first_rows(rows: Tensor) -> Tensor:
    """Index of the first row of each plane, for planes with these numbers of rows.

    >>> first_rows(torch.tensor([3, 2, 4])).tolist()
    [0, 3, 5]
    """
    return rows.cumsum(0) - rows


def resize_rows(values: Tensor, first: Tensor, rows_in: Tensor, rows_out: Tensor) -> Tensor:
    """Resize planes along their rows like Pillow's `resize(..., BILINEAR)`, without rounding.

    The filter is a triangle, widened when shrinking (antialiasing) and normalised at the edges.

    Args:
        values: float32 (rows of all planes, width).
        first: Index of the first row to read in each plane, int64 (planes,).
        rows_in: Number of rows to read in each plane, int64 (planes,).
        rows_out: Number of rows to make of them, int64 (planes,).

    Returns:
        float32 (sum of rows_out, width), plane by plane.
    """
    scale = rows_in / rows_out.to(torch.float64)
    plane = torch.repeat_interleave(rows_out)
    middle = torch.arange(len(plane), dtype=torch.float64, device=values.device) + 0.5
    middle -= first_rows(rows_out)[plane]
    center, reach = middle * scale[plane], scale.clamp(min=1)[plane]
    start = (center - reach + 0.5).to(torch.int64).clamp_(min=0)
    stop = torch.minimum((center + reach + 0.5).to(torch.int64), rows_in[plane])
    tap = start + torch.arange(int((stop - start).max()), device=values.device)[:, None]
    distance = (tap.to(torch.float64) + 0.5 - center).abs_()
    weight = (1 - distance / reach).clamp_(min=0).mul_(tap < stop)
    weight = (weight / weight.sum(dim=0)).to(torch.float32)
    index = (tap + first[plane]).clamp_(max=len(values) - 1)
    result = values.new_zeros(len(plane), values.shape[1])
    rows = torch.empty_like(result)
    for number in range(len(tap)):
        torch.index_select(values, 0, index[number], out=rows)
        result.add_(rows.mul_(weight[number, :, None]))
    return result
