"""A corruption: `noctule list corruptions vignette`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions import corruption
from noctule.corruptions.draws import Uniform
from noctule.corruptions.loops import loop


@corruption(family="weather", source="an example", draws={"strength": Uniform(0.2, 0.8)})
def vignette(images: Tensor, *, strength: Tensor) -> Tensor:
    """Darken each image towards its corners.

    Args:
        images: (batch, channels, height, width), uint8 or float32 in [0, 1].
        strength: Share of the brightness that the corners lose, (batch,).
    """
    distance = torch.from_numpy(squared_distance(*images.shape[-2:])).to(images.device)
    darkened = images * (1 - strength.float()[:, None, None, None] * distance)
    return darkened.round().to(torch.uint8) if images.dtype == torch.uint8 else darkened


@functools.lru_cache(maxsize=8)
def squared_distance(height: int, width: int) -> NDArray[np.float32]:
    """The squared distance of each pixel from the middle, as a share of that of a corner."""
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return ((x**2 + y**2) / 2).astype(np.float32)


@loop("uint8", name="vignette", tables={"distance": squared_distance})
def vignette_loop(image: Any, out: Any, strength: float, distance: Any) -> None:
    """The same for one 8-bit image on a CPU, compiled: it is optional, and faster."""
    share = np.float32(strength)
    for channel in range(image.shape[0]):
        for y in range(image.shape[1]):
            row, changed, far = image[channel, y], out[channel, y], distance[y]
            for x in range(len(row)):
                changed[x] = np.rint(row[x] * (np.float32(1) - share * far[x]))
