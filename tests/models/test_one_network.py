"""One network behind every source of models gives the same predictions and scores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import Classifier, Preprocessing, load_classifier
from noctule.scoring import Evaluation

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::noctule.NoctuleWarning"
)
SIDE = 48
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = Preprocessing(resize_px=(SIDE, SIDE), mean=MEAN, std=STD)
CLASSES = 8
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), dtype=np.uint8)
IMAGES = IMAGES.repeat(14, axis=1).repeat(14, axis=2)  # blocks, to be resized
DATA = (IMAGES, [*range(CLASSES)] * 2)
BENCHMARK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear", "hue"), severities=(3,)
)
SETTINGS = Settings(device="cpu", batch_size=8, self_check=False)


def trained() -> nn.Module:
    """torchvision's ResNet-18 with weights whose predictions vary."""
    torch.manual_seed(0)
    module: nn.Module = models.resnet18(num_classes=CLASSES)
    images = torch.rand(16, 3, 4, 4).repeat_interleave(SIDE // 4, 2).repeat_interleave(12, 3)
    with torch.no_grad():
        for _ in range(12):  # the statistics of batch normalisation
            module((images - 0.45) / 0.225)
        module.get_parameter("fc.weight").mul_(3)
    return module.eval()


STAGE = r"resnet.encoder.stages.\1.layers.\2"
HF_NAMES = {
    r"^conv1": "resnet.embedder.embedder.convolution",
    r"^bn1": "resnet.embedder.embedder.normalization",
    r"^layer(\d)\.(\d)\.conv(\d)": STAGE + r".layer.\3.convolution",
    r"^layer(\d)\.(\d)\.bn(\d)": STAGE + r".layer.\3.normalization",
    r"^layer(\d)\.(\d)\.downsample\.0": STAGE + ".shortcut.convolution",
    r"^layer(\d)\.(\d)\.downsample\.1": STAGE + ".shortcut.normalization",
    r"^fc": "classifier.1",
}


def hf_name(name: str) -> str:
    """The name of a weight in transformers, which counts stages and convolutions from 0."""
    for pattern, new in HF_NAMES.items():
        if re.match(pattern, name):
            renamed = re.sub(pattern, new, name)
            return re.sub(
                r"\.(stages|layer)\.(\d)", lambda m: f".{m[1]}.{int(m[2]) - 1}", renamed
            )
    raise AssertionError(name)


def checkpoint(module: nn.Module, folder: Path) -> str:
    config: Any = transformers.ResNetConfig
    other = transformers.ResNetForImageClassification(
        config(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
               embedding_size=64, num_labels=CLASSES)
    )  # fmt: skip
    other.load_state_dict({hf_name(k): value for k, value in module.state_dict().items()})
    other.save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=MEAN, image_std=STD
    ).save_pretrained(folder)
    return f"hf:{folder}"


def in_every_form(module: nn.Module, folder: Path) -> dict[str, Classifier]:
    weights = folder / "weights.safetensors"
    save_file(module.state_dict(), weights)
    example = (torch.zeros(2, 3, SIDE, SIDE),)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(module, example, dynamic_shapes=[batch])
    torch.export.save(program, folder / "net.pt2")
    torch.jit.save(torch.jit.trace(module, example), folder / "net.pt")
    torch.onnx.export(program, (), folder / "net.onnx", dynamo=True, verbose=False)

    def function(images: Any) -> Any:
        with torch.no_grad():
            return module(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()

    given: Any = {"preprocessing": PREPROCESSING}
    return {
        "torchvision": load_classifier("torchvision:resnet18", weights=weights, **given),
        "timm": load_classifier("timm:resnet18", weights=weights, **given),
        "transformers": load_classifier(checkpoint(module, folder / "hf")),
        "ONNX": load_classifier(f"onnx:{folder / 'net.onnx'}", **given),
        "torch.export": load_classifier(f"export:{folder / 'net.pt2'}", trust=True, **given),
        "TorchScript": load_classifier(f"torchscript:{folder / 'net.pt'}", trust=True, **given),
        "a function": load_classifier(function, **given),
    }


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    folder, module = tmp_path_factory.mktemp("forms"), trained()
    classifiers = {"itself": load_classifier(module, preprocessing=PREPROCESSING)}
    classifiers |= in_every_form(module, folder)
    assert classifiers["transformers"].preprocessing == PREPROCESSING
    return {
        name: evaluate(one, DATA, BENCHMARK, out=folder / name, settings=SETTINGS)
        for name, one in classifiers.items()
    }


def test_the_network_is_worth_comparing(evaluations: dict[str, Evaluation]) -> None:
    rows = evaluations["itself"].run.rows().to_pylist()
    assert len({row["prediction"] for row in rows}) >= 4
    clean, sheared = (
        [row["prediction"] for row in rows if row["condition"].startswith(name)]
        for name in ("clean", "shear")
    )
    assert clean != sheared


FORMS = [
    "torchvision", "timm", "transformers", "ONNX", "torch.export", "TorchScript", "a function"
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_same_predictions_and_scores(evaluations: dict[str, Evaluation], form: str) -> None:
    expected, found = evaluations["itself"], evaluations[form]
    pairs = list(
        zip(expected.run.rows().to_pylist(), found.run.rows().to_pylist(), strict=True)
    )
    assert len(pairs) == 3 * len(IMAGES)
    for one, other in pairs:
        for key in ("image_id", "condition", "label", "prediction", "label_rank"):
            assert one[key] == other[key]
        assert other["confidence"] == pytest.approx(one["confidence"], abs=1e-4)
        assert other["loss"] == pytest.approx(one["loss"], abs=1e-3)
    scores = [evaluation.scores.to_records() for evaluation in (expected, found)]
    assert len(scores[0]) == len(scores[1]) > 10
    for one, other in zip(*scores, strict=True):
        assert (one["scope"], one["name"], one["metric"]) == (
            other["scope"], other["name"], other["metric"],
        )  # fmt: skip
        assert other["value"] == pytest.approx(one["value"], abs=1e-3)
