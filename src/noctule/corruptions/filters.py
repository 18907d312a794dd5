"""Gaussian filters as SciPy's and scikit-image's, on batches."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["nearest", "reflect"]


def gaussian_filter(
    values: Tensor,
    sigma_px: float | tuple[float, float],
    *,
    truncate: float = 4.0,
    border: Border = "nearest",
) -> Tensor:
    """Filter along rows and columns, as `scipy.ndimage.gaussian_filter` does.

    Args:
        values: float32 (batch, channels, height, width).
        sigma_px: standard deviation, or one along the columns and one along the rows; an axis
            whose kernel has a radius of 0 stays as it is.
        truncate: the kernel ends after this many standard deviations, rounded to whole pixels.
        border: "nearest" repeats the edge pixel, "reflect" mirrors about the edge (d c b a |
            a b c d), as SciPy calls them.
    """
    sigmas = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    for dim, sigma in zip((2, 3), sigmas, strict=True):
        radius = int(truncate * sigma + 0.5)
        if radius > 0:
            padded = values.index_select(
                dim, _padded(values.shape[dim], radius, border)
            )
            kernel = _kernel(sigma, radius).to(values.device)
            shape = (1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1)
            planes = padded.flatten(0, 1)[:, None]
            values = F.conv2d(planes, kernel.view(shape)).view(*values.shape)
    return values


def _kernel(sigma: float, radius: int) -> Tensor:
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (x / sigma) ** 2)
    return (weight / weight.sum()).to(torch.float32)


def _padded(size: int, radius: int, border: Border) -> Tensor:
    """Which row each row of the padded image repeats: int64 (size + 2 · radius,)."""
    place = torch.arange(-radius, size + radius)
    if border == "nearest":
        return place.clamp(0, size - 1)
    turn = place % (2 * size)
    return torch.minimum(turn, 2 * size - 1 - turn)
