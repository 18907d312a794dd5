"""Pillow's bilinear resampling with a different size for each image, as one sparse filter.

The rows of a batch lie one after another, plane by plane (a plane is one channel of one image),
and their number may differ from plane to plane: a whole batch is one weighted gather.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor


def first_rows(rows: Tensor) -> Tensor:
    """Where each plane begins when planes with these numbers of rows lie end to end.

    >>> first_rows(torch.tensor([3, 2, 4])).tolist()
    [0, 3, 5]
    """
    return rows.cumsum(0) - rows


def resize_rows(values: Tensor, first: Tensor, rows_in: Tensor, rows_out: Tensor) -> Tensor:
    """Resize planes along their rows like Pillow's `resize(..., BILINEAR)`, without rounding.

    The filter is a triangle, widened when shrinking (antialiasing), normalised at the edges.

    Args:
        values: float32 (rows of all planes, width).
        first: where in `values` each plane's rows to resize begin, int64 (planes,).
        rows_in: how many rows to resize in each plane, int64 (planes,).
        rows_out: how many to make of them, int64 (planes,).

    Returns:
        float32 (sum of rows_out, width), plane by plane.
    """
    scale = rows_in / rows_out.to(torch.float64)
    plane = torch.repeat_interleave(rows_out)
    row = torch.arange(len(plane), device=values.device) - first_rows(rows_out)[plane]
    center, reach = (row + 0.5) * scale[plane], scale.clamp(min=1)[plane]
    start = (center - reach + 0.5).to(torch.int64).clamp_(min=0)
    stop = torch.minimum((center + reach + 0.5).to(torch.int64), rows_in[plane])
    tap = start[:, None] + torch.arange(int((stop - start).max()), device=values.device)
    weight = 1 - ((tap + 0.5 - center[:, None]) / reach[:, None]).abs_()
    used = (tap < stop[:, None]) & (weight > 0)
    weight.mul_(used)
    weight /= weight.sum(dim=1, keepdim=True)
    return F.embedding_bag(
        (tap + first[plane][:, None])[used],
        values,
        first_rows(used.sum(dim=1)),
        mode="sum",
        per_sample_weights=weight[used].to(torch.float32),
    )
