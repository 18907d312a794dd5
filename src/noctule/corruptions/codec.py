"""Batches through an image file format and back."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg


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
    # The copies are NumPy's: torch would start threads of its own within each of the threads
    # below, and takes three times as long to interleave colours.
    planes = images.cpu().numpy()
    opened = np.empty_like(planes)
    threads = max(1, min(torch.get_num_threads(), len(images)))

    def work(start: int) -> None:
        for number in range(start, len(images), threads):
            rows = torch.from_numpy(np.stack(planes[number], axis=-1))
            file = encode_jpeg(rows.permute(2, 0, 1), quality=quality[number])
            opened[number] = decode_jpeg(file).numpy()

    if threads == 1:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    return torch.from_numpy(opened).to(images.device)
