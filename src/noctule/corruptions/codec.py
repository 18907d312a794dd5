"""Batches through an image file format and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from noctule.corruptions.threads import in_threads


def through_jpeg(images: Tensor, quality: Sequence[int]) -> Tensor:
    """Save each image as JPEG and open it again.

    Equal to the bit to Pillow's `save(…, "JPEG", quality=q)` and `open`, where torchvision and
    Pillow come with the same libjpeg-turbo, as wheels do: chroma at half the resolution. Grey
    images give the same pixels as their RGB copies would.

    Args:
        images: uint8 (batch, 1 or 3, height, width), up to 65,500 px a side, on any device.
        quality: 1 to 100 for each image.

    Returns:
        uint8, of the same shape and on the same device.

    >>> through_jpeg(torch.full((1, 1, 16, 16), 77, dtype=torch.uint8), [85])[0, 0, 0, 0].item()
    77
    """
    if len(images) == 0:
        return images.clone()
    planes = images.cpu().numpy()
    opened = np.empty_like(planes)

    def work(part: slice) -> None:
        # The copies are NumPy's: torch would start threads of its own within each of these
        # threads, and takes three times as long to interleave colours. Many images share a
        # call where they can, because threads wait for Python's lock after each call.
        colours = [planes[part, channel] for channel in range(planes.shape[1])]
        pictures = torch.from_numpy(np.stack(colours, axis=-1)).permute(0, 3, 1, 2)
        files = [
            encode_jpeg(picture, quality=q)
            for picture, q in zip(pictures, quality[part], strict=True)
        ]
        for place, picture in zip(opened[part], decode_jpeg(files), strict=True):
            place[:] = picture.numpy()

    in_threads(work, len(images))
    return torch.from_numpy(opened).to(images.device)
