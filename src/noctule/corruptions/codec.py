"""JPEG, by a real codec on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg


def through_jpeg(images: Tensor, quality: int) -> Tensor:
    """Encode and decode each image: uint8 (batch, 1 or 3, height, width), on any device."""
    mode = ImageReadMode.GRAY if images.shape[1] == 1 else ImageReadMode.RGB
    pictures = [decode_jpeg(encode_jpeg(image, quality), mode=mode) for image in images.cpu()]
    return torch.stack(pictures).to(images.device)
