"""Keyed random numbers, the only source of randomness in the package.

There is no state. Every random number is a function of (seed, corruption, draw name, image id,
element index), so that it does not depend on the batch, the order, the number of workers or the
device.

The generator is Threefry-2x32, with 20 rounds for keys and per-image parameters and 13 rounds
for dense noise (the fewest that pass BigCrush in the authors' tests); Salmon, Moraes, Dror &
Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It consists of additions, shifts
and exclusive ors of 32-bit words, which int32 tensors compute identically on every device.

A 64-bit key is a hash of the parts (seed, corruption, draw name). Encrypting the 64-bit hash of
an image id with this key gives two words: the random number itself, for draws with one number
per image, or the key of the image, with which element indices are encrypted in turn.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Key = tuple[int, int]
"""Two 32-bit words, each in [0, 2**32)."""
Words = tuple[Tensor, Tensor]
"""Two random 32-bit words per image: int32 (batch,) each."""

_PARITY = 0x1BD11BDA
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
KEY_ROUNDS = 20
FIELD_ROUNDS = 13


def key_of(*parts: str | int) -> Key:
    """The 64-bit key of a sequence of names and numbers, from their BLAKE2b hash.

    The boundaries of parts matter ("ab", "c" differs from "a", "bc"), and so do their types (1
    differs from "1").

    >>> key_of("shear", 0) == key_of("shear", 0), key_of("shear", 0) == key_of("shear", 1)
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = str(part).encode()
        digest.update(f"{type(part).__name__}:{len(data)}:".encode() + data)
    word = int.from_bytes(digest.digest(), "little")
    return word & 0xFFFFFFFF, word >> 32


def as_int32(word: int) -> int:
    """The signed 32-bit integer with the bits of `word`; torch has no unsigned arithmetic.

    >>> as_int32(0xFFFFFFFF), as_int32(5)
    (-1, 5)
    """
    return (word + 2**31) % 2**32 - 2**31


def image_words(keys: Sequence[Key], ids: Sequence[str | int]) -> list[Words]:
    """Two words per image for each key: int32 (len(ids),) each.

    An id is an int or a string; 4711 and "4711" are the same id.
    """
    hashes = (hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in ids)
    counters = torch.frombuffer(bytearray(b"".join(hashes)) or bytearray(8), dtype=torch.int32)
    counters = counters[: 2 * len(ids)].view(-1, 2)
    x0, x1 = threefry2x32(
        torch.tensor([[as_int32(word) for word in key] for key in keys], dtype=torch.int32),
        counters[:, 0].expand(len(keys), -1),
        counters[:, 1].expand(len(keys), -1),
    )
    return list(zip(x0, x1, strict=True))


def image_keys(key: Key, ids: Sequence[str | int]) -> Tensor:
    """The key of each image, for a `Stream`: int32 (len(ids), 2)."""
    ((x0, x1),) = image_words([key], ids)
    return torch.stack([x0, x1], dim=1)


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
    shape = "x".join(map(str, images.shape[1:]))
    at_once = max(1, _HASHED_AT_ONCE // max(1, images[:1].numel()))
    with torch.inference_mode():
        hashes = (
            [_content_hash(chunk) for chunk in torch.split(images, at_once)]
            if len(images)
            else []
        )
    return [f"{shape}:{high:08x}{low:08x}" for chunk in hashes for high, low in chunk.tolist()]


_HASHED_AT_ONCE = 1 << 22
_HASH_BLOCK = 1 << 16


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


def threefry2x32(
    keys: Tensor, x0: Tensor, x1: Tensor, *, rounds: int = KEY_ROUNDS
) -> tuple[Tensor, Tensor]:
    """Encrypt counters with Threefry-2x32.

    Args:
        keys: Two words per image, int32 (batch, 2).
        x0, x1: The two words of the counters, int32 (batch, count); x1 may also be (batch, 1)
            or (1, 1).
        rounds: Number of rounds; test vectors are published for 13, 20 and 32.

    Returns:
        Two independent words for each counter, int32 (batch, count) each.

    >>> zero = torch.zeros(1, 2, dtype=torch.int32)
    >>> [hex(w.item() % 2**32) for w in threefry2x32(zero, zero[:, :1], zero[:, :1])]
    ['0x6b200159', '0x99ba4efe']
    """
    k0, k1 = keys[:, :1], keys[:, 1:]
    schedule = (k0, k1, k0 ^ k1 ^ as_int32(_PARITY))
    # The first round, before which x1 may be one word for all elements.
    x1 = x1 + k1
    x0 = x0 + (k0 + x1)
    x1 = _rotate(x1, _ROTATIONS[0], torch.empty_like(x1)) ^ x0
    high = torch.empty_like(x1)
    for step in range(1, rounds):
        x0.add_(x1)
        _rotate(x1, _ROTATIONS[step % 8], high).bitwise_xor_(x0)
        if step % 4 == 3:
            block = step // 4 + 1
            x0.add_(schedule[block % 3])
            x1.add_(schedule[(block + 1) % 3] + block)
    return x0, x1


def _rotate(words: Tensor, bits: int, scratch: Tensor) -> Tensor:
    """Rotate the bits of words to the left, in place."""
    # >> extends the sign, which is masked; the halves do not overlap, so that + is |.
    torch.bitwise_right_shift(words, 32 - bits, out=scratch)
    scratch.bitwise_and_((1 << bits) - 1)
    return torch.add(scratch, words, alpha=as_int32(1 << bits), out=words)


@dataclass(frozen=True)
class Stream:
    """The random words of one draw for a batch of images: a function without state.

    Attributes:
        keys: Key of each image, from `image_keys`; int32 (batch, 2).
    """

    keys: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which: slice | Tensor) -> Stream:
        return Stream(self.keys[which])

    def to(self, device: torch.device | str) -> Stream:
        """The same function on another device."""
        return Stream(self.keys.to(device))

    def words(
        self, count: int, *, first: int = 0, lane: int = 0, rounds: int = KEY_ROUNDS
    ) -> tuple[Tensor, Tensor]:
        """Two independent words for each element: int32 (batch, count) each.

        Args:
            count: Number of elements.
            first: Index of the first element.
            lane: A small non-negative integer; other lanes give other words for the same
                elements.
            rounds: See `threefry2x32`.
        """
        index = torch.arange(first, first + count, dtype=torch.int32, device=self.keys.device)
        x0 = index.expand(len(self), count)
        return threefry2x32(self.keys, x0, torch.full_like(x0[:, :1], lane), rounds=rounds)

    def bits16(self, count: int) -> Tensor:
        """One uniform 16-bit number for each element: int16 (batch, count).

        For dense noise: element i is a quarter of the 64 bits of counter i // 4.
        """
        w0, w1 = self.words(-(-count // 4), rounds=FIELD_ROUNDS)
        return torch.stack([w0, w1], dim=-1).view(torch.int16).flatten(1)[:, :count]


def high24(words: Tensor) -> Tensor:
    """The upper 24 bits of each word: int64 in [0, 2**24)."""
    return (words.to(torch.int64) >> 8) & 0xFFFFFF


def unit_interval(words: Tensor) -> Tensor:
    """Uniform float32 in [0, 1), from 24 bits, so that it is never rounded to 1.

    >>> unit_interval(torch.tensor([0, -1], dtype=torch.int32)).tolist()
    [0.0, 0.9999999403953552]
    """
    return high24(words).to(torch.float32) * 2.0**-24


def integers(words: Tensor, low: int | Tensor, high: int | Tensor) -> Tensor:
    """Uniform int64 in {low, …, high}, with a bias below (high - low) / 2**24.

    >>> integers(torch.tensor([0, -1], dtype=torch.int32), 3, 8).tolist()
    [3, 8]
    """
    return low + ((high24(words) * (high - low + 1)) >> 24)


def bits_of(words: Tensor) -> Tensor:
    """The lowest bit of each word: int64, 0 or 1. It is independent of `high24`."""
    return words.to(torch.int64) & 1


def resample_counts(seed: int, name: str, n_images: int, replicates: Iterable[int]) -> Tensor:
    """The number of times that each image is drawn in bootstrap replicates.

    Args:
        seed: Seed of the analysis.
        name: Name of the analysis; other names give other resamples.
        n_images: Size of the sample and of each resample.
        replicates: Indices of the replicates; the counts of a replicate depend only on its
            index.

    Returns:
        int32 (replicates, n_images); every row sums to n_images.

    >>> resample_counts(0, "doctest", 10, range(3)).sum(dim=1).tolist()
    [10, 10, 10]
    """
    keys = image_keys(key_of("bootstrap", seed, name, n_images), list(replicates))
    words = torch.cat(Stream(keys).words(-(-n_images // 2)), dim=1)[:, :n_images]
    counts = torch.zeros(len(keys), n_images, dtype=torch.int32)
    if n_images:
        drawn = integers(words, 0, n_images - 1)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.int32))
    return counts


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the generators of Python, NumPy and PyTorch after the block.

    noctule uses none of them, but a user's network may, and so do the initial weights of a
    network that is built before its weights are loaded.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
