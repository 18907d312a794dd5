"""Preprocessing equals what the weights' publishers run: torchvision's and timm's own."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from noctule.errors import InputError
from noctule.models import Preprocessing
from noctule.models import preprocessing as preprocessing_module
from noctule.models.sources.timm import preprocessing_of as timm_preprocessing
from noctule.models.sources.torchvision import preprocessing_of as torchvision_preprocessing

SIZES = [(500, 375), (375, 501), (224, 224), (64, 48), (31, 100), (1, 1)]  # (width, height)


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise over a ramp: any wrong pixel, filter or offset changes it."""
    noise = np.random.default_rng(width * 1000 + height).integers(0, 128, (height, width, 3))
    ramp = np.linspace(0, 127, width)[None, :, None]
    return Image.fromarray((noise + ramp).astype(np.uint8)).convert(mode)


def prepared(preprocessing: Preprocessing, image: Image.Image) -> torch.Tensor:
    return preprocessing.normalise(preprocessing.prepare(image)[None])[0]


def torchvision_entries() -> dict[str, Any]:
    """One torchvision entry for each distinct transform."""
    from torchvision import models

    return {
        repr(entry.transforms()): entry
        for name in models.list_models(module=models)
        for entry in models.get_model_weights(name)
    }


def timm_configs() -> dict[str, dict[str, Any]]:
    """One timm configuration for each crop mode, interpolation, shape and kind of crop."""
    import timm
    from timm.data import resolve_data_config

    kinds: dict[Any, Any] = {}
    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name).to_dict()
        data = resolve_data_config(pretrained_cfg=config)
        _, height, width = data["input_size"]
        key = data["crop_mode"], data["interpolation"], height == width, data["crop_pct"] == 1
        if max(height, width) <= 256 or data["crop_mode"] == "border":
            kinds.setdefault("-".join(map(str, key)), config)
    return kinds


@pytest.mark.parametrize("entry", torchvision_entries().values(), ids=str)
def test_equals_torchvisions_own_transform(entry: Any) -> None:
    preprocessing = torchvision_preprocessing(entry)
    for size in SIZES[::2]:
        image = photo(*size)
        torch.testing.assert_close(
            prepared(preprocessing, image), entry.transforms()(image), rtol=0, atol=1e-6
        )


TIMM = timm_configs()


@pytest.mark.parametrize("kind", TIMM)
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_equals_timms_own_transform(kind: str, size: tuple[int, int]) -> None:
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config(pretrained_cfg=TIMM[kind]))
    image = photo(*size)
    expected = transform(image)
    given = prepared(timm_preprocessing(TIMM[kind], where=kind), image)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-6)


def test_the_timm_kinds_cover_every_crop_mode() -> None:
    modes = {kind.split("-")[0] for kind in TIMM}
    assert modes == {"center", "squash", "border"}


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_equals_timms_transform_for_oblong_inputs(crop_mode: str) -> None:
    from timm.data import create_transform, resolve_data_config

    config = {"input_size": (3, 96, 160), "crop_pct": 0.9, "crop_mode": crop_mode}
    transform = create_transform(**resolve_data_config(pretrained_cfg=config))
    for size in SIZES:
        given = prepared(timm_preprocessing(config, where="oblong"), photo(*size))
        torch.testing.assert_close(given, transform(photo(*size)), rtol=0, atol=1e-6)


def test_every_pretrained_timm_configuration_is_supported() -> None:
    import timm

    for name in timm.list_pretrained():
        timm_preprocessing(timm.get_pretrained_cfg(name).to_dict(), where=name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input_size": (1, 28, 28)}, "1 channels"),
        ({"crop_mode": "spiral"}, "spiral"),
        ({"interpolation": "random"}, "random"),
    ],
)
def test_what_timm_has_and_we_have_not_is_refused(change: dict[str, Any], says: str) -> None:
    config = {"input_size": (3, 64, 64), "crop_mode": "center", "interpolation": "bilinear"}
    with pytest.raises(InputError, match=says):
        timm_preprocessing(config | change, where="timm:x")


def test_the_default_changes_nothing() -> None:
    image = photo(13, 7)
    tensor = Preprocessing().prepare(image)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), np.asarray(image))
    normalised = Preprocessing().normalise(tensor[None])
    assert torch.equal(normalised[0], tensor.to(torch.float32) / 255)


def test_grey_and_colour_are_converted_to_what_the_model_takes() -> None:
    grey = photo(20, 20, "L")
    assert torch.equal(
        Preprocessing().prepare(grey), Preprocessing().prepare(grey.convert("RGB"))
    )
    to_grey = Preprocessing(mode="L", mean=(0.5,), std=(0.5,))
    assert to_grey.prepare(photo(20, 10)).shape == (1, 10, 20)
    assert np.array_equal(to_grey.prepare(grey)[0].numpy(), np.asarray(grey))


def test_normalise_takes_bytes_and_fractions_alike_and_keeps_its_input() -> None:
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    image = preprocessing.prepare(photo(9, 9))[None]
    fractions = image.to(torch.float32) / 255
    kept = fractions.clone()
    assert torch.equal(preprocessing.normalise(image), preprocessing.normalise(fractions))
    assert torch.equal(fractions, kept)
    # By hand: channel 1 of a pixel with value 51 is (51/255 − 0.2) / 0.25 = 0.
    pixel = torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)
    expected = torch.tensor([(0.2 - 0.1) / 0.5, 0.0, (0.2 - 0.3) / 2.0])
    torch.testing.assert_close(preprocessing.normalise(pixel).flatten(), expected)
    assert preprocessing.normalise(fractions.to(torch.float64)).dtype == torch.float32


def test_padding_takes_the_fill() -> None:
    image = Preprocessing(crop_px=(4, 6), fill=(1, 2, 3)).prepare(
        Image.new("RGB", (2, 2), "white")
    )
    assert image[:, 1:3, 2:4].eq(255).all()
    assert image[:, 0].unique(dim=1).flatten().tolist() == [1, 2, 3]


def test_a_huge_strip_is_cropped_while_it_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocessing = Preprocessing(resize_px=64, crop_px=(56, 56), interpolation="bicubic")
    strips = [photo(7, 200), photo(301, 5), photo(60, 60)]
    whole = [preprocessing.prepare(strip) for strip in strips]
    monkeypatch.setattr(preprocessing_module, "_MAX_RESIZED_PIXELS", 0)
    for strip, expected in zip(strips, whole, strict=True):
        difference = preprocessing.prepare(strip).int() - expected.int()
        assert difference.abs().max() <= 1
    monkeypatch.undo()
    # Resized as a whole this would be 256 × 12,800,000 pixels.
    assert Preprocessing(resize_px=256, crop_px=(224, 224)).prepare(photo(50_000, 1)).shape == (
        3,
        224,
        224,
    )


def test_it_travels_to_workers_and_into_json() -> None:
    preprocessing = Preprocessing(resize_px=(8, 9), crop_px=(4, 5), fit="cover")
    assert pickle.loads(pickle.dumps(preprocessing)) == preprocessing
    text = json.loads(json.dumps(preprocessing.to_dict()))
    assert text["resize_px"] == [8, 9]
    assert text == preprocessing.to_dict()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mode": "CMYK"}, "unknown mode"),
        ({"interpolation": "bilinaer"}, "bilinear"),
        ({"fit": "fill"}, "unknown fit"),
        ({"resize_px": 0}, "resize_px: 0 is out of range"),
        ({"crop_px": (10, -1)}, "crop_px"),
        ({"crop_px": (10,)}, r"\(height, width\)"),
        ({"mean": (0.5,)}, "mean"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean"),
        ({"std": (1.0, 0.0, 1.0)}, "above 0"),
        ({"fill": (0,)}, "fill"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Preprocessing(**fields)
