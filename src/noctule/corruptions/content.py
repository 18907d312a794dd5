"""Ids of images from their content, for images that come without ids."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.sampling import Stream, image_keys, key_of


def content_ids(images: Tensor) -> list[str]:
    """An id for each image that depends on its content: its shape and a 64-bit hash.

    Equal images have equal ids in any batch and memory layout and on any device. So do an 8-bit
    image and its float32 copy in [0, 1], because float32 values are rounded to 8 bits.

    The 32-bit words w_i of the pixels are hashed twice, to the upper halves of Σ k_i · w_i
    modulo 2**64 with random 64-bit factors k_i. Two different blocks of words have equal hashes
    with a probability of at most 2**-62 (Dietzfelbinger, "Universal hashing and k-wise
    independent random variables via integer arithmetic without primes", STACS 1996). The hashes
    of the blocks of a large image are hashed in turn.

    Args:
        images: uint8, or float32 in [0, 1]; (batch, ...).

    Returns:
        One id for each image, "SHAPE:HASH".

    >>> content_ids(torch.zeros(1, 3, 32, 32))
    ['3x32x32:0000000000000000']
    """
    if images.device.type == "cpu":
        return array_ids(images.numpy(force=True))
    at_once = max(1, _HASHED_AT_ONCE // max(1, images[:1].numel()))
    with torch.inference_mode():
        hashes = (
            [_content_hash(chunk) for chunk in torch.split(images, at_once)]
            if len(images)
            else []
        )
    shape = "x".join(map(str, images.shape[1:]))
    return [f"{shape}:{high:08x}{low:08x}" for chunk in hashes for high, low in chunk.tolist()]


_HASHED_AT_ONCE = 1 << 22
_HASH_BLOCK = 1 << 16


def array_ids(images: NDArray[Any]) -> list[str]:
    """`content_ids` of an array."""
    from noctule.corruptions.loops.hashing import hash_images, to_bytes  # imports Numba

    if not images.flags.c_contiguous:
        from noctule.corruptions.loops.layout import pack

        strided, images = images, np.empty(images.shape, images.dtype)
        for source, target in zip(strided, images, strict=True):
            pack(source, target)
    count, size = len(images), math.prod(images.shape[1:])
    values = images.reshape(count, size)
    aligned = size % 4 == 0 and values.dtype == np.uint8
    words = values.view(np.uint32) if aligned else None
    if words is None or not words.flags.aligned:
        data = np.zeros((count, -(-size // 4) * 4), dtype=np.uint8)
        for source, target in zip(values, data, strict=True):
            if source.dtype == np.uint8:
                target[:size] = source
            else:
                to_bytes(source, target[:size])
        words = data.view(np.uint32)
    hashes = np.empty((count, 2), dtype=np.uint32)
    hash_images(words, _factors_array(), hashes)
    shape = "x".join(map(str, images.shape[1:]))
    return [f"{shape}:{high:08x}{low:08x}" for high, low in hashes.tolist()]


@functools.cache
def _factors_array() -> NDArray[np.uint64]:
    return _hash_factors(torch.device("cpu")).numpy().view(np.uint64)


def _content_hash(images: Tensor) -> Tensor:
    """Two 32-bit words for each image: int64 (batch, 2)."""
    values = images.flatten(1)
    if values.dtype != torch.uint8:
        values = (values * 255).round_()
    # A zero-padded copy that consists of whole words.
    shape = (len(values), -(-values.shape[1] // 4) * 4)
    data = torch.zeros(shape, dtype=torch.uint8, device=values.device)
    data[:, : values.shape[1]] = values
    words = data.view(torch.int32)
    factors = _hash_factors(values.device)
    while True:
        blocks = [_multilinear(block, factors) for block in torch.split(words, _HASH_BLOCK, 1)]
        if len(blocks) == 1:
            return blocks[0]
        words = torch.cat(blocks, dim=1)


def _multilinear(words: Tensor, factors: Tensor) -> Tensor:
    """The upper halves of two weighted sums of a block of 32-bit words: int64 (batch, 2)."""
    values = words.to(torch.int64).bitwise_and_(0xFFFFFFFF)
    sums = [(values * factor[: words.shape[1]]).sum(dim=1) for factor in factors]
    return (torch.stack(sums, dim=1) >> 32) & 0xFFFFFFFF


@functools.lru_cache(maxsize=8)
def _hash_factors(device: torch.device) -> Tensor:
    """Random 64-bit factors: int64 (2, _HASH_BLOCK)."""
    stream = Stream(image_keys(key_of("content"), range(2)))
    return torch.stack(stream.words(_HASH_BLOCK), dim=2).view(torch.int64)[..., 0].to(device)
