"""For kernels whose shapes depend on a parameter: images with equal parameters go together."""

from __future__ import annotations

import torch
from torch import Tensor


def alike(*parameters: Tensor) -> list[tuple[Tensor, tuple[float, ...]]]:
    """Which images share all of these parameters.

    Args:
        *parameters: a value for each image, (batch,).

    Returns:
        For each distinct combination, in ascending order: the indices of its images, int64, and
        the values, as Python floats.

    >>> level = torch.tensor([2.0, 1.0, 2.0])
    >>> [(index.tolist(), values) for index, values in alike(level)]
    [([1], (1.0,)), ([0, 2], (2.0,))]
    """
    rows = torch.stack([parameter.to(torch.float64) for parameter in parameters], dim=1)
    distinct, which = torch.unique(rows, dim=0, return_inverse=True)
    return [
        ((which == number).nonzero().flatten(), tuple(values))
        for number, values in enumerate(distinct.tolist())
    ]
