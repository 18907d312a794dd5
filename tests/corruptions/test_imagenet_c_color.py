"""ImageNet-C's colours and codecs: released_code behaviour, and the other datasets' tables."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import color

from corruption_cases import check_both_dtypes, coffee, sample_images
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.corruptions.imagenet_c.jpeg import through_jpeg
from noctule.corruptions.loops.imagenet_c.jpeg import steps_of
from noctule.corruptions.loops.imagenet_c.jpeg import through_jpeg as loop_of_jpeg
from oracles.imagenet_c_color import ORACLES

pytestmark = pytest.mark.usefixtures("one_thread")

# By dataset: 224 px, CIFAR (32 px), Tiny-ImageNet (64 px).
TABLES: dict[str, dict[str, tuple[tuple[float, ...], ...]]] = {
    "brightness_c": {
        "change": (
            (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5),
        ),
    },
    "contrast_c": {
        "factor": (
            (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15),
            (0.4, 0.3, 0.2, 0.1, 0.05),
        ),
    },
    "saturate": {
        "factor": (
            (0.3, 0.1, 2.0, 5.0, 20.0), (0.3, 0.1, 1.5, 2.0, 2.5), (0.3, 0.1, 2.0, 5.0, 30.0),
        ),
        "added": ((0.0, 0.0, 0.0, 0.1, 0.2),) * 3,
    },
    "pixelate_c": {
        "share": (
            (0.6, 0.5, 0.4, 0.3, 0.25), (0.95, 0.9, 0.85, 0.75, 0.65),
            (0.9, 0.8, 0.7, 0.6, 0.5),
        ),
    },
    "jpeg_compression": {
        "quality": ((25, 18, 15, 10, 7), (80, 65, 58, 50, 40), (65, 58, 50, 40, 25)),
    },
}  # fmt: skip
SIDES = (224, 32, 64)
each_table = pytest.mark.parametrize(
    ("name", "dataset"), [(name, dataset) for name in TABLES for dataset in range(3)]
)


def at_severities(name: str, dataset: int) -> list[dict[str, float]]:
    """The parameters of each severity."""
    tables = {key: values[dataset] for key, values in TABLES[name].items()}
    return [{key: row[severity - 1] for key, row in tables.items()} for severity in SEVERITIES]


def cases(side: int) -> torch.Tensor:
    """Images, a ramp of grays, and colours that are nearly gray or nearly black."""
    images = sample_images(5, side, side)
    ramp = (torch.arange(side * side) % 256).to(torch.uint8).view(1, 1, side, side)
    near = (images[1:2] % 3) + ramp.clamp(max=253)
    return torch.cat([images, ramp.expand(1, 3, -1, -1), near, images[1:2] % 4])


@pytest.mark.parametrize("name", TABLES)
def test_the_table_for_224_px(name: str) -> None:
    for severity, values in zip(SEVERITIES, at_severities(name, 0), strict=True):
        drawn = CORRUPTIONS[name].sample([0], severity=severity)
        assert {key: value.item() for key, value in drawn.items()} == values


@each_table
def test_the_tables_of_all_datasets(name: str, dataset: int) -> None:
    images = cases(SIDES[dataset])
    corruption = CORRUPTIONS[name].with_tables(
        {key: values[dataset] for key, values in TABLES[name].items()}
    )
    for severity, values in zip(SEVERITIES, at_severities(name, dataset), strict=True):
        wanted = np.stack(
            [ORACLES[name].image(image.to(torch.int64).numpy(), **values) for image in images]
        )
        check_both_dtypes(corruption, images, severity, wanted)


# ------------------------------------------------------------------------------- released mode


def released_code(name: str, image: NDArray[np.uint8], **values: Any) -> NDArray[np.uint8]:
    """What the released code does to one image (height, width, 3): in float64, truncated."""
    pixels = image / 255.0
    if name == "contrast_c":
        mean = pixels.mean(axis=(0, 1), keepdims=True)
        pixels = (pixels - mean) * values["factor"] + mean
    else:
        hsv = color.rgb2hsv(pixels)
        if name == "brightness_c":
            hsv[..., 2] = np.clip(hsv[..., 2] + values["change"], 0, 1)
        else:
            hsv[..., 1] = np.clip(hsv[..., 1] * values["factor"] + values["added"], 0, 1)
        pixels = color.hsv2rgb(hsv)
    result: NDArray[np.uint8] = np.uint8(np.clip(pixels, 0, 1) * 255)  # type: ignore[assignment]
    return result


@pytest.mark.parametrize("dataset", range(3))
@pytest.mark.parametrize("name", ["brightness_c", "contrast_c", "saturate"])
def test_released_mode_truncates_as_the_released_code(name: str, dataset: int) -> None:
    """Whole results of contrast, which float64 may miss by its last bit, may be higher."""
    images = cases(SIDES[dataset])
    corruption = CORRUPTIONS[name]
    released = corruption.in_mode("released")
    for values in at_severities(name, dataset):
        result = released(images, **values).numpy()
        theirs = np.stack(
            [released_code(name, image.permute(1, 2, 0).numpy(), **values) for image in images]
        ).transpose(0, 3, 1, 2)
        higher = result.astype(int) - theirs
        assert set(np.unique(higher)) <= ({0, 1} if name == "contrast_c" else {0})
        wanted = np.stack(
            [ORACLES[name].image(image.to(torch.int64).numpy(), **values) for image in images]
        )
        assert (np.abs(wanted - wanted.round())[higher == 1] < 1e-4).all()
        if name == "contrast_c":
            assert (result == np.floor(wanted + 1e-4)).mean() > 0.9999
        exact = images / 255
        assert released(exact, **values).equal(
            corruption(exact, ids=range(len(exact)), **values)
        )


@pytest.mark.parametrize("name", ["brightness_c", "saturate"])
def test_released_mode_is_the_released_code_on_all_colours(name: str) -> None:
    """Every third level of each channel: ties, grays, black and white, all six sectors."""
    levels = torch.arange(0, 256, 3, dtype=torch.uint8)
    colors = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"))
    image = colors.view(3, len(levels), -1)
    for values in at_severities(name, 0):
        (result,) = CORRUPTIONS[name].in_mode("released")(image[None], **values)
        theirs = released_code(name, image.permute(1, 2, 0).numpy(), **values)
        assert np.array_equal(result.permute(1, 2, 0).numpy(), theirs)


def test_published_brightness_of_one_channel_is_that_of_gray() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for values in at_severities("brightness_c", 0):
        released = CORRUPTIONS["brightness_c"].in_mode("released")
        color_ = released(grey.expand(-1, 3, -1, -1), **values)
        assert released(grey, **values).expand(-1, 3, -1, -1).equal(color_)


def test_jpeg_has_no_modes() -> None:
    assert not CORRUPTIONS["jpeg_compression"].has_modes


# ----------------------------------------------------------------------------------- the pieces


def test_black_becomes_gray_and_grays_become_red() -> None:
    """By hand: black + .2 → 51; gray 100 of saturation .2 → 100, 80, 80."""
    black = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert CORRUPTIONS["brightness_c"](black, change=0.2).unique().tolist() == [51]
    gray = torch.full_like(black, 100)
    red = CORRUPTIONS["saturate"](gray, factor=20.0, added=0.2)
    assert red[0, :, 0, 0].tolist() == [100, 80, 80]
    assert CORRUPTIONS["saturate"](gray, factor=20.0, added=0.0).equal(gray)
    # Saturation (200 − 100) / 200 = ½ becomes 0: all channels at the value.
    color_ = torch.tensor([200, 100, 150], dtype=torch.uint8).view(1, 3, 1, 1)
    color_ = color_.expand(1, 3, 16, 16)
    assert CORRUPTIONS["saturate"](color_, factor=0.0, added=0.0).unique().tolist() == [200]


@pytest.mark.parametrize("value", [1e-45, 1e-38, 1e-31, 1e-20, 1e-6])
def test_nearly_black_float32_does_not_overflow(value: float) -> None:
    images = torch.zeros(1, 3, 16, 16)
    images[:, 0], images[:, 1, 8:], images[:, 2, :, 8:] = value, value, value / 2
    brighter = CORRUPTIONS["brightness_c"](images, change=0.5)
    assert brighter.isfinite().all()
    assert brighter.amax(dim=1).sub(0.5).abs().max() < 1e-5
    if value > 1e-29:  # still a colour: red with half as much blue
        assert (brighter[0, 2, :8, 8:] - 0.25).abs().max() < 1e-5
    redder = CORRUPTIONS["saturate"](images, factor=20.0, added=0.2)
    assert redder.isfinite().all()
    assert redder.max() <= value * (1 + 1e-6)


def with_pillow(image: torch.Tensor, share: float, back: Image.Resampling) -> torch.Tensor:
    """All channels together, as released_code."""
    height, width = image.shape[1:]
    pillow_image = Image.fromarray(image.permute(1, 2, 0).numpy().copy())
    small = (int(width * share), int(height * share))
    result = pillow_image.resize(small, Image.Resampling.BOX).resize((width, height), back)
    return torch.from_numpy(np.asarray(result).transpose(2, 0, 1).copy())


@pytest.mark.parametrize("dataset", range(3))
def test_pixelate_is_within_a_level_of_pillow(dataset: int) -> None:
    """And the same in released mode; a later port's enlarging by NEAREST is no different."""
    side, corruption = SIDES[dataset], CORRUPTIONS["pixelate_c"]
    images = sample_images(5, side, side)
    for values in at_severities("pixelate_c", dataset):
        for back in (Image.Resampling.BOX, Image.Resampling.NEAREST):
            theirs = torch.stack([with_pillow(i, values["share"], back) for i in images])
            assert corruption.in_mode("released")(
                images, ids=range(len(images)), **values
            ).equal(theirs)
            result = corruption(images, ids=range(len(images)), **values)
            assert (result.to(torch.int16) - theirs).abs().max() <= 1
        exact = images / 255
        assert corruption.in_mode("released")(exact, **values).equal(
            corruption(exact, ids=range(len(exact)), **values)
        )


@pytest.mark.parametrize("size", [(97, 61), (48, 80), (17, 31)])
def test_published_pixelate_is_pillows_at_any_size(size: tuple[int, int]) -> None:
    images, released = sample_images(5, *size), CORRUPTIONS["pixelate_c"].in_mode("released")
    shares = [0.95, 0.6, 0.5, 0.3, 0.25]
    result = released(
        images, ids=range(len(images)), share=torch.tensor(shares, dtype=torch.float64)
    )
    for image, share, found in zip(images, shares, result, strict=True):
        assert found.equal(with_pillow(image, share, Image.Resampling.BOX))
    grey = released(images[:, :1], share=torch.tensor(shares, dtype=torch.float64))
    assert grey.equal(result[:, :1])


@pytest.mark.parametrize("share", [0.05, 0.07, 0.1])
def test_pixelate_with_large_blocks(share: float) -> None:
    """Of more pixels than 16 bits hold the sum of: 128 white ones."""
    image = sample_images(1, 48, 80).clamp(min=200)
    wanted = ORACLES["pixelate_c"].image(image[0].to(torch.int64).numpy(), share=share)
    result = CORRUPTIONS["pixelate_c"](image, share=share)[0].numpy()
    assert np.abs(result - wanted).max() <= 0.501


def test_pixelate_to_one_pixel_and_to_all() -> None:
    images = sample_images(5, 48, 80)
    mean = images.double().mean(dim=(2, 3), keepdim=True)
    flat = CORRUPTIONS["pixelate_c"](images, share=0.0)
    assert (flat - mean).abs().max() <= 0.501
    assert CORRUPTIONS["pixelate_c"](images, share=1.0).equal(images)
    exact = CORRUPTIONS["pixelate_c"](images / 255, share=0.0)
    assert (exact * 255 - mean).abs().max() <= 0.002


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [(64, 96), (81, 48), (48, 81)], ids=["none", "down", "across"])
def test_published_pixelate_in_threads(size: tuple[int, int], threads: int) -> None:
    """Where centres are on the border of two blocks in neither direction, or in one."""
    images, released = sample_images(2, *size), CORRUPTIONS["pixelate_c"].in_mode("released")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = released(images, ids=range(len(images)), share=0.3)
    finally:
        torch.set_num_threads(before)
    for image, found in zip(images, result, strict=True):
        assert found.equal(with_pillow(image, 0.3, Image.Resampling.BOX))


def pillow_jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    pixels = image.permute(1, 2, 0).numpy().copy()
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(
        stream, "JPEG", quality=quality
    )
    opened = np.asarray(Image.open(stream)).reshape(pixels.shape)
    return torch.from_numpy(opened.transpose(2, 0, 1).copy())


def loop_jpeg(images: torch.Tensor, qualities: list[int]) -> torch.Tensor:
    result = np.empty_like(images.numpy())
    for image, quality, out in zip(images.numpy(), qualities, result, strict=True):
        loop_of_jpeg(image, steps_of(quality), out)
    return torch.from_numpy(result)


def hard_images(height: int, width: int, channels: int) -> torch.Tensor:
    """Photographs, noise, noise in black and white, and the sharpest of all 64 frequencies."""
    shape = (channels, height, width)
    noise = torch.from_numpy(np.random.default_rng(height * width).integers(0, 256, shape))
    position = (2 * np.arange(max(height, width)) + 1) * np.pi / 16
    waves = np.cos(np.arange(8)[:, None] * position)
    signs = waves[:, None, :height, None] * waves[None, :, None, :width] > 0
    frequencies = torch.from_numpy(255 * signs.reshape(64, 1, height, width))
    return torch.cat([
        sample_images(2, height, width, channels=channels),
        torch.stack([noise, 255 * (noise > 127)]).to(torch.uint8),
        frequencies.to(torch.uint8).expand(64, *shape),
    ])  # fmt: skip


@pytest.mark.parametrize("way", [through_jpeg, loop_jpeg], ids=["kernel", "loop"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows_to_the_bit(
    channels: int, way: Callable[[torch.Tensor, list[int]], torch.Tensor]
) -> None:
    """At every kind of edge of its blocks: of 8 px, and of 16 px for two of the colours."""
    sizes = [(1, 1), (2, 4), (4, 5), (5, 6), (9, 8), (16, 7), (17, 33), (31, 16), (40, 26)]
    for height, width in sizes:
        images = hard_images(height, width, channels)
        for quality in (1, 7, 49, 50, 85, 100):
            result = way(images, [quality] * len(images))
            for image, found in zip(images, result, strict=True):
                assert found.equal(pillow_jpeg(image, quality)), (height, width, quality)


@pytest.mark.parametrize("way", [through_jpeg, loop_jpeg], ids=["kernel", "loop"])
def test_jpeg_at_every_quality(
    way: Callable[[torch.Tensor, list[int]], torch.Tensor],
) -> None:
    qualities = [*range(1, 101)]
    images = sample_images(1, 40, 40, channels=3).expand(100, -1, -1, -1)
    for found, quality in zip(way(images, qualities), qualities, strict=True):
        assert found.equal(pillow_jpeg(images[0], quality)), quality


def test_jpeg_of_an_empty_batch() -> None:
    images = torch.zeros(0, 3, 16, 16, dtype=torch.uint8)
    assert through_jpeg(images, []).equal(images)


@pytest.mark.parametrize("off", [-0.4, 0.4])
def test_jpeg_rounds_float32_to_bytes(off: float) -> None:
    images = coffee()[None, :, :64, :64]
    between = (images / 255 + off / 255).clamp(0, 1)
    for quality in (7, 80):
        result = CORRUPTIONS["jpeg_compression"](between, quality=quality) * 255
        wanted = CORRUPTIONS["jpeg_compression"](images, quality=quality)
        assert result.round().to(torch.uint8).equal(wanted)
