"""Random numbers for every element of an image, from 16 random bits each.

Distributions are tables, computed on the CPU in float64, because the last bit of a library
function may differ between devices.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from noctule.sampling import Stream

TABLE_SIZE = 1 << 16


@functools.cache
def normal_table(device: torch.device) -> Tensor:
    """N(0, 1) at the midpoints of 65,536 equally likely intervals, up to ±4.3: float32."""
    return _scaled_erfinv(2 * _midpoints() - 1).to(device)


@functools.cache
def half_normal_table(device: torch.device) -> Tensor:
    """|N(0, 1)| at the midpoints of 65,536 equally likely intervals, up to 4.3: float32."""
    return _scaled_erfinv(_midpoints()).to(device)


def _midpoints() -> Tensor:
    return (torch.arange(TABLE_SIZE, dtype=torch.float64) + 0.5) / TABLE_SIZE


def _scaled_erfinv(values: Tensor) -> Tensor:
    return (math.sqrt(2) * torch.erfinv(values)).to(torch.float32)


def field_bits(stream: Stream, count: int) -> Tensor:
    """A uniform integer in [0, 65536) for each element: uint16 (batch, count)."""
    return stream.bits16(count).view(torch.uint16)


def field_index(stream: Stream, count: int, dtype: torch.dtype = torch.int32) -> Tensor:
    """`field_bits` in a dtype that can index tables: (batch, count)."""
    return field_bits(stream, count).to(dtype)


def look_up(table: Tensor, bits: Tensor) -> Tensor:
    """The entries of a table (65536,) at `field_bits`: (batch, count)."""
    # A third of the time of indexing.
    return table.index_select(0, bits.to(torch.int32).flatten()).view(bits.shape)


def normal_field(stream: Stream, count: int) -> Tensor:
    """N(0, 1) for each element: float32 (batch, count)."""
    return look_up(normal_table(stream.keys.device), field_bits(stream, count))


def uniform_field(stream: Stream, count: int) -> Tensor:
    """Uniform in (0, 1) for each element, at the midpoints of 65,536 intervals: float32."""
    return (field_bits(stream, count).to(torch.float32) + 0.5) / TABLE_SIZE
