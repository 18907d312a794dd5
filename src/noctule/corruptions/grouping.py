"""Splitting a batch into parts, and into images with equal parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from noctule.sampling import Stream


def even_parts(count: int, parts: int) -> list[slice]:
    """Split a number of items into parts whose sizes differ by at most one.

    >>> even_parts(7, 3)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    edges = [number * count // parts for number in range(parts + 1)]
    return list(map(slice, edges[:-1], edges[1:]))


def group_equal(*parameters: Tensor) -> list[tuple[Tensor, tuple[float, ...]]]:
    """Group images that share the values of all these parameters.

    Args:
        *parameters: One value for each image, (batch,).

    Returns:
        For each distinct combination, in ascending order: the indices of its images, int64, and
        the values, as Python floats.

    >>> severity = torch.tensor([2.0, 1.0, 2.0])
    >>> [(index.tolist(), values) for index, values in group_equal(severity)]
    [([1], (1.0,)), ([0, 2], (2.0,))]
    """
    # Lists, because batches are small and torch.unique is slow.
    groups: dict[tuple[float, ...], list[int]] = {}
    rows = zip(*(map(float, values.tolist()) for values in parameters), strict=True)
    for index, row in enumerate(rows):
        groups.setdefault(row, []).append(index)
    device = parameters[0].device
    return [(torch.tensor(groups[values], device=device), values) for values in sorted(groups)]


def group_by_params(
    images: Tensor,
    parameters: Sequence[Tensor],
    change: Callable[..., Tensor],
    *others: Stream | Tensor,
) -> Tensor:
    """Apply `change(part, *values, *others)` to each group of images with equal parameters.

    Args:
        images: (batch, ...).
        parameters: One value for each image, (batch,).
        change: Function of a group, which returns one result for each of its images.
        others: Streams or tensors with one entry for each image.

    Returns:
        The results, in the order of the images.

    >>> batch, factor = torch.tensor([1, 2, 3]), torch.tensor([2.0, 1.0, 2.0])
    >>> group_by_params(batch, [factor], lambda part, f: part * int(f) + len(part)).tolist()
    [4, 3, 8]
    """
    groups = group_equal(*parameters)
    if len(groups) == 1:  # saves two copies
        return change(images, *groups[0][1], *others)
    parts = [
        change(images.index_select(0, index), *values, *(other[index] for other in others))
        for index, values in groups
    ]
    order = torch.cat([index for index, _ in groups]).argsort()
    return torch.cat(parts).index_select(0, order)  # a tenth of the time of index_copy_
