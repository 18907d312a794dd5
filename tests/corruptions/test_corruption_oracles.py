"""Every corruption against a slow, obvious form of it, with the same drawn parameters."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from corruption_cases import coffee, of_image, pattern, sample_images
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.corruptions.draws import Choice, Integer, NoiseField, PerSeverity, Uniform
from oracles import kernels, shapes
from oracles.oracle import Oracle
from oracles.threefry import WordStream, image_words

MODULES = ("imagenet_c_noise", "imagenet_c_color", "imagenet_c_blur", "imagenet_c_weather",
           "imagenet_c_bar")  # fmt: skip
ORACLES = {
    "blur": Oracle(kernels.blur),
    "thumbnail_resize": Oracle(kernels.thumbnail_resize, uint8=2, float32=2.5),
    "backlight": Oracle(kernels.backlight),
    "brightness": Oracle(kernels.brightness),
    "contrast": Oracle(kernels.contrast),
    "color_distortion": Oracle(kernels.color_distortion),
    # In float32 the luma is not rounded to 8 bits.
    "gray_scale": Oracle(kernels.gray_scale, float32=0.502),
    "hue": Oracle(kernels.hue),
    "quantization": Oracle(kernels.quantization),
    "pixelate": Oracle(kernels.pixelate),
    "artifacts": Oracle(shapes.artifacts),
    "vertical_artifacts": Oracle(shapes.vertical_artifacts),
    "translation": Oracle(kernels.translation),
    "shear": Oracle(kernels.shear, ties=0.001),
    "rotation": Oracle(kernels.rotation, ties=0.001),
    "elastic": Oracle(kernels.elastic, uint8=1, float32=1.5),
    "gaussian": Oracle(kernels.gaussian),
    "uniform": Oracle(kernels.uniform),
    "salt_pepper": Oracle(kernels.salt_pepper),
    "rhombus": Oracle(shapes.rhombus),
    "arlequin": Oracle(shapes.arlequin),
    "circle": Oracle(shapes.circle),
    "obstruction": Oracle(shapes.obstruction),
    "border": Oracle(shapes.border),
    "rain": Oracle(shapes.rain),
}
for module in MODULES:
    ORACLES |= importlib.import_module(f"oracles.{module}").ORACLES


def test_every_corruption_has_an_oracle() -> None:
    assert set(ORACLES) == set(CORRUPTIONS)


def compare(name: str, images: torch.Tensor, *, seed: int, severity: int | None = None) -> None:
    """Compare a batch of uint8 images, and the same images as float32, with the oracle."""
    oracle, corruption = ORACLES[name], CORRUPTIONS[name]
    ids = [f"{name}/{number}" for number in range(len(images))]
    parameters = corruption.sample(ids, seed=seed, severity=severity)
    expected = np.stack(
        [
            oracle.image(image.to(torch.int64).numpy(), **of_image(parameters, number))
            for number, image in enumerate(images)
        ]
    )
    for given, levels in ((images, oracle.uint8), (images / 255, oracle.float32)):
        result = (
            corruption(given, ids=ids, seed=seed, severity=severity).to(torch.float64).numpy()
        )
        if given.dtype == torch.float32:
            result *= 255
        distance = np.abs(result - expected)
        share = float((distance > levels).mean())
        assert share <= oracle.ties, (
            f"{share:.2%} of the {given.dtype} values are off, by up to {distance.max():.4g}"
        )


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_at_the_published_size(name: str) -> None:
    compare(name, torch.stack([coffee(), pattern()]), seed=0)


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (97, 61), (330, 301), (16, 16)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_at_other_sizes(name: str, size: tuple[int, int]) -> None:
    compare(name, sample_images(8 if max(size) < 100 else 2, *size), seed=1)


@pytest.mark.parametrize("name", [n for n, c in CORRUPTIONS.items() if c.channels is None])
def test_grey_images(name: str) -> None:
    compare(name, sample_images(4, 48, 80, channels=1), seed=2)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_at_severities(name: str, severity: int) -> None:
    compare(name, sample_images(6, 48, 80), seed=3, severity=severity)


# ------------------------------------------------------------------------------- the parameters


def slow_draw(
    draw: Uniform | Integer | PerSeverity | Choice | NoiseField,
    words: tuple[int, int],
    severity: int | None,
) -> Any:
    """One parameter from its two random words, in Python's exact integers and float64."""
    part, sign = words[0] >> 8, 1 - 2 * (words[1] & 1)
    if isinstance(draw, NoiseField):
        return WordStream(words)
    if isinstance(draw, Choice):
        return part * len(draw.options) // 2**24
    if isinstance(draw, PerSeverity):
        return draw.values[part * 5 // 2**24 if severity is None else severity - 1]
    whole = 2**24
    if draw.graded and severity is not None:
        part, whole = part + (severity - 1) * 2**24, 5 * 2**24
    if isinstance(draw, Uniform):
        return (draw.low + (draw.high - draw.low) * (part / whole)) * (
            sign if draw.signed else 1
        )
    if draw.hardest == "low":
        part = whole - 1 - part
    value = draw.low + part * (draw.high - draw.low + 1) // whole
    return value * (sign if draw.signed else 1)


@pytest.mark.parametrize("severity", [None, *SEVERITIES])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_parameters_are_functions_of_seed_name_and_id(name: str, severity: int | None) -> None:
    """The documented derivation: the same image on every machine, today and later."""
    corruption, ids = CORRUPTIONS[name], ["cat/1.png", 4711, "été", *range(8)]
    drawn = corruption.sample(ids, seed=11, severity=severity)
    assert list(drawn) == list(corruption.draws)
    for number, image_id in enumerate(ids):
        one = of_image(drawn, number)
        for key, draw in corruption.draws.items():
            # The tables of a corruption share one lot.
            words = image_words(
                11, name, "level" if isinstance(draw, PerSeverity) else key, image_id
            )
            assert one[key] == slow_draw(draw, words, severity), (key, image_id)
