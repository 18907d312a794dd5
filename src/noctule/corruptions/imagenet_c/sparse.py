"""Positions of the few elements of a large tensor that are not 0."""

from __future__ import annotations

import torch
from torch import Tensor


def nonzero_positions(values: Tensor) -> Tensor:
    """Flat indices of the elements that are not 0, ascending: int64 (count,).

    For small dtypes this takes a fraction of the time of `nonzero`, because elements are tested
    eight bytes at a time.

    Args:
        values: Integers of any shape, contiguous and at the start of their storage.

    >>> nonzero_positions(torch.tensor([[0, 0, 7], [0, 0, 1]], dtype=torch.int16)).tolist()
    [2, 5]
    """
    flat = values.flatten()
    together = 8 // flat.element_size()
    whole = len(flat) // together * together
    numbers = torch.arange(together, device=flat.device)
    near = flat[:whole].view(torch.int64).nonzero() * together + numbers
    rest = torch.arange(whole, len(flat), device=flat.device)
    near = torch.cat([near.flatten(), rest])
    return near[flat[near] != 0]
