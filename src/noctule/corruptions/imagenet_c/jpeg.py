"""Batches through an image file format and back."""

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

LONGEST_PX = 65_500  # libjpeg-turbo's, slightly below the format's


def through_jpeg(images: Tensor, quality: Sequence[int]) -> Tensor:
    """Save each image as JPEG and open it again.

    Equal to the bit to Pillow's `save(…, "JPEG", quality=q)` and `open`, where Pillow comes
    with libjpeg-turbo, as its wheels do: chroma at half the resolution. Grey images give the
    same pixels as their RGB copies would. Pillow encodes, because simplejpeg uses the less
    exact of two transforms below a quality of 96; simplejpeg decodes, in half of the time.

    Args:
        images: uint8 (batch, 1 or 3, height, width), on any device.
        quality: 1 to 100 for each image.

    Returns:
        uint8, of the same shape and on the same device.

    Raises:
        InputError: A side is longer than `LONGEST_PX`.

    >>> through_jpeg(torch.full((1, 1, 16, 16), 77, dtype=torch.uint8), [85])[0, 0, 0, 0].item()
    77
    """
    if len(images) == 0:
        return images.clone()
    if max(images.shape[2:]) > LONGEST_PX:
        height, width = images.shape[2:]
        raise InputError(
            f"a JPEG file cannot hold {height} × {width} px, at most {LONGEST_PX} a side",
            remedy="Resize the images, or leave JPEG out.",
        )
    planes = images.cpu().numpy()
    opened = np.empty_like(planes)
    kind = "gray" if planes.shape[1] == 1 else "rgb"

    def work(part: slice) -> None:
        # The copies are NumPy's: torch would start threads of its own within each of these
        # threads, and takes three times as long to interleave colours.
        colours = [planes[part, channel] for channel in range(planes.shape[1])]
        interleaved = np.stack(colours, axis=-1) if len(colours) > 1 else colours[0]
        # Off by a byte, because libjpeg-turbo writes past the caches into what is aligned.
        buffer = np.empty(planes[0].size + 1, np.uint8)[1:]
        for place, decoded, q in zip(opened[part], interleaved, quality[part], strict=True):
            file = io.BytesIO()
            Image.fromarray(decoded).save(file, "JPEG", quality=q)
            decoded = decode_jpeg(file.getbuffer(), kind, buffer=buffer)
            place[:] = decoded.transpose(2, 0, 1)

    in_threads(work, len(images))
    return torch.from_numpy(opened).to(images.device)
