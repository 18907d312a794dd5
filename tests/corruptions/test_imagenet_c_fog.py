"""Fog: its two modes, what can be derived by hand, and the released code's distribution."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corruption_cases import of_image, sample_images
from imagenet_c_peers import peer_functions
from noctule.corruptions import CORRUPTIONS, corrupt
from oracles.imagenet_c_weather import diamond_square, fog, steps_of
from oracles.threefry import WordStream

FOG = CORRUPTIONS["fog"]
CIFAR = {"intensity": (0.2, 0.5, 0.75, 1, 1.5), "wibble_decay": (3, 3, 2.5, 2, 1.75)}


def test_published_cuts_off() -> None:
    images = sample_images(3, 48, 80)
    released = FOG.in_mode("released")(images, ids=range(len(images)), severity=3).numpy()
    drawn = FOG.sample(range(3), severity=3)
    exact = np.stack(
        [fog(x.numpy().astype(int), **of_image(drawn, n)) for n, x in enumerate(images)]
    )
    # Where the exact value is whole, the last bit decides.
    assert (released != np.floor(exact)).mean() < 0.001
    assert np.abs(released - np.floor(exact)).max() <= 1


def test_published_float32_is_not_cut_off() -> None:
    images = sample_images(3, 48, 80, dtype=torch.float32)
    assert FOG.in_mode("released")(images, ids=range(len(images))).equal(
        FOG(images, ids=range(len(images)))
    )


@pytest.mark.parametrize("gray", [10, 100, 255])
def test_the_densest_fog_is_as_bright_as_the_image(gray: int) -> None:
    """With M = the image's maximum, (M + c · 1) · M / (M + c) = M; without fog M² / (M + c)."""
    images = torch.full((4, 3, 64, 64), gray, dtype=torch.uint8)  # all of the map is shown
    result = corrupt(images, "fog", ids=range(len(images)), intensity=2.0)
    assert (result.amax(dim=(1, 2, 3)) == gray).all()
    thinnest = round(gray * gray / (gray + 2 * 255))
    assert (result.amin(dim=(1, 2, 3)) == thinnest).all()
    assert result[:, 0].equal(result[:, 1])
    assert result[:, 0].equal(result[:, 2])


def test_black_stays_black() -> None:
    black = torch.zeros(1, 3, 32, 32)
    assert corrupt(black, "fog", ids=range(len(black))).equal(black)
    assert corrupt(black, "fog", ids=range(len(black)), intensity=0.0).equal(black)


def test_no_intensity_changes_nothing() -> None:
    images = sample_images(3, 32, 32)
    assert corrupt(images, "fog", ids=range(len(images)), intensity=0.0).equal(images)


@pytest.mark.parametrize("severity", [1, 5])
def test_the_tables_of_cifar(severity: int) -> None:
    cifar = FOG.with_tables(CIFAR)
    images = sample_images(5, 32, 32)
    change = (
        (cifar(images, ids=range(len(images)), severity=severity).double() - images)
        .abs()
        .mean()
    )
    harder = (
        (FOG(images, ids=range(len(images)), severity=severity).double() - images).abs().mean()
    )
    assert 0 < change < harder


def released_code() -> ModuleType:
    peer_functions("imgcorr")
    return sys.modules["imgcorr.corruptions"]


def features(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each map: mean, spread, and steps over 1, 4 and 16 pixels."""
    steps = [np.abs(maps - np.roll(maps, lag, axis=2)).mean(axis=(1, 2)) for lag in (1, 4, 16)]
    return np.stack([maps.mean(axis=(1, 2)), maps.std(axis=(1, 2)), *steps], axis=1)


@pytest.mark.parametrize("decay", [1.4, 2.0, 3.0])
def test_maps_are_distributed_as_the_released_codes(decay: float) -> None:
    count, side = 400, 64
    plasma_fractal = released_code().plasma_fractal
    np.random.seed(0)
    theirs = features(np.stack([plasma_fractal(side, decay) for _ in range(count)]))
    white = torch.ones(count, 1, side, side)
    # (1 + c · height) / (1 + c)
    ours = features(
        2
        * corrupt(white, "fog", ids=range(len(white)), intensity=1.0, wibble_decay=decay)[:, 0]
        .double()
        .numpy()
        - 1
    )
    error = np.sqrt((theirs.var(axis=0) + ours.var(axis=0)) / count)
    assert (np.abs(theirs.mean(axis=0) - ours.mean(axis=0)) < 4 * error).all()
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.25)


def test_the_slow_form_is_the_released_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same numbers in the order in which it draws them, the maps are the same."""
    side, decay, plasma = 128, 1.7, WordStream((1, 2))
    chances, drawn = np.array(steps_of(side, plasma)), [1]

    def uniform(low: float, high: float, shape: tuple[int, int]) -> NDArray[np.float64]:
        assert low == -high
        first = drawn[0]
        drawn[0] += shape[0] * shape[1]
        return high * chances[first : drawn[0]].reshape(shape)

    monkeypatch.setattr(np.random, "uniform", uniform)
    theirs = released_code().plasma_fractal(side, decay)
    assert drawn == [side**2]
    assert diamond_square(side, decay, plasma) == pytest.approx(theirs, abs=1e-9)
