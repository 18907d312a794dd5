"""What an oracle is: a slow form of a corruption, and how near the fast one must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Oracle:
    """A slow form, and how far from it the fast one may be, in levels of 255.

    The slow forms are not rounded to whole levels, so half a level is the rounding of uint8.

    Args:
        ties: the share of values that may be further off: nearest-neighbour ties, where the
            last bit of a coordinate decides.
    """

    image: Callable[..., NDArray[np.float64]]
    uint8: float = 0.501
    float32: float = 0.002
    ties: float = 0.0
