"""Spatter: every stage against OpenCV, the whole against the released code, the two modes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from corruption_cases import coffee, of_image, sample_images
from imagenet_c_peers import peer_functions
from noctule.corruptions import CORRUPTIONS, corrupt
from noctule.corruptions.imagenet_c import spatter as stages
from noctule.corruptions.imagenet_c.canny import canny
from noctule.corruptions.imagenet_c.distance import chamfer_distance
from noctule.corruptions.imagenet_c.smooth_noise import (
    DEVIATION,
    MOST,
    small_noise,
    smooth_noise,
)
from noctule.sampling import Stream, image_keys, key_of
from oracles import imagenet_c_weather as slow
from oracles import smooth_noise as exact
from oracles.threefry import WordStream

SPATTER = CORRUPTIONS["spatter"]
CIFAR = {
    "mean": (0.62, 0.65, 0.65, 0.65, 0.65),
    "spread_px": (0.7, 0.7, 2.1, 0.7, 0.7),
    "sigma_px": (4.9, 5.6, 7.0, 4.9, 3.5),
    "threshold": (0.7, 0.7, 0.69, 0.69, 0.68),
    "intensity": (0.5, 0.5, 0.5, 0, 0),
    "mud_sigma_px": (0, 0, 0, 4.2, 4.2),
}
# Side, spread, sigma and threshold of the released programs' water, and noise to the brim.
WATERS = [
    (224, 0.3, 4, 0.69), (224, 0.3, 2, 0.68), (32, 0.1, 0.7, 0.7), (32, 0.3, 1, 0.69),
    (64, 0.1, 0.8, 0.7), (100, 0.3, 0.5, 0.6), (97, 0.5, 1.5, 0.1),
]  # fmt: skip

Bytes = NDArray[np.uint8]


def water(side: int, spread: float, sigma: float, threshold: float, number: int) -> Bytes:
    noise = np.random.default_rng(number).normal(0.65, spread, (side, side + 9))
    depth = ndimage.gaussian_filter(noise, sigma, mode="nearest")
    level: Bytes = (np.where(depth < threshold, 0, depth).clip(0, 1) * 255).astype(np.uint8)
    return level


def plane(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int16))[None]


@pytest.mark.parametrize(("side", "spread", "sigma", "threshold"), WATERS)
def test_edges_are_opencvs(side: int, spread: float, sigma: float, threshold: float) -> None:
    levels = [water(side, spread, sigma, threshold, number) for number in range(8)]
    theirs = np.stack([cv2.Canny(level, 50, 150) // 255 for level in levels])
    ours = canny(torch.cat([plane(level) for level in levels]), 50, 150)
    assert ours.numpy().tolist() == theirs.tolist()
    assert 0.005 < theirs.mean() < 0.6


@pytest.mark.parametrize(("low", "high"), [(20, 400), (10, 900), (200, 201)])
def test_long_weak_edges_are_followed(low: int, high: int) -> None:
    ramp = np.add.outer(np.arange(120), np.arange(80) ** 2 // 40) // 3
    level = np.where(
        ndimage.gaussian_filter(water(120, 0.5, 2, 0.6, 1)[:, :80], 1) > 90, ramp, 0
    )
    level[60:, 40] = 255
    theirs = cv2.Canny(level.astype(np.uint8), low, high) // 255
    assert canny(plane(level), low, high)[0].numpy().tolist() == theirs.tolist()
    assert theirs.any()


@pytest.mark.parametrize("side", [16, 61, 224])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.3])
def test_distances_are_opencvs(side: int, share: float) -> None:
    marks = np.random.default_rng(side).random((side, side + 5)) < share
    theirs = cv2.distanceTransform(np.uint8(255) - 255 * marks.astype(np.uint8), cv2.DIST_L2, 5)
    ours = chamfer_distance(plane(marks))[0].numpy() / 1000
    assert ours == pytest.approx(np.minimum(theirs, 20), abs=0.002)


def test_distances_do_not_cross_the_borders() -> None:
    """A mark at the end of a row is far from the beginning of the next."""
    marks = torch.zeros(2, 64, 48, dtype=torch.int16)
    marks[0, 30, 47] = 1
    distance = chamfer_distance(marks)
    assert (distance[0, :, :20] == 20_000).all()
    assert (distance[1] == 20_000).all()


def test_the_later_stages_are_opencvs() -> None:
    rng = np.random.default_rng(0)
    for most in (0, 1, 2, 20):
        whole = ndimage.uniform_filter(rng.integers(0, most + 1, (50, 60)), 3).astype(np.uint8)
        equal = cv2.equalizeHist(whole)
        assert stages._equalized(plane(whole))[0].numpy().tolist() == equal.tolist()
        # An odd number of pixels, none of which is 0.
        above = rng.integers(1, most + 2, (7, 9)).astype(np.uint8)
        odd = stages._equalized(plane(above))[0].numpy()
        assert np.abs(odd - cv2.equalizeHist(above).astype(int)).max() <= 1  # ties
        noise = rng.integers(0, 256, (50, 60)).astype(np.uint8)
        kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
        relief = cv2.filter2D(noise, cv2.CV_8U, kernel)
        assert stages._embossed(plane(noise))[0].numpy().tolist() == relief.tolist()
        mean = cv2.blur(noise, (3, 3))
        ours = stages.sum_of_nine(plane(noise)).to(torch.float32).div(9).round()  # type: ignore[attr-defined]
        assert ours[0].numpy().tolist() == mean.tolist()


SIGMAS_PX = [0.0, 0.1, 0.2, 0.5, 0.7, 1.0, 1.3, 2.0, 3.0, 4.0, 6.0, 6.1, 9.0]


@pytest.mark.parametrize("sigma_px", SIGMAS_PX)
def test_smooth_noise(sigma_px: float) -> None:
    """As its definition gives it, and nearly what SciPy makes of the same noise.

    Off by a hundredth or two of the deviation.
    """
    stream = Stream(image_keys(key_of("smooth noise"), range(8)))
    drawn = small_noise(stream, 120 * 90).view(-1, 120, 90)
    ours = smooth_noise(drawn, sigma_px)[:, 0].double().numpy()
    words = [WordStream((key[0] % 2**32, key[1] % 2**32)) for key in stream.keys.tolist()]
    defined = np.stack([exact.smooth_noise(word, 120, 90, sigma_px) for word in words])
    assert ours == pytest.approx(defined, rel=1e-5, abs=1e-6)
    noise = np.stack([exact.noise_of(word, 120, 90) for word in words]) / DEVIATION
    theirs = ndimage.gaussian_filter(noise, (0, sigma_px, sigma_px), mode="nearest")
    off = np.abs(ours - theirs) / theirs.std()
    assert np.sqrt((off**2).mean()) < 0.025
    assert off.max() < 0.2
    assert ours.std() == pytest.approx(theirs.std(), rel=0.01)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01 * theirs.std())


@pytest.mark.parametrize("sigma_px", [*SIGMAS_PX, 0.13, 0.3, 5.9])
def test_smooth_noise_does_not_overflow(sigma_px: float) -> None:
    for most in (-MOST, MOST):
        flat = torch.full((1, 40, 50), most, dtype=torch.int8)
        expected = torch.full((1, 1, 40, 50), most / DEVIATION)
        assert torch.allclose(smooth_noise(flat, sigma_px), expected, rtol=0.002)


def test_the_noise_is_normal() -> None:
    """Of 256 equally likely numbers, so the tails end at 2.9 standard deviations."""
    word = WordStream((1, 2))
    noise = exact.noise_of(word, 400, 500) / DEVIATION
    assert noise.std() == pytest.approx(1, abs=0.005)
    assert abs(noise.mean()) < 0.01
    for chance in (0.01, 0.1, 0.3, 0.5, 0.8, 0.99):
        assert np.quantile(noise, chance) == pytest.approx(stats.norm.ppf(chance), abs=0.06)


def released() -> ModuleType:
    peer_functions("imgcorr")
    return sys.modules["imgcorr.corruptions"]


class Noise(NamedTuple):
    """What the released code draws, without its random numbers."""

    mean: float
    deviation: float


def noise(size: tuple[int, int], loc: float, scale: float) -> Noise:
    assert size == (224, 224)
    return Noise(loc, scale)


def filters_of(code: ModuleType, liquid: WordStream) -> Callable[..., NDArray[Any]]:
    """The released code's filter, but that it makes ours of the noise."""
    released_filter = code.gaussian

    def gaussian(values: Noise | NDArray[Any], sigma: float) -> NDArray[Any]:
        if not isinstance(values, Noise):
            result: NDArray[Any] = released_filter(values, sigma=sigma)
            return result
        smooth = exact.smooth_noise(liquid, 224, 224, sigma)
        return values.mean + values.deviation * smooth

    return gaussian


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_published_is_the_released_code(severity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same smoothed noise, at most a thousandth is off by more than a level."""
    images = torch.stack([coffee()] * 3)
    ours = SPATTER.in_mode("released")(images, ids=range(len(images)), severity=severity)
    drawn = SPATTER.sample(range(3), severity=severity)
    code = released()
    for number in range(3):
        gaussian = filters_of(code, of_image(drawn, number)["liquid"])

        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(np.random, "normal", noise)
            patch.setattr(code, "gaussian", gaussian)
            image = Image.fromarray(coffee().permute(1, 2, 0).numpy())
            theirs = np.uint8(code.spatter(image, severity)).transpose(2, 0, 1)  # type: ignore[call-arg]
        distance = np.abs(ours[number].numpy().astype(int) - theirs)
        assert (distance > 1).mean() < 0.001
        assert (distance > 0).mean() < 0.01


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_deep_water(mode: Any) -> None:
    """Deeper than 1: the released code's bytes begin again at 0, which makes edges."""
    images = sample_images(4, 48, 64, dtype=torch.float32)
    fixed = {"mean": 0.95, "spread_px": 0.6 * 224 / 48, "sigma_px": 9.0, "threshold": 0.9,
             "mud": 0, "intensity": 0.8}  # fmt: skip
    result = corrupt(images, "spatter", ids=range(len(images)), severity=1, mode=mode, **fixed)
    drawn = SPATTER.sample(range(4), severity=1)
    for number, image in enumerate(images.double().numpy()):
        liquid = of_image(drawn, number)["liquid"]
        depth = 0.95 + 0.6 * exact.smooth_noise(liquid, 48, 64, 9 * 48 / 224)
        assert depth.max() > 1.01
        shine = slow.shine(np.where(depth < 0.9, 0, depth), wraps=mode == "released")
        color = np.array([175, 238, 238])[:, None, None] / 255
        expected = np.clip(image + 0.8 * shine * color, 0, 1)
        assert (np.abs(result[number].numpy() - expected) > 1e-3).mean() < 0.005


def test_published_cuts_off() -> None:
    images = sample_images(3, 48, 80)
    rounded, cut = (
        SPATTER.in_mode(mode)(images, severity=4).to(torch.int16)
        for mode in ("paper", "released")
    )
    assert sorted((rounded - cut).unique().tolist()) == [0, 1]
    as_float = SPATTER.in_mode("released")(images / 255, ids=range(len(images)), severity=4)
    assert as_float.equal(SPATTER(images / 255, ids=range(len(images)), severity=4))


def test_without_liquid_nothing_changes() -> None:
    images = sample_images(3, 32, 48)
    for mud in (0, 1):
        assert corrupt(
            images, "spatter", ids=range(len(images)), mud=mud, intensity=1.0, threshold=50.0
        ).equal(images)
        dry = corrupt(
            images,
            "spatter",
            ids=range(len(images)),
            mode="released",
            mud=mud,
            mean=0.0,
            spread_px=0.0,
        )
        assert dry.equal(images)


def test_mud_is_brown_and_water_turquoise() -> None:
    black = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    mud = corrupt(
        black, "spatter", ids=range(len(black)), mud=1, mean=0.9, spread_px=0.0
    )  # mud everywhere
    assert mud[0, :, 30, 30].tolist() == [63, 42, 20]
    water = corrupt(
        black, "spatter", ids=range(len(black)), mud=0, mean=0.9, spread_px=0.0, intensity=1.0
    )
    assert water[0, :, 30, 30].tolist() == [175, 238, 238]  # no edge: as bright all over
    grey = corrupt(
        black[:, :1], "spatter", ids=range(len(black)), mud=1, mean=0.9, spread_px=0.0
    )
    assert grey[0, 0, 30, 30].item() == round(0.2989 * 63 + 0.587 * 42 + 0.114 * 20)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_the_tables_of_cifar(severity: int) -> None:
    images = sample_images(5, 32, 32)
    result = SPATTER.with_tables(CIFAR)(images, severity=severity)
    share = (result != images).any(dim=1).double().mean(dim=(1, 2))
    assert (share > 0).sum() >= 4
    assert share.max() < 0.6
