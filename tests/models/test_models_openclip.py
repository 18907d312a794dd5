"""Models of open_clip, made and saved here: the logits are those of open_clip itself."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

import noctule
from noctule.benchmarks import Benchmark
from noctule.data.sources.arrays import ArrayDataset
from noctule.evaluation.checks.classes import check_classes
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import load_classifier

NAMES = ["ant", "bee", "great white shark", "dog"]
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
MODEL = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
SIGLIP = {**MODEL, "init_logit_bias": -10, "custom_text": True}
PREPROCESSING = {
    "size": 32, "mode": "RGB", "mean": [0.5] * 3, "std": [0.25] * 3,
    "interpolation": "bicubic", "resize_mode": "squash",
}  # fmt: skip
IMAGES = np.random.default_rng(1).integers(0, 256, (12, 40, 50, 3), dtype=np.uint8)
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def network(config: Any = MODEL) -> Any:
    torch.manual_seed(0)
    options = {key: value for key, value in config.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP
    return kind(**options).eval()


def saved(folder: Path, config: Any = MODEL, **preprocessing: Any) -> Path:
    folder.mkdir()
    save_file(network(config).state_dict(), folder / "open_clip_model.safetensors")
    settings = {"model_cfg": config, "preprocess_cfg": {**PREPROCESSING, **preprocessing}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("openclip") / "tiny")


@pytest.mark.parametrize("config", [MODEL, SIGLIP], ids=["CLIP", "SigLIP"])
def test_the_logits_are_those_of_open_clip(tmp_path: Path, config: Any) -> None:
    spec = f"openclip:{saved(tmp_path / 'model', config)}"
    classifier = load_classifier(spec, classes=NAMES)
    model, tokenizer = network(config), open_clip.get_tokenizer("ViT-B-32")
    transform = image_transform_v2(PreprocessCfg(**PREPROCESSING), is_train=False)
    pixels = torch.stack([transform(Image.fromarray(image)) for image in IMAGES])
    words = tokenizer([f"a photo of a {name}." for name in NAMES], context_length=16)
    with torch.no_grad():
        found = classifier.module(pixels)
        images, texts, scale, *bias = model(pixels, words)
    assert len(bias) == (config is SIGLIP)
    expected = scale * images @ texts.T + sum(bias)
    assert torch.allclose(found, expected, atol=1e-4)
    own = classifier.preprocessing
    ours = torch.stack([own.normalise(own.prepare(Image.fromarray(one))) for one in IMAGES])
    assert torch.allclose(ours, pixels, atol=1e-5)


def test_several_prompts(folder: Path) -> None:
    templates = open_clip.SIMPLE_IMAGENET_TEMPLATES
    classifier = load_classifier(
        f"openclip:{folder}", classes=NAMES, prompts="open_clip:SIMPLE_IMAGENET_TEMPLATES"
    )
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    expected = open_clip.build_zero_shot_classifier(network(), tokenizer, NAMES, templates)
    found: Any = classifier.module.text_features
    assert torch.allclose(found, expected.T, atol=1e-5)


def test_the_names_in_open_clip_are_known_as_imagenets() -> None:
    """So that folders of WordNet ids in another order are refused."""
    classifier = replace(load_classifier("photo-patches"), num_classes=1000)
    classifier = replace(classifier, class_names=tuple(open_clip.IMAGENET_CLASSNAMES))
    wnids = [f"n{number:08d}" for number in range(1000)]
    with pytest.raises(noctule.InputError, match="are not the 1000 of ImageNet-1k"):
        check_classes(classifier, ArrayDataset("a", IMAGES, np.arange(12), class_names=wnids))


def test_a_run(folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(f"openclip:{folder}", classes=NAMES)
    settings = Settings(device="cpu", batch_size=5, self_check=False)
    data = (IMAGES, [0, 1, 2, 3] * 3)
    with pytest.warns(noctule.NoctuleWarning, match=r"the prompt 'a photo of a {}\.'"):
        run = evaluate(classifier, data, QUICK, out=tmp_path / "run", settings=settings).run
    own = classifier.preprocessing
    pixels = torch.stack([own.normalise(own.prepare(Image.fromarray(one))) for one in IMAGES])
    with torch.no_grad():
        logits = classifier.module(pixels)
    clean = [row for row in run.rows().to_pylist() if row["condition"] == "clean"]
    assert [row["prediction"] for row in clean] == logits.argmax(1).tolist()
    assert "4 classes, the prompt 'a photo of a {}.'" in run.identity.model["weights"]


def test_bfloat16_does_not_round_the_logits(folder: Path) -> None:
    """On a GPU, runs use bfloat16, whose step at a similarity of 30 would be 0.1."""
    classifier = load_classifier(f"openclip:{folder}", classes=NAMES)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = classifier.module(torch.rand(64, 3, 32, 32))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.parametrize(
    "settings",
    [{"resize_mode": "shortest"}, {"resize_mode": "squash", "interpolation": "bilinear"},
     {"mean": [0.1, 0.2, 0.3]}],
)  # fmt: skip
def test_preprocessing(tmp_path: Path, settings: dict[str, Any]) -> None:
    classifier = load_classifier(
        f"openclip:{saved(tmp_path / 'model', **settings)}", classes=NAMES
    )
    config = PreprocessCfg(**{**PREPROCESSING, **settings})
    image = Image.fromarray(IMAGES[0]).resize((90, 70))
    theirs = image_transform_v2(config, is_train=False)(image)
    own = classifier.preprocessing
    assert torch.allclose(own.normalise(own.prepare(image)), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize_mode": "longest"}, "its preprocessing cannot be used: it pads images"),
        ({"interpolation": "random"}, "its preprocessing cannot be used"),
        ({"mean": "high"}, "its preprocessing cannot be used"),
        ({"std": [0, 0, 0]}, "its preprocessing cannot be used"),
    ],
)
def test_other_preprocessing_is_refused(tmp_path: Path, settings: Any, message: str) -> None:
    spec = f"openclip:{saved(tmp_path / 'model', **settings)}"
    with pytest.raises(noctule.InputError, match=message):
        load_classifier(spec, classes=NAMES)
    chosen = noctule.Preprocessing(resize_px=(32, 32))
    classifier = load_classifier(spec, classes=NAMES, preprocessing=chosen)
    assert classifier.preprocessing == chosen


def test_names_and_weights(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {"tiny": MODEL, "RN50": MODEL})
    weights = folder / "open_clip_model.safetensors"
    for name, options, message in (
        ("tinny", {}, r"unknown open_clip model 'tinny'. Nearest: tiny"),
        ("RN50", {}, r"no weights are named. Use --weights FILE alone, or one of: openai,"),
        ("RN50@open", {}, "'open' are no weights of RN50. Use .*one of: openai,"),
        ("RN50@openai", {"weights": weights}, "Use --weights FILE alone"),
        (str(folder), {"weights": weights}, "other weights cannot be loaded into it"),
        ("tiny", {"weights": tmp_path / "no.pt"}, r"no\.pt"),
    ):
        with pytest.raises(noctule.InputError, match=message):
            load_classifier(f"openclip:{name}", classes=NAMES, **options)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("RN50@openai", "nobody/nothing"):
        with pytest.raises(noctule.InputError, match=r"cannot load it.*use a local folder"):
            load_classifier(f"openclip:{name}", classes=NAMES)
    given = load_classifier("openclip:tiny", classes=NAMES, weights=weights)
    same = load_classifier(f"openclip:{folder}", classes=NAMES)
    assert given.weights_sha256 == same.weights_sha256
    assert given.weights.startswith("file open_clip_model.safetensors")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_code_is_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    text = {**TEXT, "hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    spec = f"openclip:{saved(tmp_path / 'own', {**MODEL, 'text_cfg': text})}"
    (tmp_path / "own/own.py").write_text(f"import os\nos.mkdir({str(victim)!r})\n")
    with pytest.raises(noctule.InputError, match="asks for code of its own, which is not run"):
        load_classifier(spec, classes=NAMES)
    for name in ("open_clip_pytorch_model.bin", "model.pth"):
        folder = saved(tmp_path / name)
        (folder / "open_clip_model.safetensors").unlink()
        state = {"state_dict": Bomb(victim)}
        torch.save(state, folder / name)
        with pytest.raises(noctule.InputError, match="open_clip cannot load it"):
            load_classifier(f"openclip:{folder}", classes=NAMES)
        (folder / name).write_bytes(pickle.dumps(state))
        with pytest.raises(noctule.InputError, match="open_clip cannot load it"):
            load_classifier(f"openclip:{folder}", classes=NAMES)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("config", "open_clip cannot load it"),
        ("no config", r"is not a folder with an open_clip_config\.json"),
        ("other config", "open_clip cannot load it"),
        ("weights", "open_clip cannot load it"),
        ("no weights", "Required pretrained weights"),
        ("other weights", "open_clip cannot load it"),
        ("pipe", "is a named pipe"),
    ],
)
def test_damaged_folders(tmp_path: Path, damage: str, message: str, capfd: Any) -> None:
    folder = saved(tmp_path / "model")
    weights, config = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    if damage == "config":
        config.write_text("{")
    elif damage == "no config":
        config.unlink()
    elif damage == "other config":
        config.write_text('{"model_cfg": {"embed_dim": "x"}}')
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "other weights":
        save_file({"a": torch.zeros(2)}, weights)
    else:
        weights.unlink()
        if damage == "pipe":
            os.mkfifo(weights)
    with pytest.raises(noctule.InputError, match=message):
        load_classifier(f"openclip:{folder}", classes=NAMES)
    assert capfd.readouterr().err == ""


def test_unsuitable_texts(folder: Path) -> None:
    with pytest.raises(noctule.InputError, match=r"none are given\. Pass --classes FILE"):
        load_classifier(f"openclip:{folder}")
    with pytest.raises(noctule.InputError, match=r"'a( ant){20}' has more than 16 tokens"):
        load_classifier(f"openclip:{folder}", classes=["ant", "bee"], prompts="a " + "{} " * 20)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(noctule.InputError, match=r"pip install 'noctule\[openclip\]'"):
        load_classifier(f"openclip:{folder}", classes=NAMES)
