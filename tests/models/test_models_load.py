"""Every way to name a classifier, without a network: pretrained weights are stood in for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from noctule.errors import InputError
from noctule.models import (
    Classifier,
    Preprocessing,
    load_classifier,
    model_forms,
    weights_sha256,
)

TORCHVISION = "shufflenet_v2_x0_5"
TIMM = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    return torch.from_numpy(values)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", refuse)


def torchvision_model(name: str = TORCHVISION, **options: Any) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, **options)
    return module


def saved(module: nn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(module.state_dict(), path)
    else:
        torch.save({"state_dict": module.state_dict()}, path)
    return path


def assert_same_function(given: Classifier, module: nn.Module, images: torch.Tensor) -> None:
    inputs = given.preprocessing.normalise(images)
    with torch.inference_mode():
        assert torch.equal(given.module(inputs), module.eval()(inputs))


def assert_ready(classifier: Classifier) -> None:
    assert not any(part.training for part in classifier.module.modules())
    assert not any(value.requires_grad for value in classifier.module.parameters())
    assert classifier.weights_sha256 == weights_sha256(classifier.module.state_dict())


# torchvision


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.usefixtures("no_network")
def test_torchvision_with_local_weights(
    tmp_path: Path, images: torch.Tensor, suffix: str
) -> None:
    module = torchvision_model()
    path = saved(module, tmp_path / f"w{suffix}")
    given = load_classifier(f"torchvision:{TORCHVISION}", weights=path)
    assert_same_function(given, module, images)
    assert_ready(given)
    assert given.num_classes == 1000
    assert given.class_names is not None
    assert given.class_names[:2] == ("tench", "goldfish")
    assert (given.name, given.weights) == (f"torchvision:{TORCHVISION}", f"file w{suffix}")
    assert given.preprocessing.crop_px == (224, 224)


def test_torchvision_downloads_the_entry_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, images: torch.Tensor
) -> None:
    module, urls = torchvision_model("resnet18"), []

    def download(url: str, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        urls.append(url)
        return module.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    given = load_classifier("torchvision:resnet18@IMAGENET1K_V1")
    assert urls == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"]
    assert given.name == load_classifier("torchvision:resnet18").name
    assert given.name == "torchvision:resnet18@IMAGENET1K_V1"
    assert_same_function(given, module, images)
    assert_ready(given)


def test_the_named_entry_decides_the_preprocessing(tmp_path: Path) -> None:
    path = saved(torchvision_model("mobilenet_v2"), tmp_path / "w.pt")
    sides = {
        entry: load_classifier(
            f"torchvision:mobilenet_v2@{entry}", weights=path
        ).preprocessing.resize_px
        for entry in ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT")
    }
    assert sides == {"IMAGENET1K_V1": 256, "IMAGENET1K_V2": 232, "DEFAULT": 232}


def test_another_number_of_classes_is_read_off_the_weights(tmp_path: Path) -> None:
    path = saved(torchvision_model(num_classes=100), tmp_path / "w.pt")
    given = load_classifier(f"torchvision:{TORCHVISION}", weights=path)
    assert (given.num_classes, given.class_names) == (100, None)
    assert (
        load_classifier(f"torchvision:{TORCHVISION}", weights=path, num_classes=100).num_classes
        == 100
    )
    with pytest.raises(InputError, match=r"\(100, 1024\) instead of \(10, 1024\)"):
        load_classifier(f"torchvision:{TORCHVISION}", weights=path, num_classes=10)


@pytest.mark.parametrize("name", ["googlenet", "vit_b_32", "inception_v3"])
def test_architectures_are_built_as_torchvision_builds_them_for_its_weights(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # On the meta device nothing is computed: only the structure is compared.
    from torchvision import models

    from noctule.models.sources.torchvision import _build_for

    entry = models.get_model_weights(name)["DEFAULT"]
    with torch.device("meta"):
        ours = _build_for(entry, name, 1000, auxiliary=True)
        monkeypatch.setattr(
            "torchvision.models._api.load_state_dict_from_url",
            lambda *a, **k: ours.state_dict(),
        )
        theirs = models.get_model(name, weights=entry)
        if name == "googlenet":  # torchvision drops these heads once they are loaded
            ours = _build_for(entry, name, 1000, auxiliary=False)
    for one, other in zip(ours.named_modules(), theirs.named_modules(), strict=True):
        assert one[0] == other[0]
        assert one[1].extra_repr() == other[1].extra_repr()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for option in ("transform_input", "image_size", "aux_logits"):
        assert getattr(ours, option, None) == getattr(theirs, option, None)


def test_weights_without_the_auxiliary_heads_of_training_load(tmp_path: Path) -> None:
    for auxiliary in (True, False):
        module = torchvision_model("googlenet", aux_logits=auxiliary, init_weights=False)
        path = saved(module, tmp_path / f"{auxiliary}.pt")
        given = load_classifier("torchvision:googlenet", weights=path)
        assert given.weights_sha256 == weights_sha256(module.state_dict())


def test_high_resolution_weights_get_their_architecture() -> None:
    from torchvision import models

    from noctule.models.sources.torchvision import _build_for

    entry = models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    with torch.device("meta"):
        module = _build_for(entry, "vit_b_16", 1000, auxiliary=False)
    assert module.image_size == 384


def test_densenets_old_names_are_understood() -> None:
    from noctule.models.architectures import modern_names

    old = "features.denseblock1.denselayer2.norm.1.running_mean"
    new = "features.denseblock1.denselayer2.norm1.running_mean"
    assert list(modern_names({old: torch.zeros(1)})) == [new]
    with torch.device("meta"):
        state = torchvision_model("densenet121").state_dict()
    assert list(modern_names(dict(state))) == list(state)


@pytest.mark.usefixtures("no_network")
def test_a_failed_download_says_what_to_do(images: torch.Tensor) -> None:
    for spec in (f"torchvision:{TORCHVISION}", f"timm:{TIMM}"):
        with pytest.raises(InputError, match=r"no route to host.*--weights"):
            load_classifier(spec)


# timm


@pytest.mark.usefixtures("no_network")
def test_timm_with_local_weights(tmp_path: Path, images: torch.Tensor) -> None:
    import timm

    module = timm.create_model(TIMM)
    path = saved(module, tmp_path / "w.safetensors")
    given = load_classifier(f"timm:{TIMM}", weights=path)
    assert_same_function(given, module, images)
    assert_ready(given)
    assert (given.num_classes, given.architecture) == (1000, "test_resnet")
    assert given.preprocessing.crop_px == (160, 160)


def test_timm_with_another_number_of_classes(tmp_path: Path) -> None:
    import timm

    path = saved(timm.create_model(TIMM, num_classes=7), tmp_path / "w.pt")
    assert load_classifier(f"timm:{TIMM}", weights=path).num_classes == 7
    assert load_classifier(f"timm:{TIMM}", weights=path, num_classes=7).num_classes == 7
    with pytest.raises(InputError, match="another shape"):
        load_classifier(f"timm:{TIMM}", weights=path, num_classes=8)


def test_timm_downloads(monkeypatch: pytest.MonkeyPatch, images: torch.Tensor) -> None:
    import timm

    module = timm.create_model(TIMM)
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *a, **k: module.state_dict()
    )
    given = load_classifier(f"timm:{TIMM}")
    assert_same_function(given, module, images)
    assert given.weights == "timm r160_in1k"
    with pytest.raises(InputError, match="1000 classes, not 5"):
        load_classifier(f"timm:{TIMM}", num_classes=5)


def test_without_timm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'noctule\[timm\]'"):
        load_classifier("timm:resnet50")


def test_a_timm_model_without_a_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    headless = timm.create_model(TIMM, num_classes=0)
    monkeypatch.setattr("timm.create_model", lambda *a, **k: headless)
    with pytest.raises(InputError, match="feature extractor"):
        load_classifier(f"timm:{TIMM}")


# unknown names


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("torchvision:resnet5O", "resnet50"),
        ("torchvision:resnet50@IMAGENET1K_V3", "IMAGENET1K_V2"),
        ("torchvision:maskrcnn_resnet50_fpn", "unknown torchvision classifier"),
        ("timm:resnet5O", "resnet50"),
        ("timm:resnet50.a1_in2k", r"resnet50\.a1_in1k"),
        ("photo-patch", "Did you mean 'photo-patches'"),
        ("resnet50", "torchvision:NAME"),
        ("timm", "timm:NAME"),
        (":", "unknown model ':'"),
        ("", "unknown model ''"),
    ],
)
def test_unknown_names_suggest_the_nearest(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_classifier(spec)
    assert len(str(caught.value)) < 600


def test_every_form_is_listed() -> None:
    patterns = [form.pattern for form in model_forms()]
    assert len(patterns) == len(set(patterns)) == 14
    for shipped in ("photo-patches", "photo-patches-reference"):
        assert shipped in patterns


# factories and modules

FACTORIES = """
from torch import nn
from noctule.models import Preprocessing, load_classifier

def bare(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
def classifier():
    return load_classifier(bare(), preprocessing=Preprocessing(crop_px=(2, 2)), num_classes=3)
def wrong(): return 3
def broken(): raise ValueError("no such checkpoint")
def needs(path): return bare()
size = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "bat_models.py").write_text(FACTORIES)
    (tmp_path / "bat_broken.py").write_text("import no_such_package_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("bat_models", "bat_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("here")
def test_factories_may_return_modules_and_classifiers() -> None:
    bare = load_classifier("bat_models:bare")
    assert (bare.name, bare.architecture) == ("bat_models:bare", "Sequential")
    assert (bare.preprocessing, bare.num_classes) == (Preprocessing(), None)
    assert bare.module.training  # as the function returned it: evaluation borrows it
    given = load_classifier("bat_models:classifier")
    assert (given.preprocessing.crop_px, given.num_classes) == ((2, 2), 3)


def test_factories_take_weights(here: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    path = saved(module, here / "w.pt")
    for spec in ("bat_models:bare", "bat_models:classifier"):
        given = load_classifier(spec, weights=os.fspath(path))
        assert given.weights_sha256 == weights_sha256(module.state_dict())
        assert given.weights == "file w.pt"
    with pytest.raises(InputError, match="3 classes, not 4"):
        load_classifier("bat_models:classifier", num_classes=4)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("bat_modles:bare", "cannot import 'bat_modles'"),
        ("bat_broken:bare", "no_such_package_here"),
        ("bat_models:baer", "Did you mean 'bare'"),
        ("bat_models:size", "not a function"),
        ("bat_models:wrong", "returned a int"),
        ("bat_models:broken", "ValueError: no such checkpoint"),
        ("bat_models:needs", r"takes \(path\), but missing a required argument"),
    ],
)
def test_factory_errors_say_what_failed(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_classifier(spec)
    assert caught.value.where == spec


def test_modules_and_classifiers_are_taken_as_they_are() -> None:
    module = nn.Linear(3, 2).train()
    given = load_classifier(module, num_classes=2)
    assert module.training
    assert module.weight.requires_grad
    assert given.name == f"Linear@{given.weights_sha256[:8]}"
    assert (given.num_classes, given.weights) == (2, "given in memory")
    crop = Preprocessing(crop_px=(2, 2))
    other = load_classifier(given, preprocessing=crop)
    assert other.preprocessing == crop
    assert other.module is module
    assert (other.name, other.num_classes) == (given.name, 2)
    assert load_classifier(given).to_dict() == given.to_dict()
