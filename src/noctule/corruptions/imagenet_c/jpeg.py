"""JPEG compression of a batch of images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from simplejpeg import decode_jpeg
from torch import Tensor

from noctule.corruptions.threads import in_threads
from noctule.errors import InputError

LONGEST_PX = 65_500  # the limit of libjpeg-turbo, slightly below that of the format


def through_jpeg(images: Tensor, quality: Sequence[int]) -> Tensor:
    """Encode each image as JPEG and decode it again.

    Bit-identical to Pillow's `save(…, "JPEG", quality=q)` and `open`, if Pillow is built with
    libjpeg-turbo, as its wheels are; chroma has half the resolution. Grey images give the same
    pixels as their RGB copies. Pillow encodes, because simplejpeg uses the less exact of two
    transforms below a quality of 96; simplejpeg decodes in half the time.

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
    from noctule.corruptions.loops.layout import interleave_padded, split  # imports Numba

    channels, height, width = image.shape
    if max(height, width) > LONGEST_PX:
        raise InputError(
            f"the images have {height} × {width} px, but a side of a JPEG file has at most "
            f"{LONGEST_PX:,} px",
            remedy="Resize the images, or leave out jpeg_compression.",
        )
    file = io.BytesIO()
    # Misaligned by a byte, because libjpeg-turbo bypasses the cache for aligned buffers.
    pixels = np.empty(image.size + 1, np.uint8)[1:]
    if channels == 1:
        Image.fromarray(image[0]).save(file, "JPEG", quality=quality)
        decode_jpeg(file.getbuffer(), "gray", buffer=pixels)
        out[0] = pixels.reshape(height, width)
        return
    padded = np.empty(4 * height * width, np.uint8)  # Pillow copies what is not padded
    interleave_padded(image.reshape(3, -1), padded)
    colours = Image.frombuffer("RGBX", (width, height), padded, "raw", "RGBX", 0, 1)
    colours.save(file, "JPEG", quality=quality)
    decode_jpeg(file.getbuffer(), "rgb", buffer=pixels)
    split(pixels, out.reshape(3, -1))
