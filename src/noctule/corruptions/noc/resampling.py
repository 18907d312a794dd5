"""Pillow's bilinear resampling with a different size for each image, as one gather per tap."""

from __future__ import annotations

import torch
from torch import Tensor


def resize_rows(values: Tensor, first: Tensor, rows_in: Tensor, rows_out: Tensor) -> Tensor:
    """Resize images along their rows like Pillow's `resize(..., BILINEAR)`, without rounding.

    The filter is a triangle, widened when shrinking (antialiasing) and normalised at the edges.

    Args:
        values: float32 (batch, channels, height, width).
        first: Index of the first row to read in each image, int64 (batch,).
        rows_in: Number of rows to read in each image, int64 (batch,).
        rows_out: Number of rows to make of them, int64 (batch,).

    Returns:
        float32 (batch, channels, largest of rows_out, width); undefined beyond rows_out.
    """
    scale = (rows_in / rows_out.to(torch.float64))[:, None]
    middle = torch.arange(int(rows_out.max()), dtype=torch.float64, device=values.device) + 0.5
    center, reach = middle * scale, scale.clamp(min=1)
    start = (center - reach + 0.5).to(torch.int64).clamp_(min=0)
    stop = torch.minimum((center + reach + 0.5).to(torch.int64), rows_in[:, None])
    tap = start + torch.arange(int((stop - start).max()), device=values.device)[:, None, None]
    distance = (tap.to(torch.float64) + 0.5 - center).abs_()
    weight = (1 - distance / reach).clamp_(min=0).mul_(tap < stop)
    weight = weight / weight.sum(dim=0).clamp_(min=1e-9)  # 0 beyond rows_out
    index = (tap + first[:, None]).clamp_(max=values.shape[2] - 1)[:, :, None, :, None]
    size = (*values.shape[:2], len(middle), values.shape[3])
    result = values.new_zeros(size)
    for where, share in zip(index, weight.to(torch.float32), strict=True):
        rows = values.gather(2, where.expand(size))
        result.add_(rows.mul_(share[:, None, :, None]))
    return result
