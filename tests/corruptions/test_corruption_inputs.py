"""Images, names, severities and ids that are refused; and the registry itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import noctule
from corruption_cases import each, sample_images
from noctule.corruptions import CORRUPTIONS, Corruption, corrupt, corruption
from noctule.corruptions.draws import Uniform
from noctule.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

COLOR_ONLY = {"saturate", "arlequin", "color_distortion", "gray_scale", "hue"}


# -------------------------------------------------------------------------------- wrong images


@each
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 32, 32), dtype=np.uint8), "ndarray"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float64), "float64"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float16), "float16"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "int64"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
        (torch.zeros(1, 1, 3, 32, 32, dtype=torch.uint8), r"\(1, 1, 3, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), r"\(1, 32, 32, 3\)"),
        (torch.zeros(1, 4, 32, 32, dtype=torch.uint8), "channels"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "8 × 8 px"),
        (torch.zeros(1, 3, 32, 15, dtype=torch.uint8), "32 × 15 px"),
        (torch.linspace(-2.1, 2.6, 3072).view(1, 3, 32, 32), "normalis"),
        (torch.linspace(0, 255, 3072).view(1, 3, 32, 32), "255"),
        (torch.full((1, 3, 32, 32), torch.nan), "nan"),
        (torch.full((1, 3, 32, 32), torch.inf), "inf"),
        (torch.zeros(1, 3, 32, 32).to_sparse(), "to_dense"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.complex64).conj(), "complex64"),
        (torch.zeros(1, 3, 32, 32, device="meta"), "no values"),
    ],
    ids=[
        "array", "float64", "float16", "int64", "3-d", "5-d", "channels last", "4 channels",
        "8 px", "15 px", "normalised", "0 to 255", "nan", "inf", "sparse", "complex", "meta",
    ],
)  # fmt: skip
def test_wrong_images_are_refused(c: Corruption, images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        c(images)
    assert c.name in str(refused.value)


def test_one_bad_value_is_enough() -> None:
    images = torch.full((2, 3, 32, 32), 0.5)
    images[1, 2, 31, 31] = torch.nan
    with pytest.raises(InputError, match="nan"):
        corrupt(images, "blur")


@pytest.mark.parametrize("value", [torch.nan, 1.1, -1e-3, -torch.inf])
@pytest.mark.parametrize("side_px", [32, 1024])  # the latter in several threads
@pytest.mark.parametrize("index", [0, -1])
def test_one_bad_value_is_enough_anywhere(side_px: int, index: int, value: float) -> None:
    images = torch.full((1, 3, side_px, side_px), 0.5)
    images.view(-1)[index] = value
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        corrupt(images, "brightness")


def test_values_at_the_ends_of_the_range_are_allowed() -> None:
    """A negative zero is one of them; roundings beyond are clamped."""
    ends = torch.tensor([0.0, -0.0, 1.0, -1e-7, 1 + 2**-23]).repeat(160)
    images = ends[:768].view(1, 3, 16, 16)
    expected = corrupt(images.clamp(0, 1), "brightness", change=0.25)
    assert corrupt(images, "brightness", change=0.25).equal(expected)


def test_tensors_that_are_negated_or_require_gradients() -> None:
    """torch keeps a negation as a flag, as in the imaginary part of a conjugate."""
    images = sample_images(1, 16, 16, dtype=torch.float32)
    negated = torch.complex(images, -images).conj().imag
    assert negated.is_neg()
    expected = corrupt(images, "gaussian_noise", severity=1)
    assert corrupt(negated, "gaussian_noise", severity=1).equal(expected)
    learned = images.clone().requires_grad_()
    assert corrupt(learned, "gaussian_noise", severity=1).equal(expected)
    change = torch.complex(torch.zeros(1), torch.full((1,), -0.2)).conj().imag
    expected = corrupt(images, "brightness", change=0.2)
    assert corrupt(images, "brightness", change=change).allclose(expected)


@pytest.mark.parametrize(
    "value",
    [
        10**400,
        -(10**5000),  # Python refuses to write it out
        [10**400],
        0.5j,
        torch.tensor(0.5j),
        torch.tensor(0.5j).conj(),
        torch.zeros(1, device="meta"),
        torch.zeros(1).to_sparse(),
        [[0.1], [0.1, 0.2]],
        [None],
        {},
    ],
    ids=range(11),
)
def test_wrong_values_of_parameters_are_refused(value: object) -> None:
    images = sample_images(1, 16, 16)
    with pytest.raises(
        InputError, match=r"(?s)brightness\.change: .* is not a number\. Pass one"
    ):
        corrupt(images, "brightness", change=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (None, "contrast_c: None is not a dictionary. Pass"),
        ({"factor": None}, "contrast_c.factor: None is not a sequence. Use 5 values"),
        ({"factor": 5}, "contrast_c.factor: 5 is not a sequence. Use 5 values"),
        ({"factor": "12345"}, "contrast_c.factor: '12345' is not a sequence. Use 5"),
        ({"factor": [10**400] * 5}, r"contrast_c.factor: 10+\.\.\. is out of range. Use a"),
        ({"factor": [0.1j] * 5}, "contrast_c.factor: 0.1j is a complex, not a number. Use a"),
        ({"factor": [torch.nan] * 5}, "contrast_c.factor: nan is out of range. Use a number"),
    ],
)
def test_wrong_tables_are_refused(tables: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CORRUPTIONS["contrast_c"].with_tables(tables)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(COLOR_ONLY))
def test_color_corruptions_need_color(name: str) -> None:
    with pytest.raises(
        InputError, match=r"needs images with 3 channels, but they have 1"
    ) as refused:
        corrupt(sample_images(1, 32, 32, channels=1), name)
    assert name in str(refused.value)


def test_unknown_names_suggest_the_nearest() -> None:
    images = sample_images(1, 32, 32)
    with pytest.raises(InputError, match="shear"):
        corrupt(images, "sheer")
    with pytest.raises(InputError, match="gaussian"):
        CORRUPTIONS["gausian"]
    assert "sheer" not in CORRUPTIONS


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3"])
@each
def test_unknown_severities_are_refused(c: Corruption, severity: int) -> None:
    with pytest.raises(InputError, match=r"1 \(mild\) to 5"):
        c(sample_images(1, 32, 32), severity=severity)


@each
def test_ids_are_counted(c: Corruption) -> None:
    for ids in ([], [1], [1, 2, 3], torch.arange(3)):
        with pytest.raises(InputError, match=f"{len(ids)} ids for 2 images"):
            c(sample_images(2, 32, 32), ids=ids)


# ------------------------------------------------------------------------------- the registry


def test_names() -> None:
    assert {name for name, c in CORRUPTIONS.items() if c.channels == 3} == COLOR_ONLY
    assert CORRUPTIONS["color_disortion"] is CORRUPTIONS["color_distortion"]  # as published
    assert noctule.CORRUPTIONS is CORRUPTIONS


def test_draws_must_be_the_kernels_parameters() -> None:
    blur = CORRUPTIONS["blur"]
    register = corruption(family="blur", source="x", draws={"sigma": Uniform(0, 1)})
    with pytest.raises(ValueError, match="weight"):
        register(blur.kernel)


@each
def test_every_corruption_is_documented(c: Corruption) -> None:
    assert c.summary.endswith((".", ":"))
    assert c.family in {"noise", "blur", "geometry", "occlusion", "color", "digital", "weather"}
    assert c.source
    assert all(draw.describe() for draw in c.draws.values())
    assert c.kernel.__doc__
    assert all(f"{key}" in c.kernel.__doc__ for key in c.draws)
