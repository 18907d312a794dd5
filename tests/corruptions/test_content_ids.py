"""Without ids, an image's random numbers come from its content."""

from __future__ import annotations

import pytest
import torch

from corruption_cases import coffee, sample_images
from noctule.corruptions import corrupt
from noctule.corruptions.content import content_ids

pytestmark = pytest.mark.usefixtures("one_thread")


def test_one_image_at_a_time_gets_noise_of_its_own() -> None:
    """What a transform does: each image alone, without ids."""
    images = sample_images(4, 32, 32)
    together = corrupt(images, "gaussian_noise", severity=1)
    alone = torch.cat([corrupt(image[None], "gaussian_noise", severity=1) for image in images])
    assert alone.equal(together)
    noise = {
        (one.int() - image.int()).numpy().tobytes()
        for one, image in zip(alone, images, strict=True)
    }
    assert len(noise) == len(images)
    order = [2, 0, 3, 1]
    assert corrupt(images[order], "gaussian_noise", severity=1).equal(together[order])
    assert not corrupt(images, "gaussian_noise", severity=1, seed=1).equal(together)
    ids = content_ids(images)
    assert corrupt(images, "gaussian_noise", severity=1, ids=ids).equal(together)


def test_a_hash_by_hand() -> None:
    """16 × 16 px are 64 words; the factors are the words of two streams of 64-bit numbers."""
    from noctule.corruptions.content import _HASH_BLOCK
    from noctule.sampling import Stream, image_keys, key_of

    image = sample_images(1, 16, 16)[:, :1]
    words = image.numpy().tobytes()
    first, second = Stream(image_keys(key_of("content"), range(2))).words(_HASH_BLOCK)
    found = ""
    for lane in range(2):
        total = 0
        for i in range(64):
            low, high = first[lane, i].item() % 2**32, second[lane, i].item() % 2**32
            total += (low | high << 32) * int.from_bytes(words[4 * i : 4 * i + 4], "little")
        found += f"{total % 2**64 >> 32:08x}"
    assert content_ids(image) == [f"1x16x16:{found}"]


@pytest.mark.parametrize("size", [(16, 16), (37, 37), (224, 224), (1100, 1300)])
def test_tensors_and_the_compiled_loop_give_one_hash(size: tuple[int, int]) -> None:
    """Of one block, of blocks with a rest, and of blocks of blocks."""
    from noctule.corruptions.content import _content_hash

    images = sample_images(2, *size)
    found = [f"{high:08x}{low:08x}" for high, low in _content_hash(images).tolist()]
    assert [one.partition(":")[2] for one in content_ids(images)] == found
    assert len(set(found)) == 2


def test_the_hash_is_the_same_everywhere() -> None:
    """In any layout, alignment and batch; and recorded, so that no version changes it."""
    images = sample_images(3, 33, 47)
    expected = content_ids(images)
    assert content_ids(images.contiguous(memory_format=torch.channels_last)) == expected
    assert content_ids(images.transpose(2, 3).contiguous().transpose(2, 3)) == expected
    shifted = torch.cat([torch.zeros(1, dtype=torch.uint8), images.flatten()])[1:]
    assert content_ids(shifted.view(images.shape)) == expected
    assert [content_ids(image[None])[0] for image in images] == expected
    assert content_ids(images.to(torch.float32) / 255) == expected
    assert content_ids(images[:0]) == []
    plain = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert content_ids(plain) == ["1x16x16:8732e03607b47f1b"]
    if torch.cuda.is_available():
        assert content_ids(images.cuda()) == expected


@pytest.mark.parametrize("size", [(16, 16), (224, 224), (700, 400)], ids=str)
def test_every_value_and_every_bit_counts(size: tuple[int, int]) -> None:
    image = sample_images(1, *size)
    found = set(content_ids(image))
    values = image.numel()
    for place in {0, 1, 2, 3, values // 2, values - 1}:
        for bit in range(8):
            other = image.clone()
            other.view(-1)[place] ^= 1 << bit
            found.update(content_ids(other))
    assert len(found) == 1 + 6 * 8


def test_the_top_bits_of_two_pixels_do_not_cancel() -> None:
    """They would in a sum of 64-bit words times odd factors: 2**63 + 2**63 = 0."""
    image = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    found = set(content_ids(image))
    for first in range(0, 256, 3):
        for second in range(first + 1, 256, 7):
            other = image.clone()
            other.view(-1)[[first, second]] = 128
            found.update(content_ids(other))
    assert len(found) == 1 + sum(len(range(f + 1, 256, 7)) for f in range(0, 256, 3))


def test_arrangement_counts() -> None:
    image = coffee()[None]
    zeros = torch.zeros(1, 1, 32, 64, dtype=torch.uint8)
    variants = [
        image, image.transpose(2, 3), image.flip(3), image.flip(2), image.flip(1),
        image.roll(1, 3), image.roll(4, 3), image.roll(1, 2),
        zeros, zeros.transpose(2, 3), zeros[..., :32], zeros.expand(-1, 3, -1, -1),
    ]  # fmt: skip
    assert len({content_ids(variant)[0] for variant in variants}) == len(variants)


def test_few_of_many_images_share_half_a_hash() -> None:
    """Of 20,000 images 0.05 pairs share 32 bits by chance; sparse ones are no exception."""
    count = 20_000
    images = torch.zeros(count, 1, 16, 16, dtype=torch.uint8)
    number = torch.arange(count)
    images.view(count, -1)[number, number % 256] = (1 + number // 256).to(torch.uint8)
    images.view(count, -1)[number, (number * 7 + 3) % 256] += 1
    assert len(images.unique(dim=0)) == count
    hashes = [one.partition(":")[2] for one in content_ids(images)]
    for half in (slice(8), slice(8, 16)):
        assert len({one[half] for one in hashes}) >= count - 2
