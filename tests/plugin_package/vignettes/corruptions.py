"""A corruption: `noctule list corruptions vignette`."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions import corruption
from noctule.corruptions.draws import Uniform


@corruption(family="weather", source="an example", draws={"strength": Uniform(0.2, 0.8)})
def vignette(images: Tensor, *, strength: Tensor) -> Tensor:
    """Darken each image towards its corners.

    Args:
        images: (batch, channels, height, width), uint8 or float32 in [0, 1].
        strength: Share of the brightness that the corners lose, (batch,).
    """
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height, device=images.device)[:, None] ** 2
    x = torch.linspace(-1, 1, width, device=images.device)[None] ** 2
    darkened = images * (1 - strength.float()[:, None, None, None] * (x + y) / 2)
    return darkened.round().to(torch.uint8) if images.dtype == torch.uint8 else darkened
