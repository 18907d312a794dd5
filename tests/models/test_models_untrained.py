"""Architectures before training: every kind of name, the right logits, clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from noctule.errors import InputError
from noctule.models import build_untrained, load_classifier
from noctule.models.small_nets import PatchResNet
from noctule.models.sources.shipped import PREPROCESSING
from noctule.models.sources.trained import load_trained, trained_bytes


def sized(num_classes: int, side_px: int = 64) -> torch.nn.Module:
    linear = torch.nn.Linear(3 * side_px**2, num_classes)
    return torch.nn.Sequential(torch.nn.Flatten(), linear)


@pytest.mark.parametrize(
    ("spec", "side_px"),
    [
        ("photo-patches", 32),
        ("photo-patches-reference", 64),
        ("torchvision:resnet18", 32),
        ("torchvision:googlenet", 64),
        ("torchvision:mobilenet_v3_small", 64),
        ("torchvision:vit_b_32", 64),
        ("timm:resnet10t", 64),
        ("timm:vit_tiny_patch16_224", 32),
        ("timm:vit_tiny_patch16_224.augreg_in21k", 32),
        ("test_models_untrained:sized", 64),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_every_name_gives_as_many_logits_as_asked_for(
    spec: str, side_px: int, training: bool
) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        module = build_untrained(spec, 7, side_px)
        logits = module.train(training)(torch.zeros(2, 3, side_px, side_px))
    assert logits.shape == (2, 7)
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("photo-patchs", "unknown architecture 'photo-patchs'"),
        ("torchvision:resnet19", "Nearest: resnet1"),
        ("timm:resnet19", "Nearest: resnet1"),
        ("torchvision:vit_b_16", "cannot be built for these images"),
        ("test_models_untrained:absent", "has no 'absent'"),
    ],
)
def test_what_cannot_be_built_is_named(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_untrained(spec, 7, 33)  # 33 px are no whole number of patches


def record(**changes: object) -> dict[str, object]:
    known = {
        "architecture": "photo-patches",
        "class_names": ["a", "b", "c"],
        "preprocessing": PREPROCESSING.to_dict(),
    }
    return known | changes


def test_a_trained_file_is_a_model_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(trained_bytes(PatchResNet(3), record()))
    given = load_classifier(str(path))
    assert given.class_names == ("a", "b", "c")
    assert given.preprocessing == PREPROCESSING
    assert (given.name, given.architecture) == (str(path), "photo-patches")


def test_a_file_may_not_name_code_to_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(trained_bytes(PatchResNet(3), record(architecture="os:getcwd")))
    with pytest.raises(
        InputError, match=r"the function 'os:getcwd', which would be .* add --trust"
    ):
        load_classifier(str(path))
    module = sized(3)
    path.write_bytes(trained_bytes(module, record(architecture="test_models_untrained:sized")))
    given = load_trained(path, architecture="test_models_untrained:sized")
    assert torch.equal(given.module[1].weight, module[1].weight)
    assert load_classifier(str(path), trust=True).weights_sha256 == given.weights_sha256


def test_arguments_of_an_architecture(tmp_path: Path) -> None:
    """They build the network, and again the one in the file."""
    path = tmp_path / "wide.safetensors"
    name = "test_models_untrained:sized"
    module = build_untrained(name, 3, 8, {"side_px": 4})
    assert module[1].weight.shape == (3, 3 * 4 * 4)
    record_of = record(architecture=name, model_args={"side_px": 4})
    path.write_bytes(trained_bytes(module, record_of))
    given = load_classifier(str(path), trust=True)
    assert torch.equal(given.module[1].weight, module[1].weight)
    with pytest.raises(InputError, match=r"the function takes \(.*got an unexpected keyword"):
        build_untrained(name, 3, 8, {"width": 4})
    with pytest.raises(InputError, match="torchvision:resnet18 takes no arguments"):
        build_untrained("torchvision:resnet18", 3, 64, {"width": 4})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "5",
        "[]",
        json.dumps(record(class_names=5)),
        json.dumps(record(class_names="abc")),
        json.dumps(record(preprocessing=[])),
        json.dumps(record(architecture=None)),
        json.dumps(record(model_args=["a"])),
        json.dumps({"architecture": "photo-patches"}),
    ],
)
def test_a_hostile_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(save({"a": torch.zeros(2)}, {"noctule": text}))
    with pytest.raises(InputError, match=r"odd\.safetensors: not a weights file written by"):
        load_classifier(str(path))


def test_a_preprocessing_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    for preprocessing in ({"resize": 3}, {"resize_px": "large"}, {"mean": 3}):
        path.write_bytes(save({"a": torch.zeros(2)}, {
            "noctule": json.dumps(record(preprocessing=preprocessing))
        }))  # fmt: skip
        with pytest.raises(InputError, match="preprocessing"):
            load_classifier(str(path))
