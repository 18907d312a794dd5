"""Shapes as types, for the signatures of kernels.

The tests check every kernel against them with jaxtyping, which noctule itself does not need:
where it is not installed, the names below stand for `torch.Tensor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    Images: TypeAlias = Tensor
    PerImage: TypeAlias = Tensor
else:
    try:
        from jaxtyping import Float32, Shaped, UInt8
    except ImportError:
        Images = PerImage = Tensor
    else:
        _BATCH = "batch channels height width"
        Images = UInt8[Tensor, _BATCH] | Float32[Tensor, _BATCH]
        """Images, 8-bit or in [0, 1]; a kernel returns the shape and dtype that it is given."""
        PerImage = Shaped[Tensor, "batch"]
        """One number for each image: float64, or int64 for whole numbers and choices."""
