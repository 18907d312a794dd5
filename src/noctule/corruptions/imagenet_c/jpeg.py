"""JPEG compression of a batch of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from simplejpeg import decode_jpeg
from torch import Tensor

from noctule.corruptions.threads import in_threads
from noctule.errors import InputError

LONGEST_PX = 65_500  # the limit of libjpeg-turbo, slightly below that of the format


def through_jpeg(images: Tensor, quality: Sequence[int]) -> Tensor:
    """Encode each image as JPEG and decode it again.

    Bit-identical to Pillow's `save(…, "JPEG", quality=q)` and `open`, if Pillow is built with
    libjpeg-turbo, as its wheels are; chroma has half the resolution. Grey images give the same
    pixels as their RGB copies. torchvision encodes, because simplejpeg uses the less exact of
    two transforms below a quality of 96; simplejpeg decodes, in half the time. Neither keeps
    other threads of Python waiting.

    Args:
        images: uint8 (batch, 1 or 3, height, width), on any device.
        quality: Quality of each image, from 1 to 100.

    Returns:
        uint8, of the same shape and on the same device.

    Raises:
        InputError: A side is above `LONGEST_PX`.

    >>> through_jpeg(torch.full((1, 1, 16, 16), 77, dtype=torch.uint8), [85])[0, 0, 0, 0].item()
    77
    """
    if len(images) == 0:
        return images.clone()
    planes = images.cpu().contiguous().numpy()
    result = np.empty_like(planes)

    def work(part: slice) -> None:
        for image, q, out in zip(planes[part], quality[part], result[part], strict=True):
            recode(image, q, out)

    in_threads(work, len(images))
    return torch.from_numpy(result).to(images.device)


def recode(image: NDArray[np.uint8], quality: int, out: NDArray[np.uint8]) -> None:
    """Encode one image as JPEG and decode it again; see `through_jpeg`.

    Args:
        image: (1 or 3, height, width), contiguous.
        quality: From 1 to 100.
        out: Array for the result, contiguous; it may be the image.

    Raises:
        InputError: A side is above `LONGEST_PX`.
    """
    from torchvision.io import encode_jpeg  # takes a second to import

    from noctule.corruptions.loops.layout import interleave, split  # imports Numba

    channels, height, width = image.shape
    if max(height, width) > LONGEST_PX:
        raise InputError(
            f"the images have {height} × {width} px, but a side of a JPEG file has at most "
            f"{LONGEST_PX:,} px",
            remedy="Resize the images, or leave out jpeg_compression.",
        )
    # (height, width, channels) in memory, as the encoder needs it.
    pixels = np.empty((height, width, channels), np.uint8)
    if channels == 1:
        pixels[:, :, 0] = image[0]
    else:
        interleave(image.reshape(3, -1), pixels.reshape(-1))
    file = encode_jpeg(torch.from_numpy(pixels).permute(2, 0, 1), quality).numpy()
    # Misaligned by a byte, because libjpeg-turbo bypasses the cache for aligned buffers.
    decoded = np.empty(image.size + 1, np.uint8)[1:]
    decode_jpeg(file, "gray" if channels == 1 else "rgb", buffer=decoded)
    if channels == 1:
        out[0] = decoded.reshape(height, width)
    else:
        split(decoded, out.reshape(3, -1))
