"""What scripts written for imagecorruptions find here."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import noctule
from corruption_cases import coffee
from imagenet_c_peers import import_peer
from noctule.compat import corrupt, get_corruption_names

imgcorr = import_peer("imgcorr")  # imagecorruptions for a newer NumPy
IMAGE = np.ascontiguousarray(coffee().numpy().transpose(1, 2, 0)[:64, :80])
SUBSETS = ("common", "validation", "all", "noise", "blur", "weather", "digital")


def test_the_signature_begins_like_the_packages() -> None:
    ours = list(inspect.signature(corrupt).parameters.values())
    theirs = list(inspect.signature(imgcorr.corrupt).parameters.values())
    assert [(one.name, one.default) for one in ours[: len(theirs)]] == [
        (one.name, one.default) for one in theirs
    ]
    assert all(one.kind is one.KEYWORD_ONLY for one in ours[len(theirs) :])


@pytest.mark.parametrize("subset", SUBSETS)
def test_names_are_the_packages(subset: str) -> None:
    assert get_corruption_names(subset) == imgcorr.get_corruption_names(subset)


@pytest.mark.parametrize("number", range(19))
def test_every_name_and_number_gives_what_corrupt_gives(number: int) -> None:
    name = get_corruption_names("all")[number]
    result = corrupt(IMAGE, severity=2, corruption_name=name)
    assert result.dtype == np.uint8
    assert result.shape == IMAGE.shape
    assert np.array_equal(result, corrupt(IMAGE, 2, corruption_number=number))
    assert np.array_equal(result, corrupt(IMAGE.copy(), 2, name))
    if name == "contrast":  # by another way: no chance is in it
        batch = torch.from_numpy(IMAGE.transpose(2, 0, 1).copy())[None]
        (expected,) = noctule.corrupt(batch, "contrast_c", severity=2, mode="released")
        assert np.array_equal(result, expected.permute(1, 2, 0).numpy())
        assert np.array_equal(result, imgcorr.corrupt(IMAGE, 2, name))


def test_chance_comes_from_the_image_and_the_seed() -> None:
    first = corrupt(IMAGE, 3, "gaussian_noise")
    other_image = corrupt(255 - IMAGE, 3, "gaussian_noise")
    other_seed = corrupt(IMAGE, 3, "gaussian_noise", seed=1)
    inner = (first > 0) & (first < 255) & (other_image > 0) & (other_image < 255)
    noise = first.astype(int) - IMAGE
    assert (noise[inner] != (other_image.astype(int) - (255 - IMAGE))[inner]).mean() > 0.9
    assert (noise != other_seed.astype(int) - IMAGE).mean() > 0.9


def test_grey_images_become_three_equal_channels() -> None:
    grey = IMAGE[:, :, 0]
    for given in (grey, grey[:, :, None]):
        result = corrupt(given, 2, "defocus_blur")
        assert result.shape == IMAGE.shape
        assert (result == result[:, :, :1]).all()
    assert imgcorr.corrupt(grey, 2, "defocus_blur").shape == IMAGE.shape


def test_views_and_read_only_arrays_are_taken_and_left_alone() -> None:
    stored = IMAGE.copy()
    stored.flags.writeable = False
    assert np.array_equal(corrupt(stored, 1, "fog"), corrupt(IMAGE, 1, "fog"))
    turned = IMAGE.transpose(1, 0, 2)
    before = turned.copy()
    assert corrupt(turned, 1, "snow").shape == turned.shape
    assert np.array_equal(turned, before)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((IMAGE.astype(float), 1, "fog"), "image: is of type float64"),
        (([[1]], 1, "fog"), "image: is of type list"),
        ((IMAGE[..., :2], 1, "fog"), "has shape"),
        ((IMAGE, 6, "fog"), "severity: 6 is out of range"),
        ((IMAGE, 1, "fogg"), "Did you mean 'fog'"),
        ((IMAGE, 1, "brightness_c"), "Did you mean 'brightness'"),
        ((IMAGE, 1), "corruption_number: -1 is out of range"),
        ((IMAGE, 1, None, 19), "corruption_number: 19 is out of range"),
        ((IMAGE[:12], 1, "fog"), "at least 16 px"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[object, ...], what: str) -> None:
    with pytest.raises(noctule.InputError, match=what):
        corrupt(*arguments)


def test_an_unknown_subset_is_refused() -> None:
    with pytest.raises(noctule.InputError, match="Did you mean 'common'"):
        get_corruption_names("comon")


@pytest.mark.parametrize("side_px", [96, 448])
@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur"])
def test_lengths_are_in_pixels_as_in_the_package(name: str, side_px: int) -> None:
    image = np.ascontiguousarray(np.tile(coffee().numpy().transpose(1, 2, 0), (2, 2, 1)))
    image = image[:side_px, : side_px + 8]
    ours, theirs = corrupt(image, 3, name), np.uint8(imgcorr.corrupt(image, 3, name))
    assert (np.abs(ours.astype(int) - theirs) <= 1).all()
