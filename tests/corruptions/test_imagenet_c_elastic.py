"""Elastic: the released code given the same numbers, its modes, and the coarse noise."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from corruption_cases import coffee, of_image, pattern, sample_images
from imagenet_c_peers import peer_functions
from noctule.corruptions import CORRUPTIONS, corrupt
from noctule.corruptions.imagenet_c.elastic import (
    COARSE_SIGMA_PX,
    FIXED_POINT,
    cell_bands,
    cell_weights,
)
from oracles import imagenet_c_weather as slow

ELASTIC = CORRUPTIONS["elastic_transform"]
# The tables of 32 px and of 64 px, their lengths times 224 / 32 and 224 / 64.
CIFAR = {
    "alpha_px": (0, 11.2, 17.92, 22.4, 22.4),
    "sigma_px": (0, 44.8, 13.44, 8.96, 6.72),
    "affine_px": (17.92, 15.68, 13.44, 11.2, 6.72),
}
TINY = {
    "alpha_px": (0, 11.2, 22.4, 22.4, 35.84),
    "sigma_px": (0, 67.2, 17.92, 6.72, 6.72),
    "affine_px": (17.92, 13.44, 13.44, 6.72, 4.48),
}


def psnr_db(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(10 * np.log10(1 / np.square(one - other).mean()))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_it_is_the_released_code(severity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """corrupt-tta has the original with 224 instead of 244, as the paper mode."""
    peer_functions("corrupt_tta")
    code = sys.modules["corrupt_tta.corruptions"]
    images = torch.stack([coffee(), pattern()]) / 255
    ours = ELASTIC(images, ids=[0, 1], severity=severity)
    drawn = ELASTIC.sample([0, 1], severity=severity)
    for number in (0, 1):
        one = of_image(drawn, number)
        zeros = np.zeros((3, 224, 224))
        before, after = slow.three_points(zeros, one["affine_px"], one["corners"])
        noise = iter(slow.noise_of(224, 224, one["sigma_px"], one["displacement"]))

        def uniform(low: float, high: float, size: tuple[int, int]) -> NDArray[np.float64]:
            if size == (3, 2):
                assert high == pytest.approx(one["affine_px"])  # noqa: B023
                return after - before  # noqa: B023
            assert (low, high, size) == (-1, 1, (224, 224))
            return next(noise)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(np.random, "uniform", uniform)
            image = (images[number] * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
            theirs = code.elastic_transform(image, severity).transpose(2, 0, 1) / 255
        assert psnr_db(ours[number].double().numpy(), theirs) > 40


def test_published_lengths_are_those_of_244_px() -> None:
    images = sample_images(5, 48, 48, dtype=torch.float32)
    longer = {
        name: tuple(244 / 224 * value for value in draw.values)
        for name, draw in ELASTIC.draws.items()
        if name.endswith("_px")
    }
    released = ELASTIC.in_mode("released")(images, ids=range(len(images)))
    assert torch.allclose(
        released, ELASTIC.with_tables(longer)(images, ids=range(len(images))), atol=1e-4
    )
    assert not torch.allclose(released, ELASTIC(images, ids=range(len(images))), atol=1e-2)


@pytest.mark.parametrize(("side", "tables"), [(32, CIFAR), (64, TINY)])
def test_the_programs_for_32_and_64_px_are_right(side: int, tables: Any) -> None:
    elastic = ELASTIC.with_tables(tables)
    images = sample_images(5, side, side, dtype=torch.float32)
    for severity in (1, 2, 3, 4, 5):
        result = elastic(images, ids=range(len(images)), severity=severity)
        assert elastic.in_mode("released")(
            images, ids=range(len(images)), severity=severity
        ).equal(result)
        assert ((result - images).abs().mean(dim=(1, 2, 3))[:4] > 0.001).all()


def test_published_cuts_off() -> None:
    images = sample_images(4, 64, 64)
    exact = ELASTIC(images / 255, ids=range(len(images))).double() * 255
    cut = ELASTIC.in_mode("released")(images, ids=range(len(images))).double()
    assert (cut != exact.floor()).double().mean() < 0.01  # where the last bit decides
    assert (cut - exact.floor()).abs().max() <= 1


@pytest.mark.parametrize("size", [(60, 96), (96, 60)])
def test_published_confuses_the_sides_of_oblong_images(size: tuple[int, int]) -> None:
    """The points lie about (x, y) = (height / 2, width / 2)."""
    images = sample_images(3, *size, dtype=torch.float32)
    fixed: dict[str, Any] = {"alpha_px": 0.0, "affine_px": 20.0}
    result = corrupt(
        images, "elastic_transform", ids=range(len(images)), mode="released", **fixed
    )
    drawn = ELASTIC.sample(range(3))
    half = 60 // 3
    points = np.array([size[0] // 2, size[1] // 2]) + half * np.array(
        [[1, 1], [1, -1], [-1, -1]]
    )
    y, x = np.indices(size).astype(float)
    for number, image in enumerate(images.double().numpy()):
        corners = of_image(drawn, number)["corners"]
        chance = np.array([[corners.real(i, which=xy) for xy in (0, 1)] for i in range(3)])
        after = points + 20 * 60 / 224 * 244 / 224 * (2 * chance - 1)
        back = np.linalg.solve(np.c_[after, np.ones(3)], points)
        rows, columns = (x * a + y * b + c for a, b, c in back.T)
        expected = slow.read_back(image, rows, columns, "mirror")
        assert result[number].numpy() == pytest.approx(expected, abs=1e-3)


def test_nothing_moves_without_lengths() -> None:
    images = sample_images(3, 48, 80)
    still: dict[str, Any] = {"alpha_px": 0.0, "sigma_px": 0.0, "affine_px": 0.0}
    assert corrupt(images, "elastic_transform", ids=range(len(images)), **still).equal(images)


@pytest.mark.parametrize("affine_px", [500.0, 1e4])
def test_points_may_move_far(affine_px: float) -> None:
    images = sample_images(50, 32, 32, dtype=torch.float32)
    result = corrupt(images, "elastic_transform", ids=range(len(images)), affine_px=affine_px)
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(
    ("length", "sigma"),
    [(224, 0.7 * 224), (224, 0.08 * 224), (224, COARSE_SIGMA_PX), (61, 12.0), (1300, 11.2)],
)
def test_coarse_noise_makes_the_same_field(length: int, sigma: float) -> None:
    """The displacement's covariance along a line: F Fᵀ of the filter's matrix F, to 1 %."""
    matrix = ndimage.gaussian_filter1d(
        np.eye(length), sigma, axis=0, mode="reflect", truncate=3
    )
    theirs = matrix @ matrix.T
    cells = cell_weights(length, sigma).numpy() / FIXED_POINT
    ours = cells @ cells.T * (cells.shape[1] / length)
    assert np.abs(ours - theirs).max() < 0.01 * theirs.max()
    assert cells.shape[1] < length / 1.9  # which is what it is for


def test_weights_of_a_long_line_take_little_memory() -> None:
    """A matrix would have 23 million."""
    assert cell_bands(8000, 11.2)[1].numel() < 30 * 8000


@pytest.mark.parametrize(("severity", "sigma", "alpha"), [(2, 8.96, 224.0), (3, 1.12, 5.6)])
def test_the_spread_of_the_displacement(severity: int, sigma: float, alpha: float) -> None:
    """A ramp shows it, with the standard deviation of filtered noise of variance 1/3."""
    ramp = (torch.arange(112) / 112).expand(300, 1, 112, 112).contiguous()
    fixed: dict[str, Any] = {"affine_px": 0.0}
    shift = (
        corrupt(ramp, "elastic_transform", ids=range(len(ramp)), severity=severity, **fixed)
        - ramp
    ) * 112
    middle = shift[:, 0, 36:76, 36:76]
    one = np.eye(112)[56]
    kernel = ndimage.gaussian_filter1d(one, sigma, mode="reflect", truncate=3)
    expected = alpha * np.square(kernel).sum() / np.sqrt(3)
    assert middle.std().item() == pytest.approx(expected, rel=0.08)
    assert middle.mean().item() == pytest.approx(0, abs=expected / 8)
