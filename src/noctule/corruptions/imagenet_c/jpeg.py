"""JPEG compression of a batch of images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
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
    if max(images.shape[2:]) > LONGEST_PX:
        height, width = images.shape[2:]
        raise InputError(
            f"the images have {height} × {width} px, but a side of a JPEG file has at most "
            f"{LONGEST_PX:,} px",
            remedy="Resize the images, or leave out jpeg_compression.",
        )
    planes = images.cpu().numpy()
    result = np.empty_like(planes)
    kind = "gray" if planes.shape[1] == 1 else "rgb"

    def work(part: slice) -> None:
        # NumPy makes the copies: torch would start threads of its own within each of these
        # threads, and takes three times as long to interleave colours.
        colours = [planes[part, channel] for channel in range(planes.shape[1])]
        interleaved = np.stack(colours, axis=-1) if len(colours) > 1 else colours[0]
        # Misaligned by a byte, because libjpeg-turbo bypasses the cache for aligned buffers.
        buffer = np.empty(planes[0].size + 1, np.uint8)[1:]
        for out, image, q in zip(result[part], interleaved, quality[part], strict=True):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=q)
            decoded = decode_jpeg(file.getbuffer(), kind, buffer=buffer)
            out[:] = decoded.transpose(2, 0, 1)

    in_threads(work, len(images))
    return torch.from_numpy(result).to(images.device)
