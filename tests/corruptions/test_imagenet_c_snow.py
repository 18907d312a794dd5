"""The snow of ImageNet-C: released mode, other datasets' tables, and values by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corruption_cases import coffee, sample_images
from noctule import corrupt
from noctule.corruptions import CORRUPTIONS
from noctule.sampling import Stream
from oracles.imagenet_c_blur import ORACLES, truncated
from oracles.threefry import WordStream

# The table for 32 px, from the released code; lengths in pixels of the image.
CIFAR: dict[str, Any] = {
    "mean": [0.1, 0.1, 0.15, 0.25, 0.3],
    "deviation": [0.2, 0.2, 0.3, 0.3, 0.3],
    "flake_px": [1, 1, 1.75, 2.25, 1.25],
    "threshold": [0.6, 0.5, 0.55, 0.6, 0.65],
    "radius_px": [8, 10, 10, 12, 14],
    "sigma_px": [3, 4, 4, 6, 12],
    "image_share": [0.95, 0.9, 0.9, 0.85, 0.8],
}
pytestmark = pytest.mark.usefixtures("one_thread")

NO_FLAKES = {"mean": -10.0, "deviation": 0.0}


def compare_released(
    images: torch.Tensor, severity: int, tables: dict[str, list[float]] | None = None
) -> None:
    corruption = CORRUPTIONS["snow"].in_mode("released").with_tables(tables or {})
    parameters = corruption.sample(range(len(images)), severity=severity)
    result = corruption(images, ids=range(len(images)), severity=severity).numpy()
    for number, image in enumerate(images):
        drawn = {
            key: WordStream(tuple(word % 2**32 for word in value.keys[number].tolist()))
            if isinstance(value, Stream)
            else value[number].item()
            for key, value in parameters.items()
        }
        pixels = image.to(torch.int64).numpy()
        exact = ORACLES["snow"].image(pixels, released=True, **drawn)
        off = np.abs(result[number] - truncated(exact))
        assert (off > 0).mean() < 0.005  # where the last bits decide what is truncated
        assert off.max() <= 2  # two layers, rounded


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_released_mode_at_the_published_size(severity: int) -> None:
    compare_released(coffee()[None], severity)


@pytest.mark.parametrize("size", [(32, 48), (97, 61), (16, 16), (330, 301)])
def test_released_mode_at_other_sizes(size: tuple[int, int]) -> None:
    for severity in (1, 5):
        compare_released(sample_images(2, *size), severity)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_tables_for_32_px(severity: int) -> None:
    tables = {
        name: [value * 7 for value in values] if name.endswith("_px") else values
        for name, values in CIFAR.items()
    }
    compare_released(sample_images(3, 32, 32), severity, tables)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_without_flakes_the_image_is_bleached(mode: str) -> None:
    """Grey is .299 · 200 + .587 · 100 + .114 · 50 = 124.2, and 1.5 · grey + 127.5 is 313.8."""
    image = (
        torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(-1, -1, 16, 16)
    )
    result = corrupt(
        image, "snow", ids=range(len(image)), mode=mode, image_share=0.75, **NO_FLAKES
    )
    # .75 · 200 + .25 · 313.8 = 228.45, and so on.
    assert result[0, :, 0, 0].tolist() == [228, 153, 115 if mode == "released" else 116]


def test_the_layer_is_added_upside_down_too() -> None:
    black = torch.zeros(1, 1, 64, 80)
    snow = corrupt(black, "snow", ids=range(len(black)), severity=1, image_share=1.0)
    assert snow.max() > 0.3
    assert snow.equal(snow.flip(2, 3))


def test_flakes_are_threshold_to_one_and_as_many_as_the_noise_has() -> None:
    """Unblurred, not magnified, and for N(0.5, 1): 0 below .75, 40 % of it; 1 above 1, 31 %."""
    black = torch.zeros(64, 1, 64, 64)
    settings = {
        "mean": 0.5,
        "deviation": 1.0,
        "threshold": 0.75,
        "flake_px": 1.0,
        "image_share": 1.0,
    }
    one = corrupt(black, "snow", ids=range(len(black)), sigma_px=0.0, **settings)
    halves = one[:, 0, :32].flatten()  # a layer and another, upside down, that is independent
    dark, bright = 0.5987, 0.3085  # Φ(.25) and 1 − Φ(.5)
    assert (halves == 0).double().mean().item() == pytest.approx(dark**2, abs=0.005)
    assert (halves == 1).double().mean().item() == pytest.approx(
        1 - (1 - bright) ** 2 + (1 - dark - bright) ** 2, abs=0.005
    )
    between = halves[(halves > 0) & (halves < 1)]
    assert between.min() >= 0.745


def test_streaks_fall() -> None:
    """The change along the columns is smaller than across, at a tilt of 0."""
    black = torch.zeros(4, 1, 128, 128)
    snow = corrupt(black, "snow", ids=range(len(black)), severity=5, tilt_deg=0.0)
    down, across = (snow.diff(dim=dim).abs().mean().item() for dim in (2, 3))
    assert down < 0.3 * across
    # A positive tilt leans to the right: what is above is further to the right.
    for tilt in (-45.0, 45.0):
        snow = corrupt(black, "snow", ids=range(len(black)), severity=5, tilt_deg=tilt)
        below, above = snow[..., 5:, 5:-5], snow[..., :-5, :]
        with_it, against = above[..., 10:], above[..., :-10]
        if tilt < 0:
            with_it, against = against, with_it
        assert (below - with_it).abs().mean() < 0.8 * (below - against).abs().mean()
