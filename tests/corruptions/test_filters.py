"""Filters against SciPy, and that they are the same to the bit in any batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage

from noctule.corruptions.filters import (
    Border,
    clipped_zoom,
    disc_sums,
    extended,
    filter_planes,
    gaussian_filter,
    symmetric_sum,
)
from noctule.corruptions.imagenet_c.blur import zoom_taps

pytestmark = pytest.mark.usefixtures("one_thread")

# For the smaller side of 61: radii 0, 1, 3, 10 by taps; 11, 80 and 680 by a matrix.
SIGMAS_PX = [0.1, 0.3, 0.8, 2.5, 2.7, 20.0, 170.0]
BORDERS: list[Border] = ["nearest", "reflect", "mirror"]
NUMPY_BORDERS = {"nearest": "edge", "reflect": "symmetric", "mirror": "reflect"}


def some(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    if dtype == torch.uint8:
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    return torch.from_numpy(rng.normal(0, 60, shape).astype(np.float32))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("sigma_px", SIGMAS_PX)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_as_scipy(dtype: torch.dtype, sigma_px: float, border: Border) -> None:
    values = some(dtype, 2, 3, 61, 97)
    expected = ndimage.gaussian_filter(
        values.numpy().astype(float), (0, 0, sigma_px, sigma_px), mode=border
    )
    result = gaussian_filter(values, sigma_px, border=border)
    assert result.dtype == torch.float32
    assert np.abs(result.numpy() - expected).max() < 5e-4


def test_another_deviation_for_each_axis_and_another_end() -> None:
    values = some(torch.float32, 1, 1, 40, 50)
    expected = ndimage.gaussian_filter(
        values.numpy().astype(float), (0, 0, 1.5, 0.6), mode="reflect", truncate=3.0
    )
    result = gaussian_filter(values, (1.5, 0.6), truncate=3.0, border="reflect")
    assert np.abs(result.numpy() - expected).max() < 5e-5


@pytest.mark.parametrize("sigma_px", SIGMAS_PX)
def test_what_is_flat_stays(sigma_px: float) -> None:
    flat = torch.full((1, 1, 61, 97), 255, dtype=torch.uint8)
    assert (gaussian_filter(flat, sigma_px) - 255).abs().max() < 2e-4


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("size", "sigma_px"), [((61, 97), 0.8), ((61, 97), 20.0), ((224, 224), 1.5)]
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.usefixtures("threads")
def test_to_the_bit_in_any_batch(
    dtype: torch.dtype, size: tuple[int, int], sigma_px: float
) -> None:
    values = some(dtype, 3, 3, *size)
    torch.set_num_threads(1)
    expected = gaussian_filter(values, sigma_px)
    for count in (2, 3):
        torch.set_num_threads(count)
        assert gaussian_filter(values, sigma_px).equal(expected)
        for number in range(3):
            alone = gaussian_filter(values[number : number + 1, :1], sigma_px)
            assert alone.equal(expected[number : number + 1, :1])


@pytest.mark.parametrize("border", BORDERS)
def test_extended_as_numpy_pad(border: Border) -> None:
    planes = some(torch.uint8, 2, 5, 7)
    expected = np.pad(planes.numpy(), ((0, 0), (4, 1), (2, 6)), NUMPY_BORDERS[border])  # type: ignore[call-overload]
    result = extended(planes, (4, 1), (2, 6), border, torch.int16)
    assert result.dtype == torch.int16
    assert np.array_equal(result.numpy(), expected)
    beyond = extended(planes, (9, 0), (0, 11), "nearest")
    assert np.array_equal(beyond.numpy(), np.pad(planes, ((0, 0), (9, 0), (0, 11)), "edge"))


@pytest.mark.parametrize(("dim", "axis"), [(1, 0), (2, 1)])
def test_symmetric_sum(dim: int, axis: int) -> None:
    values = some(torch.float32, 2, 30, 40)
    result = symmetric_sum(values, [0.5, 0.2, 0.05], dim)
    expected = ndimage.correlate1d(values.numpy(), [0.05, 0.2, 0.5, 0.2, 0.05], axis=axis + 1)
    inner = expected.take(range(2, expected.shape[dim] - 2), axis=dim)
    assert np.abs(result.numpy() - inner).max() < 1e-4


def test_an_odd_border_is_zero_padding_in_every_pass() -> None:
    planes = some(torch.float32, 2, 20, 30)
    expected = planes.numpy().astype(float)
    for _ in range(2):
        expected = ndimage.uniform_filter(expected, (1, 3, 3), mode="constant")
    twice = [3 / 9, 2 / 9, 1 / 9]
    result = filter_planes(planes, twice, twice, "odd")
    assert np.abs(result.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("radius", [0, 1, 3, 10, 20])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_disc_sums(dtype: torch.dtype, radius: int) -> None:
    planes = some(torch.uint8, 2, 50, 61).to(dtype)
    half_widths = [int((radius**2 - row**2) ** 0.5) for row in range(radius + 1)]
    line = np.arange(-radius, radius + 1)
    disc = line**2 + line[:, None] ** 2 <= radius**2
    inner = slice(radius, 50 - radius), slice(radius, 61 - radius)
    for plane, found in zip(planes, disc_sums(planes, half_widths), strict=True):
        expected = ndimage.correlate(
            plane.numpy().astype(int), disc.astype(int), mode="constant"
        )
        assert np.array_equal(found.numpy(), expected[inner])


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.5, 3.0, 15.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clipped_zoom_as_scipy(dtype: torch.dtype, factor: float) -> None:
    """The middle of the middle; with a factor of 1 nothing happens."""
    values = some(torch.float32, 2, 1, 40, 61).to(dtype)
    result = clipped_zoom(values, factor)
    assert result.dtype == dtype
    for plane, image in zip(values[:, 0].numpy(), result[:, 0].numpy(), strict=True):
        crop = [-int(-side // factor) for side in plane.shape]
        top, left = (40 - crop[0]) // 2, (61 - crop[1]) // 2
        middle = plane[top : top + crop[0], left : left + crop[1]].astype(float)
        large = ndimage.zoom(middle, factor, order=1)
        top, left = (large.shape[0] - 40) // 2, (large.shape[1] - 61) // 2
        expected = large[top : top + 40, left : left + 61]
        assert np.abs(image - expected).max() < (2e-3 if dtype == torch.float32 else 1e-10)
    cropped = values[:, :, (40 - crop[0]) // 2 :, (61 - crop[1]) // 2 :][
        ..., : crop[0], : crop[1]
    ]
    assert clipped_zoom(cropped, factor, (40, 61)).equal(result)


@pytest.mark.parametrize("factor", [1.02, 1.1, 1.3, 4.0])
@pytest.mark.parametrize("side", [16, 33, 161, 401])
def test_zoom_taps_are_those_of_clipped_zoom(side: int, factor: float) -> None:
    values = some(torch.uint8, side).to(torch.float64)
    first, share = zoom_taps(side, factor)
    found = values[first] + (values[first + 1] - values[first]) * share
    expected = clipped_zoom(values[None, None, :, None].expand(1, 1, side, side), factor)
    assert (found - expected[0, 0, :, 0]).abs().max() < 1e-4
