"""Images made by the released code, value by value.

The reference holds every 37th value of each image; see reference/make_golden_samples.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from corruption_cases import coffee, pattern
from noctule.corruptions import corrupt
from repository import REFERENCE

STEP = 37
GOLDEN = REFERENCE / "golden_samples.npz"
PARAMETERS = {
    "blur": ("weight",),
    "contrast": ("weight",),
    "gray_scale": ("weight",),
    "thumbnail_resize": ("factor",),
    "quantization": ("steps",),
    "pixelate": ("block_px",),
    "rotation": ("angle_deg",),
    "shear": ("angle_deg",),
    "hue": ("turn",),
    "translation": ("dx_px", "dy_px"),
    "elastic": ("side", "cut_px"),
}
INPUTS = {"coffee": coffee, "pattern": pattern}


class Tolerance(NamedTuple):
    """How many levels values may be off, and the share of them that may be off by more."""

    levels: int
    share: float


EXACT = Tolerance(0, 0.0)
TOLERANCES = dict.fromkeys(PARAMETERS, Tolerance(1, 0.001)) | {
    "quantization": EXACT,
    "translation": EXACT,
    "gray_scale": EXACT,
    "hue": EXACT,
    "thumbnail_resize": Tolerance(2, 0.0),
    "elastic": Tolerance(2, 0.0),
}


def load() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return {name: file[name].astype(int) for name in file}


SAMPLES = load()
KEYS = [name for name in SAMPLES if not name.endswith("/input")]


def parsed(key: str) -> tuple[torch.Tensor, str, dict[str, float | str]]:
    """The input, the corruption and its parameters from "INPUT/NAME/PARAMETERS"."""
    source, name, numbers = key.split("/")
    values = [n if n.isalpha() else float(n) for n in numbers.split(",")]
    return INPUTS[source](), name, dict(zip(PARAMETERS[name], values, strict=True))


def sampled(image: torch.Tensor) -> np.ndarray:
    return image.flatten()[::STEP].numpy().astype(int)


@pytest.mark.parametrize("name", INPUTS)
def test_the_inputs_are_those_of_the_reference(name: str) -> None:
    assert (sampled(INPUTS[name]()) == SAMPLES[f"{name}/input"]).all()


def test_the_reference_is_complete() -> None:
    assert len(KEYS) == 2 * 32
    assert {key.split("/")[1] for key in KEYS} == set(PARAMETERS)
    assert {len(values) for values in SAMPLES.values()} == {-(-3 * 224 * 224 // STEP)}


@pytest.mark.parametrize("key", KEYS)
def test_equals_the_published_image(key: str) -> None:
    image, name, given = parsed(key)
    result = sampled(corrupt(image[None], name, **given)[0])
    distance = np.abs(result - SAMPLES[key])
    levels, share = TOLERANCES[name]
    assert (distance > levels).mean() <= share, f"by up to {distance.max()} levels"
    # The reference can tell: this is not the image before.
    assert np.abs(result - sampled(image)).mean() > 0.1


@pytest.mark.parametrize("key", [k for k in KEYS if "/hue/" not in k])
def test_float32_gives_the_same_image(key: str) -> None:
    """In all but rounding: gray_scale does not round the luma in between."""
    image, name, given = parsed(key)
    result = corrupt(image[None] / 255, name, **given)[0] * 255
    distance = np.abs(result.flatten()[::STEP].numpy() - SAMPLES[key])
    levels, share = TOLERANCES[name]
    assert (distance > levels + 1.01).mean() <= share
