"""Kernels keep the shapes that their signatures name."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError, jaxtyped

from corruption_cases import both_dtypes, each, sample_images
from noctule.corruptions import CORRUPTIONS, Corruption
from noctule.corruptions.draws import NoiseField


def checked(c: Corruption) -> Corruption:
    """The corruption with a kernel that compares all shapes with its signature."""
    return replace(c, kernel=jaxtyped(typechecker=beartype)(c.kernel))


@each
def test_a_signature_names_the_shapes(c: Corruption) -> None:
    signature = inspect.signature(c.kernel)
    assert signature.parameters["images"].annotation == signature.return_annotation == "Images"
    for name, draw in c.draws.items():
        expected = "Stream" if isinstance(draw, NoiseField) else "PerImage"
        assert signature.parameters[name].annotation == expected


@both_dtypes
@each
def test_a_kernel_keeps_the_shapes_of_its_signature(c: Corruption, dtype: torch.dtype) -> None:
    images = sample_images(3, 33, 40, dtype=dtype)
    for mode in ("paper", "released") if c.has_modes and c.name != "frost" else ("paper",):
        images_of_mode = checked(c.in_mode(mode))(images, ids=range(3))
        assert images_of_mode.shape == images.shape


def test_a_wrong_shape_is_found() -> None:
    """The check itself: two values for three images, and a kernel that loses a row."""
    images, shear = sample_images(3, 32, 32), CORRUPTIONS["shear"]
    with pytest.raises((TypeCheckError, BeartypeCallHintViolation)):
        checked(shear).kernel(images, angle_deg=torch.ones(2, dtype=torch.float64))
    with pytest.raises((TypeCheckError, BeartypeCallHintViolation)):
        checked(shear).kernel(images[0], angle_deg=torch.ones(3, dtype=torch.float64))
