"""Networks that are computed outside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from noctule.arguments import choice
from noctule.errors import InputError
from noctule.models.outputs import output_tensor

Layout = Literal["NCHW", "NHWC"]
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")


class ForeignNetwork(nn.Module):
    """A network that is computed outside PyTorch, and has no parameters here.

    Attributes:
        precision: Precision in which it computes, for the record of a run.
    """

    precision = "float32"


class NumpyNetwork(ForeignNetwork):
    """A network around a function of NumPy batches, such as one of Keras, JAX or a service.

    Args:
        function: From float32 images, normalised by the model's preprocessing, to logits or
            probabilities (batch, classes); see `output_tensor`.
        layout: Layout of its images: "NHWC" (batch, height, width, channels) or "NCHW".

    Raises:
        InputError: The layout is unknown.

    >>> import torch
    >>> NumpyNetwork(lambda images: images.mean((1, 2)))(torch.ones(2, 3, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, function: Callable[..., Any], layout: Layout = "NHWC") -> None:
        super().__init__()
        self.function = function
        self.layout = choice(layout, "layout", LAYOUTS)

    @property
    def original_name(self) -> str:
        """Name of the function, or of the class of a callable object."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def forward(self, images: Tensor) -> Tensor:
        """Logits or probabilities (batch, classes) of float images (B, C, H, W)."""
        batch = images.detach().cpu().float()
        if self.layout == "NHWC":
            batch = batch.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(batch.numpy())
        try:
            returned = self.function(array)
        except Exception as error:  # the user's code may raise anything
            raise InputError(
                f"the function failed on a float32 NumPy array of shape {array.shape} "
                f"({self.layout}): {type(error).__name__}: {error}",
                where=self.original_name,
                remedy="For images as (batch, channels, height, width), use "
                'noctule.models.NumpyNetwork(function, layout="NCHW"); for tensors, a '
                "torch.nn.Module.",
            ) from error
        return output_tensor(returned, self.original_name).to(images.device)
