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

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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


def fresh_seed() -> int:
    """A seed from PyTorch's generator, for transforms that draw new numbers in each call.

    The one exception to keyed random numbers: DataLoader seeds this generator differently in
    each worker and epoch, and `torch.manual_seed` repeats it.
    """
    return int(torch.randint(2**63 - 1, ()))


def image_words(keys: Sequence[Key], ids: Sequence[str | int]) -> list[Words]:
    """Two words per image for each key: int32 (len(ids),) each.

    An id is an int or a string; 4711 and "4711" are the same id.
    """
    counters = torch.from_numpy(id_words(ids).view(np.int32))
    x0, x1 = threefry2x32(
        torch.tensor([[as_int32(word) for word in key] for key in keys], dtype=torch.int32),
        counters[:, 0].expand(len(keys), -1),
        counters[:, 1].expand(len(keys), -1),
    )
    return list(zip(x0, x1, strict=True))


def id_words(ids: Sequence[str | int]) -> NDArray[np.uint32]:
    """The 64-bit hash of each id, from BLAKE2b: uint32 (len(ids), 2)."""
    hashes = b"".join([hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in ids])
    return np.frombuffer(bytearray(hashes), dtype=np.uint32).reshape(-1, 2)


def image_keys(key: Key, ids: Sequence[str | int]) -> Tensor:
    """The key of each image, for a `Stream`: int32 (len(ids), 2)."""
    ((x0, x1),) = image_words([key], ids)
    return torch.stack([x0, x1], dim=1)


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
