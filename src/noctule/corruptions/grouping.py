"""Which images a kernel works on together.

Those with equal parameters, where shapes depend on one; and a few at a time, which stay in a
CPU's caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from noctule.sampling import Stream

# So many float32 values are worked on at once: on a CPU more spill out of the cache, and fewer
# spend the time in starting operations, of which a GPU does few at any size.
_CPU_VALUES_AT_ONCE = 6 * 224**2
_CUDA_VALUES_AT_ONCE = 1 << 27


def even_parts(count: int, parts: int) -> list[slice]:
    """That many items in so many parts, which differ by one at most.

    >>> even_parts(7, 3)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    edges = [number * count // parts for number in range(parts + 1)]
    return list(map(slice, edges[:-1], edges[1:]))


def group_equal(*parameters: Tensor) -> list[tuple[Tensor, tuple[float, ...]]]:
    """Which images share all of these parameters.

    Args:
        *parameters: a value for each image, (batch,).

    Returns:
        For each distinct combination, in ascending order: the indices of its images, int64, and
        the values, as Python floats.

    >>> severity = torch.tensor([2.0, 1.0, 2.0])
    >>> [(index.tolist(), values) for index, values in alike(severity)]
    [([1], (1.0,)), ([0, 2], (2.0,))]
    """
    return _indexed(_numbers(parameters), parameters[0].device)


def _numbers(parameters: Sequence[Tensor]) -> dict[tuple[float, ...], list[int]]:
    """The numbers of the images with each combination of values."""
    # Lists, because a batch is small, and torch takes long to find what is distinct.
    found: dict[tuple[float, ...], list[int]] = {}
    rows = zip(*(map(float, values.tolist()) for values in parameters), strict=True)
    for number, row in enumerate(rows):
        found.setdefault(row, []).append(number)
    return found


def _indexed(
    found: dict[tuple[float, ...], list[int]], device: torch.device
) -> list[tuple[Tensor, tuple[float, ...]]]:
    return [(torch.tensor(found[values], device=device), values) for values in sorted(found)]


def group_by_params(
    images: Tensor,
    parameters: Sequence[Tensor],
    change: Callable[..., Tensor],
    *others: Stream | Tensor,
) -> Tensor:
    """Apply `change(part, *values, *others)` to the images with the same parameters together.

    Args:
        images: (batch, ...).
        parameters: a value for each image, (batch,).
        change: one result for each image of the part.
        others: streams of, or values for, all images.

    >>> batch, factor = torch.tensor([1, 2, 3]), torch.tensor([2.0, 1.0, 2.0])
    >>> by_setting(batch, [factor], lambda part, times: part * int(times) + len(part)).tolist()
    [4, 3, 8]
    """
    found = _numbers(parameters)
    if len(found) == 1:  # spares two copies
        return change(images, *next(iter(found)), *others)
    groups = _indexed(found, parameters[0].device)
    parts = [
        change(images.index_select(0, index), *values, *(other[index] for other in others))
        for index, values in groups
    ]
    order = torch.cat([index for index, _ in groups]).argsort()
    return torch.cat(parts).index_select(0, order)  # a tenth of the cost of index_copy_


def in_chunks(
    planes: Tensor, *others: Tensor, at_once: int = _CPU_VALUES_AT_ONCE
) -> Iterator[tuple[Tensor, ...]]:
    """A few planes, or images, at a time, and what belongs to them.

    Args:
        at_once: so many values on a CPU.
    """
    if planes.device.type != "cpu":
        at_once = _CUDA_VALUES_AT_ONCE
    size = max(1, at_once // max(1, planes[:1].numel()))
    return zip(*(torch.split(values, size) for values in (planes, *others)), strict=True)


def map_chunks(
    change: Callable[..., Tensor],
    images: Tensor,
    *others: Tensor,
    at_once: int = _CPU_VALUES_AT_ONCE,
) -> Tensor:
    """Apply `change(few, *others)` to a few planes, or images, at a time; see `in_chunks`.

    Args:
        change: what it gives is of the shape of `few`, and converted to their dtype.

    >>> few_at_a_time(lambda few, more: few + more, torch.ones(2, 3), torch.zeros(2, 3)).sum()
    tensor(6.)
    """
    result = torch.empty_like(images)
    for few, *rest, out in in_chunks(images, *others, result, at_once=at_once):
        out.copy_(change(few, *rest))
    return result
