"""Images, and what else the tests of the corruptions share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions import CORRUPTIONS, Corruption
from noctule.sampling import Stream
from oracles.threefry import WordStream

each = pytest.mark.parametrize("c", CORRUPTIONS.values(), ids=CORRUPTIONS)
both_dtypes = pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"]
)

# Rows and columns of the crops that reference figures were taken on.
CROPS = {
    "astronaut[0:224,130:354]": ("astronaut", 0, 130),
    "coffee[88:312,188:412]": ("coffee", 88, 188),
}


@functools.cache
def photograph(crop: str) -> Tensor:
    """A 224 × 224 crop: uint8 (3, 224, 224)."""
    name, top, left = CROPS[crop]
    pixels = getattr(skimage.data, name)()[top : top + 224, left : left + 224]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def coffee() -> Tensor:
    return photograph("coffee[88:312,188:412]")


@functools.cache
def pattern() -> Tensor:
    """Synthetic, with all values and steep and gentle slopes: uint8 (3, 224, 224)."""
    c, i, j = np.ogrid[:3, :224, :224]
    values: NDArray[np.int64] = (7 * i * (c + 1) + 13 * j + i * j // (5 + c)) % 256
    return torch.from_numpy(values.astype(np.uint8))


def sample_images(
    count: int, height: int, width: int, *, channels: int = 3, dtype: torch.dtype = torch.uint8
) -> Tensor:
    """Different images: photographs, the pattern, noise, and a flat one with extremes.

    (count, channels, height, width); the photographs and the pattern are tiled, so that every
    size holds their texture. float32 is not a multiple of 1/255.
    """
    noise = torch.from_numpy(
        np.random.default_rng(7).integers(0, 256, (3, height, width), dtype=np.uint8)
    )
    flat = torch.full((3, height, width), 128, dtype=torch.uint8)
    flat[:, : height // 4 + 1], flat[:, -height // 4 :] = 0, 255
    sources = [coffee(), noise, photograph("astronaut[0:224,130:354]"), pattern(), flat]
    rows, columns = torch.arange(height), torch.arange(width)
    chosen = []
    for number in range(count):
        source = sources[number % len(sources)]
        tile = source[:, (rows + 9 * number) % source.shape[1]]
        chosen.append(tile[:, :, (columns + 5 * number) % source.shape[2]])
    images = torch.stack(chosen)[:, :channels].contiguous()
    if dtype == torch.uint8:
        return images
    return (images.to(torch.float32) / 255).pow(1.1)


def check_both_dtypes(
    corruption: Corruption, images: Tensor, severity: int, wanted: NDArray[np.float64]
) -> None:
    """Compare uint8 and float32 results with a reference in 0…255, not rounded."""
    ids = range(len(images))
    rounded = corruption(images, ids=ids, severity=severity).numpy()
    assert np.abs(rounded - wanted).max() <= 0.501
    exact = corruption(images / 255, ids=ids, severity=severity).numpy() * 255
    assert np.abs(exact - wanted).max() <= 0.002


def of_image(parameters: dict[str, torch.Tensor | Stream], image: int) -> dict[str, Any]:
    """The drawn parameters of one image, as plain numbers and word streams."""
    return {
        name: WordStream(tuple(word % 2**32 for word in value.keys[image].tolist()))
        if isinstance(value, Stream)
        else value[image].item()
        for name, value in parameters.items()
    }
