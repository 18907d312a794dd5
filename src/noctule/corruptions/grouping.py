"""For kernels whose shapes depend on a parameter: images with equal parameters go together."""

from __future__ import annotations

from collections.abc import Sequence

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


def regroup(parts: Sequence[Tensor], groups: Sequence[tuple[Tensor, object]]) -> Tensor:
    """The results for the groups of `alike` as one batch, in the order of the images.

    >>> groups = alike(torch.tensor([2.0, 1.0, 2.0]))
    >>> regroup([torch.tensor([11]), torch.tensor([20, 22])], groups).tolist()
    [20, 11, 22]
    """
    if len(groups) == 1:
        return parts[0]
    order = torch.cat([index for index, _ in groups]).argsort()
    return torch.cat(list(parts)).index_select(0, order)  # a tenth of the cost of index_copy_
