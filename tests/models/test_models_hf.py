"""Checkpoints of transformers, saved here: their own preprocessing, class names and logits."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import Preprocessing, load_classifier
from noctule.models.sources.hf import translate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
CPU = Settings(device="cpu", batch_size=8, self_check=False)
Config: Any = transformers.ViTConfig
NAMES = ["ant", "bee", "cat", "dog"]
IMAGES = np.random.default_rng(1).integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def vit(*, channels: int = 3, names: bool = True, **options: Any) -> Any:
    torch.manual_seed(0)
    if names:
        options["id2label"] = dict(enumerate(NAMES))
    return transformers.ViTForImageClassification(
        Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            image_size=32, patch_size=8, num_labels=4, num_channels=channels, **options,
        )
    ).eval()  # fmt: skip


def processor(**options: Any) -> Any:
    return transformers.ViTImageProcessor(**{"size": {"height": 32, "width": 32}, **options})


def saved(folder: Path, model: Any, made: Any) -> Path:
    model.save_pretrained(folder)
    if made is not None:
        made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("vit") / "vit", vit(), processor())


def test_a_vision_transformer(checkpoint: Path, tmp_path: Path, capfd: Any) -> None:
    classifier = load_classifier(f"hf:{checkpoint}")
    assert classifier.class_names == tuple(NAMES)
    assert (classifier.num_classes, classifier.architecture) == (4, "ViTForImageClassification")
    assert classifier.preprocessing == Preprocessing(
        resize_px=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3
    )
    with pytest.warns(noctule.NoctuleWarning, match="the image processor: resized to 32"):
        run = evaluate(
            classifier, (IMAGES, [0, 1, 2, 3] * 3), QUICK, out=tmp_path / "run", settings=CPU
        ).run
    clean = [row for row in run.rows().to_pylist() if row["condition"] == "clean"]
    # The rows are transformers' own, of the same pixels.
    pixels = processor()([Image.fromarray(one) for one in IMAGES], return_tensors="pt")
    with torch.no_grad():
        logits = vit()(**pixels).logits
    assert [row["prediction"] for row in clean] == logits.argmax(1).tolist()
    confidences = logits.softmax(1).amax(1).tolist()
    assert [row["confidence"] for row in clean] == pytest.approx(confidences, abs=2e-3)
    assert capfd.readouterr().err == ""


def test_half_precision(tmp_path: Path) -> None:
    folder = saved(tmp_path / "half", vit().half(), processor())
    classifier = load_classifier(f"hf:{folder}")
    data = (IMAGES, [0, 1, 2, 3] * 3)
    with pytest.warns(noctule.NoctuleWarning):
        run = evaluate(classifier, data, QUICK, out=tmp_path / "run", settings=CPU).run
    assert run.identity.precision == "float16"


def test_numbers_are_no_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", vit(names=False), processor())
    assert load_classifier(f"hf:{folder}").class_names is None


def test_grey_images(tmp_path: Path) -> None:
    made = processor(image_mean=[0.1], image_std=[0.3])
    folder = saved(tmp_path / "grey", vit(channels=1), made)
    assert load_classifier(f"hf:{folder}").preprocessing == Preprocessing(
        resize_px=(32, 32), mode="L", mean=(0.1,), std=(0.3,)
    )


PROCESSORS: dict[str, Any] = {
    "ViT": lambda: transformers.ViTImageProcessor(size={"height": 32, "width": 40}),
    "DeiT": lambda: transformers.DeiTImageProcessor(),
    "ConvNext": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 224}),
    "ConvNext 384": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "LeViT": lambda: transformers.LevitImageProcessor(),
    "PoolFormer": lambda: transformers.PoolFormerImageProcessor(),
    "EfficientNet": lambda: transformers.EfficientNetImageProcessor(),
    "EfficientNet B0": lambda: transformers.EfficientNetImageProcessor(
        rescale_factor=1 / 127.5, rescale_offset=True, include_top=False,
        image_mean=[0.0] * 3, image_std=[1.0] * 3,
    ),
    "MobileNetV2": lambda: transformers.MobileNetV2ImageProcessor(),
    "BiT": lambda: transformers.BitImageProcessor(),
    "CLIP": lambda: transformers.CLIPImageProcessor(),
    "SigLIP": lambda: transformers.SiglipImageProcessor(),
    "raw": lambda: transformers.ViTImageProcessor(do_rescale=False, do_normalize=False),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_processors_are_translated(name: str) -> None:
    """Rounding and a crop shifted by a pixel apart, the pixels are the processor's."""
    made = PROCESSORS[name]()
    own = translate(made.to_dict())
    y, x = np.mgrid[0:1:360j, 0:1:500j]
    image = Image.fromarray((255 * np.stack([x, y, x * y], axis=-1)).astype(np.uint8))
    theirs = made(image, return_tensors="pt")["pixel_values"][0].double()
    ours = own.normalise(own.prepare(image))
    assert ours.shape == theirs.shape
    levels = ((ours - theirs) * 255 * torch.tensor(own.std)[:, None, None]).abs()
    assert float(levels.max()) <= 2.5


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (None, "its image processor cannot be used"),
        (
            transformers.MobileViTImageProcessor(do_flip_channel_order=True),
            r"its pixels differ by \d+ levels on average",
        ),
        (
            transformers.CLIPImageProcessor(size={"shortest_edge": 32, "longest_edge": 40}),
            "the size .* is not supported",
        ),
    ],
)
def test_other_processors_are_refused(tmp_path: Path, made: Any, says: str) -> None:
    spec = f"hf:{saved(tmp_path / 'vit', vit(), made)}"
    with pytest.raises(noctule.InputError, match=says):
        load_classifier(spec)
    chosen = Preprocessing(resize_px=(32, 32))
    assert load_classifier(spec, preprocessing=chosen).preprocessing == chosen


# Without code, and with all weights


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_code_of_a_checkpoint_is_not_run(tmp_path: Path, checkpoint: Path) -> None:
    folder, victim = saved(tmp_path / "own", vit(), processor()), tmp_path / "victim"
    code = f"import os\nos.mkdir({str(victim)!r})\nclass Config: pass\nclass Net: pass\n"
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {
        "AutoConfig": "own.Config",
        "AutoModelForImageClassification": "own.Net",
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(noctule.InputError, match="without code of its own"):
        load_classifier(f"hf:{folder}")
    assert not victim.exists()


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    folder, victim = saved(tmp_path / "bin", vit(), processor()), tmp_path / "victim"
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.bias": Bomb(victim)}, folder / "pytorch_model.bin")
    with pytest.raises(noctule.InputError, match="no image classifier can be loaded"):
        load_classifier(f"hf:{folder}")
    assert not victim.exists()


def test_weights_are_never_random(tmp_path: Path) -> None:
    backbone = transformers.ViTModel(vit().config)
    folder = saved(tmp_path / "backbone", backbone, processor())
    with pytest.raises(noctule.InputError, match=r"lacks 2 weights.*trained to classify"):
        load_classifier(f"hf:{folder}")


@pytest.mark.parametrize("damage", ["weights", "config", "no weights", "text"])
def test_damaged_checkpoints(tmp_path: Path, damage: str, capfd: Any) -> None:
    folder = saved(tmp_path / "vit", vit(), processor())
    weights = folder / "model.safetensors"
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "no weights":
        weights.unlink()
    else:
        (folder / "config.json").write_text('{"model_type": "bert"}')
    capfd.readouterr()
    with pytest.raises(noctule.InputError, match="no image classifier can be loaded"):
        load_classifier(f"hf:{folder}")
    assert capfd.readouterr().err == ""


def test_pipes_in_place_of_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", vit(), processor())
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(noctule.InputError, match="is a named pipe"):
        load_classifier(f"hf:{folder}")


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(noctule.InputError, match=r"is not a folder with a config\.json"):
            load_classifier(f"hf:{tmp_path / name}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(noctule.InputError, match=r"can be loaded.*use a local folder"):
        load_classifier("hf:nobody/nothing")


def test_other_weights_and_classes_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(noctule.InputError, match="has 4 classes, not 5"):
        load_classifier(f"hf:{checkpoint}", num_classes=5)
    with pytest.raises(noctule.InputError, match="other weights cannot be loaded"):
        load_classifier(f"hf:{checkpoint}", weights=tmp_path / "w.pt")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(noctule.InputError, match=r"pip install 'noctule\[hf\]'"):
        load_classifier(f"hf:{checkpoint}")
