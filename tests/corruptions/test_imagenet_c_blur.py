"""The blurs of ImageNet-C: released mode, other datasets' tables, and values by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corruption_cases import coffee, sample_images
from noctule import corrupt
from noctule.corruptions import CORRUPTIONS
from noctule.corruptions.imagenet_c.blur import scaled, zoom_factors
from noctule.corruptions.imagenet_c.glass import _copied, _others, _swapped
from noctule.corruptions.imagenet_c.motion import (
    line_offsets,
    line_weights,
)
from noctule.sampling import Stream
from oracles.imagenet_c_blur import ORACLES, truncated
from oracles.threefry import WordStream

pytestmark = pytest.mark.usefixtures("one_thread")

BLURS = ["defocus_blur", "gaussian_blur", "glass_blur", "zoom_blur"]
# The tables for 32 px and for 64 px, from the released code; lengths in pixels of the image.
CIFAR = {
    "defocus_blur": {"radius_px": [0.3, 0.4, 0.5, 1, 1.5],
                     "edge_sigma": [0.4, 0.5, 0.6, 0.2, 0.1]},
    "gaussian_blur": {"sigma_px": [0.4, 0.6, 0.7, 0.8, 1]},
    "glass_blur": {"sigma_px": [0.05, 0.25, 0.4, 0.25, 0.4],
                   "reach_px": [1, 1, 1, 1, 1], "iterations": [1, 1, 1, 2, 2]},
    "zoom_blur": {"largest": [1.06, 1.11, 1.15, 1.2, 1.25], "step": [0.01] * 5},
}  # fmt: skip
TINY = {
    "defocus_blur": {"radius_px": [0.5, 1, 1.5, 2.5, 3],
                     "edge_sigma": [0.6, 0.1, 0.1, 0.01, 0.1]},
    "gaussian_blur": {"sigma_px": [0.5, 0.75, 1, 1.25, 1.5]},
    "glass_blur": {"sigma_px": [0.1, 0.5, 0.6, 0.7, 0.9],
                   "reach_px": [1, 1, 1, 2, 2], "iterations": [1, 1, 2, 1, 2]},
    "zoom_blur": CIFAR["zoom_blur"],
}  # fmt: skip


def of_224_px(tables: dict[str, list[float]], side_px: int) -> dict[str, list[float]]:
    """Lengths as multiples of the side, as the benchmarks' files give them."""
    factors = {name: 224 / side_px if name.endswith("_px") else 1 for name in tables}
    return {name: [v * factors[name] for v in values] for name, values in tables.items()}


def expected(
    name: str, image: torch.Tensor, parameters: dict[str, Any], number: int
) -> NDArray[np.float64]:
    """What the slow form gives for one of the images."""
    drawn = {
        key: WordStream(tuple(word % 2**32 for word in value.keys[number].tolist()))
        if isinstance(value, Stream)
        else value[number].item()
        for key, value in parameters.items()
    }
    pixels = image.to(torch.int64).numpy()
    return ORACLES[name].image(pixels, released=True, **drawn)


def compare_released(
    name: str, images: torch.Tensor, severity: int, tables: dict[str, list[float]] | None = None
) -> None:
    corruption = CORRUPTIONS[name].in_mode("released").with_tables(tables or {})
    parameters = corruption.sample(range(len(images)), severity=severity)
    result = corruption(images, ids=range(len(images)), severity=severity).numpy()
    for number, image in enumerate(images):
        off = np.abs(result[number] - truncated(expected(name, image, parameters, number)))
        # Where the last bits decide what is truncated.
        assert (off > 0).mean() < 0.002
        assert off.max() <= 1


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", BLURS)
def test_released_mode_at_the_published_size(name: str, severity: int) -> None:
    compare_released(name, coffee()[None], severity)


@pytest.mark.parametrize("size", [(32, 48), (97, 61), (16, 16)])
@pytest.mark.parametrize("name", BLURS)
def test_released_mode_at_other_sizes(name: str, size: tuple[int, int]) -> None:
    for severity in (1, 5):
        compare_released(name, sample_images(3, *size), severity)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", BLURS)
def test_the_tables_of_smaller_datasets(name: str, severity: int) -> None:
    for side_px, tables in ((32, CIFAR[name]), (64, TINY[name])):
        images = sample_images(3, side_px, side_px)
        compare_released(name, images, severity, of_224_px(tables, side_px))


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "zoom_blur"])
def test_released_mode_does_not_truncate_float32(name: str) -> None:
    images = sample_images(2, 97, 61)
    corruption = CORRUPTIONS[name].in_mode("released")
    result = corruption(images / 255, ids=range(len(images)), severity=5) * 255
    parameters = corruption.sample(range(2), severity=5)
    for number, image in enumerate(images):
        off = np.abs(result[number].numpy() - expected(name, image, parameters, number))
        assert off.max() < 0.002


def test_lengths_given_as_multiples_come_back_exactly() -> None:
    for side_px in (32, 64, 96, 299):
        images = torch.empty(0, 1, side_px, side_px + 5)
        for tenths in range(1, 200):
            assert scaled(tenths / 10 * 224 / side_px, images) == tenths / 10


# --------------------------------------------------------------------------------- defocus_blur


@pytest.mark.parametrize(
    ("severity", "share"),
    [
        (3, 0.0),
        # The outermost row of the disc of radius 8 has 1 pixel, the next one 7. Reflection at
        # the former adds the weight of 7 and drops that of 1, on 4 sides of 197 pixels.
        (4, 4 * (7 - 1) * math.exp(-2) / (1 + 2 * math.exp(-2)) / 197),
        # Of radius 10: 1, 9 and 13 pixels, and a second tap to each side. Outermost row: the
        # first tap finds 9 for 0, the second 13 for 0, and loses 1 and (twice) 1 and 9 outside;
        # the row before: the second tap finds 9 for 0.
        (
            5,
            4
            * ((9 - 1) * math.exp(-2) + (13 + 9 - 1 - 9) * math.exp(-8))
            / (1 + 2 * math.exp(-2) + 2 * math.exp(-8))
            / 317,
        ),
    ],
)
def test_large_published_discs_brighten(severity: int, share: float) -> None:
    flat = torch.full((1, 1, 224, 224), 100 / 255)
    assert (
        corrupt(flat, "defocus_blur", ids=range(len(flat)), severity=severity)
        .sub(flat)
        .abs()
        .max()
        < 1e-6
    )
    brighter = (
        corrupt(flat, "defocus_blur", ids=range(len(flat)), severity=severity, mode="released")
        / flat
    )
    assert brighter.sub(1 + share).abs().max() < 1e-5


def test_a_small_disc_by_hand() -> None:
    """At 32 px a radius of 1 is a cross of 5 pixels; its corners get e^-12.5 of their arms."""
    image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    image[0, 0, 10, 20] = 255
    result = corrupt(
        image, "defocus_blur", ids=range(len(image)), radius_px=7.0, edge_sigma=0.2
    )[0, 0]
    cross = torch.zeros(32, 32, dtype=torch.uint8)
    cross[9:12, 20] = cross[10, 19:22] = 51
    assert result.equal(cross)


def test_large_discs_on_large_images() -> None:
    """A radius of 130 px, where rows of the disc leave 16 bits."""
    image = sample_images(1, 520, 530, channels=1)
    image[:, :, :300] = 255
    exact = ORACLES["defocus_blur"].image(image[0].numpy(), radius_px=56.0, edge_sigma=0.5)
    for given, scale in ((image, 1), (image / 255, 255)):
        result = (
            corrupt(
                given, "defocus_blur", ids=range(len(given)), radius_px=56.0, edge_sigma=0.5
            )[0]
            * scale
        )
        assert np.abs(result.numpy() - exact).max() < 0.505


# ------------------------------------------------------------------------------------ zoom_blur


@pytest.mark.parametrize(
    ("stop", "step", "largest", "number"),
    [
        (1.11, 0.01, 1.11, 12),
        (1.16, 0.01, 1.15, 16),
        (1.21, 0.02, 1.2, 11),
        (1.26, 0.02, 1.24, 13),
        (1.31, 0.03, 1.3, 11),
        (1.06, 0.01, 1.06, 7),
        (1.21, 0.01, 1.2, 21),
        (1.26, 0.01, 1.25, 26),
    ],
)
def test_zoom_factors_are_those_of_the_released_ranges(
    stop: float, step: float, largest: float, number: int
) -> None:
    released = np.arange(1, stop, step).tolist()
    assert len(released) == number
    assert zoom_factors(largest, step) == released


def test_released_mode_counts_the_image_twice() -> None:
    image = sample_images(1, 64, 64)
    layers = [
        corrupt(image / 255, "zoom_blur", ids=range(len(image)), largest=z, step=0.5)
        for z in (1.0, 1.5)
    ]
    assert layers[0].equal(image / 255)
    twice = corrupt(
        image / 255, "zoom_blur", ids=range(len(image)), largest=1.5, step=0.5, mode="released"
    )
    # The second one is the mean of two layers.
    assert (twice - (layers[0] + 2 * layers[1]) / 3).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loop_agrees_where_columns_repeat(channels: int, dtype: torch.dtype) -> None:
    """Three and more successive pixels have the same first column at factors above two."""
    blur = CORRUPTIONS["zoom_blur"]
    images = sample_images(2, 33, 130, channels=channels, dtype=dtype)
    for largest, step in ((1.9, 0.3), (2.1, 0.3), (4.0, 0.3)):
        drawn = blur.draw(range(2), 0, None)
        drawn.values[:] = np.array([largest, step])
        found = blur(images, ids=range(2), largest=largest, step=step)
        assert found.equal(blur.apply_kernel(images, drawn)), largest


# ---------------------------------------------------------------------------------- motion_blur


def test_a_line_by_hand() -> None:
    """5 pixels at 30°, half as far down as to the right; halves go up and to the left."""
    weights = line_weights(2.0, 1.0)
    assert sum(weights) == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(math.exp(-2))
    down, right = line_offsets(len(weights), torch.tensor([30.0, -90.0]))
    assert down.tolist() == [[0, 0, 1, 1, 2], [0, -1, -2, -3, -4]]
    assert right.tolist() == [[0, 1, 2, 3, 3], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(("side_px", "pixels"), [(224, 21), (448, 41), (32, 3), (16, 3)])
def test_the_line_grows_with_the_image(side_px: int, pixels: int) -> None:
    image = torch.zeros(1, 1, side_px, side_px)
    image[0, 0, 5, -1] = 1
    blurred = corrupt(
        image,
        "motion_blur",
        ids=range(len(image)),
        radius_px=10.0,
        sigma_px=224.0,
        angle_deg=0.0,
    )
    assert int((blurred[0, 0, 5] > 0).sum()) == pixels
    # What lies beyond the edge repeats it: all of the last line but its first pixel.
    assert blurred[0, 0, 5, -1].item() == pytest.approx(1)


# ----------------------------------------------------------------------------------- glass_blur


def every_pixel(iterations: int, side_px: int = 64) -> torch.Tensor:
    generator, shape = np.random.default_rng(5), (2, iterations, side_px, side_px)
    return torch.from_numpy(generator.integers(0, 65536, shape, dtype=np.int32))


def displacement(source: torch.Tensor, margin: int) -> NDArray[np.float64]:
    """How far the pixels came, far from the border: rows and columns."""
    side_px = source.shape[-1]
    rows, columns = np.indices((side_px, side_px))
    found = [source.numpy() // side_px - rows, source.numpy() % side_px - columns]
    inner = slice(margin, side_px - margin)
    return np.stack(found)[:, :, inner, inner].reshape(2, -1)  # type: ignore[return-value]


@pytest.mark.parametrize("side", [3, 4, 5, 6, 9])
def test_every_pixel_of_the_square_is_as_likely(side: int) -> None:
    bits = torch.arange(65536, dtype=torch.int32).view(1, 256, 256)
    reach = side // 2
    moved = _others(bits, reach, side) - torch.arange(65536).view(1, 256, 256)
    offsets, counts = moved.unique(return_counts=True)
    wanted = {row * 256 + column for row in range(side) for column in range(side)}
    assert {offset + reach * 257 for offset in offsets.tolist()} == wanted
    assert set(counts.tolist()) <= {65536 // side**2, 65536 // side**2 + 1}


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_swaps_only_swap(reach: int) -> None:
    for source in _swapped(every_pixel(2), reach):
        assert source.flatten().sort().values.equal(torch.arange(64 * 64))


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_swaps_move_pixels_as_far_as_row_by_row_and_nowhere_in_particular(reach: int) -> None:
    ours = displacement(_swapped(every_pixel(2, 128), reach), 16)
    assert np.abs(ours.mean(axis=1)).max() < 0.05 * reach
    generator, place = random.Random(0), list(range(128**2))
    for _ in range(2):
        for row in range(127 - reach, reach - 1, -1):
            for column in range(127 - reach, reach - 1, -1):
                here = row * 128 + column
                there = here + generator.randint(-reach, reach) * 128
                there += generator.randint(-reach, reach)
                place[here], place[there] = place[there], place[here]
    theirs = displacement(torch.tensor(place).view(1, 128, 128), 16)
    assert ours.std(axis=1) == pytest.approx(theirs.std(axis=1), rel=0.06)


def test_published_copies_drift() -> None:
    """A reach of 1 meets four pixels, half of them above and half to the left: never later."""
    source = _copied(every_pixel(1), 1)
    rows, columns = displacement(source, 8)
    assert set(rows.tolist()) == set(columns.tolist()) == {-1, 0}
    assert (rows.mean(), columns.mean()) == pytest.approx((-0.5, -0.5), abs=0.03)
    assert len(source[0].unique()) < 0.8 * 64 * 64  # copies, not swaps


def test_what_is_too_near_the_border_stays() -> None:
    image = sample_images(1, 32, 32)
    # Without a blur, as at the first severity for 32 px; the reach is 2 px.
    settings = {"sigma_px": 0.05, "reach_px": 14.0, "iterations": 1}
    swapped = corrupt(image, "glass_blur", ids=range(len(image)), **settings)
    assert swapped.flatten(2).sort().values.equal(image.flatten(2).sort().values)
    assert not swapped.equal(image)
    copied = corrupt(image, "glass_blur", ids=range(len(image)), mode="released", **settings)
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[3:31, 3:31] = False  # all but those from reach + 1 to 32 − reach
    assert copied[..., frame].equal(image[..., frame])
    assert not copied[..., 3, :].equal(image[..., 3, :])
    assert not copied[..., 30, :].equal(image[..., 30, :])
