"""Whatever form a model's outputs have, its rows are those of the same plain logits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.explore.predictions import Predictor
from noctule.models import NumpyNetwork, Preprocessing, load_classifier
from noctule.models.outputs import are_probabilities, log_probabilities, output_tensor

QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
CPU = Settings(device="cpu", batch_size=8, self_check=False)
WEIGHTS = np.random.default_rng(0).normal(0, 9, (3, 4)).astype(np.float32)
DATA = (
    np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8),
    [0, 1, 2, 3] * 3,
)


class Network(nn.Module):
    """Logits from the mean colour, in some form."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(WEIGHTS))
        self.form = form

    def forward(self, images: Tensor) -> Any:
        # The means of columns, which differ more than those of images.
        return self.form(images[..., 3].mean(2) @ self.weight)


def predict(images: Any) -> Any:
    """The same in NumPy, of (batch, height, width, channels)."""
    assert (images.dtype, images.flags.c_contiguous) == (np.float32, True)
    assert images.shape[1:] == (16, 16, 3)
    return images[:, :, 3].mean(1) @ WEIGHTS


def predict_first(images: Any) -> Any:
    """The same in NumPy, of (batch, channels, height, width)."""
    return {"logits": images[..., 3].mean(2) @ WEIGHTS, "features": images}


def rows(model: Any, out: Path, **options: Any) -> list[dict[str, Any]]:
    run = evaluate(model, DATA, QUICK, out=out, settings=CPU, **options).run
    return run.rows().to_pylist()


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected) == 24
    for one, other in zip(found, expected, strict=True):
        for key in ("image_id", "condition", "label", "prediction", "label_rank"):
            assert one[key] == other[key]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)


class Pair(NamedTuple):
    logits: Tensor
    auxiliary: Tensor


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda logits: (logits, logits[:1]),
    "list": lambda logits: [logits],
    "dictionary": lambda logits: {"loss": None, "logits": logits},
    "one entry": lambda logits: {"head": logits},
    "object": lambda logits: SimpleNamespace(logits=logits, hidden=None),
    "named tuple": lambda logits: Pair(auxiliary=logits * 0, logits=logits),
    "array": lambda logits: logits.numpy().astype(np.float64),
    "half": lambda logits: logits.double(),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return rows(Network(lambda logits: logits), tmp_path_factory.mktemp("run") / "run")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_logits(tmp_path: Path, expected: Any, form: str) -> None:
    assert_same(rows(Network(FORMS[form]), tmp_path / "run"), expected)


@pytest.mark.parametrize("form", [lambda one: one, FORMS["dictionary"]])
def test_probabilities_are_recognised(tmp_path: Path, expected: Any, form: Any) -> None:
    model = Network(lambda logits: form(logits.softmax(1)))
    with pytest.warns(noctule.NoctuleWarning, match="are used as probabilities"):
        found = rows(model, tmp_path / "run")
    assert_same(found, expected)
    with pytest.warns(noctule.NoctuleWarning, match="are used as probabilities"):
        assert rows(model, tmp_path / "run") == found  # resumed: nothing to do


def test_a_users_word_counts_more(tmp_path: Path, expected: Any) -> None:
    from dataclasses import replace

    classifier = load_classifier(Network(lambda logits: logits.softmax(1)))
    found = rows(replace(classifier, outputs="probabilities"), tmp_path / "probabilities")
    assert_same(found, expected)
    found = rows(replace(classifier, outputs="logits"), tmp_path / "logits")
    assert max(row["confidence"] for row in found) < np.e / (np.e + 3)
    # Unnormalised: 2 p gives the same probabilities.
    doubled = load_classifier(Network(lambda logits: 2 * logits.softmax(1)))
    found = rows(replace(doubled, outputs="probabilities"), tmp_path / "doubled")
    assert_same(found, expected)
    with pytest.raises(
        noctule.InputError, match=r"unknown value 'logit'\. Did you mean 'logits'"
    ):
        replace(classifier, outputs="logit")


def test_hard_decisions_have_a_finite_loss() -> None:
    logits = log_probabilities(torch.tensor([[0.0, 1.0], [0.25, 0.75]]))
    # ln 1.1755e-38 = −87.34
    assert logits.tolist()[0] == pytest.approx([-87.3365, 0])
    assert logits.softmax(1)[1].tolist() == pytest.approx([0.25, 0.75])
    assert log_probabilities(torch.tensor([[-0.1, 1.1]])).isnan().any()


@pytest.mark.parametrize(
    "outputs",
    [
        torch.zeros(2, 4),
        torch.tensor([[0.5, 0.7]]),
        torch.tensor([[1.5, -0.5]]),
        torch.tensor([[0.5, 0.5], [0.9, 0.8]]),
        torch.ones(3, 1),
        torch.ones(2),
        torch.empty(0, 4),
        torch.tensor([[np.nan, 1.0]]),
    ],
)
def test_other_outputs_are_not_taken_for_probabilities(outputs: Tensor) -> None:
    assert not are_probabilities(outputs)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (None, "returned a NoneType"),
        ((), "returned a tuple"),
        (("text",), "returned a tuple"),
        ({"a": 1, "b": 2}, "returned a dict with the entries a, b"),
        ({"logits": None, "b": 2}, "returned a dict with the entries logits, b"),
        (np.array(["a"]), "returned a ndarray"),
        ([[0.5, 0.5]], "returned a list"),
    ],
)
def test_what_holds_no_outputs_is_refused(returned: object, says: str) -> None:
    with pytest.raises(noctule.InputError, match=f"model: the model {says}.*or as `logits`"):
        output_tensor(returned, "model")


def test_the_page_shows_probabilities_as_they_are() -> None:
    images = torch.from_numpy(DATA[0]).permute(0, 3, 1, 2)
    plain, softmax = (
        Predictor(load_classifier(Network(form)), torch.device("cpu")).probabilities(images)
        for form in (lambda logits: (logits,), lambda logits: logits.softmax(1))
    )
    assert torch.allclose(plain, softmax, atol=1e-6)


# Functions of NumPy batches


@pytest.mark.parametrize("model", [predict, NumpyNetwork(predict_first, layout="NCHW")])
def test_functions_of_numpy_batches(tmp_path: Path, expected: Any, model: Any) -> None:
    assert_same(rows(model, tmp_path / "run"), expected)
    name = "predict" if model is predict else "predict_first"
    assert load_classifier(model).name == name


def test_a_functions_images_are_normalised(tmp_path: Path) -> None:
    seen: list[float] = []

    def look(images: Any) -> Any:
        seen.extend(images[..., 0].ravel())
        return np.zeros((len(images), 4), np.float32)

    preprocessing = Preprocessing(mean=(1, 0.5, 0.5), std=(0.5, 1, 1))
    rows(load_classifier(look, preprocessing=preprocessing), tmp_path / "run")
    assert (min(seen), max(seen)) == (-2, 0)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda images: 1 / 0, r"shape \(8, 16, 16, 3\) \(NHWC\): ZeroDivisionError"),
        (lambda images: images.permute(0, 3, 1, 2), "no attribute 'permute'.*torch.nn.Module"),
        (lambda images: None, "returned a NoneType"),
        (lambda images: np.zeros((3, 4)), r"returned \(3, 4\) for 8 images"),
    ],
)
def test_a_function_that_fails_says_how(tmp_path: Path, function: Any, says: str) -> None:
    with pytest.raises(noctule.InputError, match=says):
        rows(function, tmp_path / "run")


def test_other_layouts_are_refused() -> None:
    with pytest.raises(noctule.InputError, match="unknown value 'HWC'"):
        NumpyNetwork(predict, layout="HWC")  # type: ignore[arg-type]


def test_a_function_computes_in_its_own_precision() -> None:
    with pytest.raises(noctule.InputError, match="is bfloat16, and the network's weights"):
        evaluate(predict, DATA, QUICK, settings=Settings(device="cpu", precision="bfloat16"))


# On the command line

FACTORIES = """
import numpy as np
import torch
from torch import nn
from noctule import Preprocessing

def scaled(width, power=1, num_classes=3):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
    network.requires_grad_(False)[2].weight.copy_(torch.eye(3) * width ** power)
    return network

def function():
    return lambda images: images.mean((1, 2))[:, ::-1] * 50

def gray():
    return lambda images: images.mean((1, 2)) * [[1, 0, 0]], Preprocessing(
        mode="L", mean=(0.5,), std=(0.5,))

def probabilities():
    def softmax(images):
        powers = np.exp(50 * images.mean((1, 2))[:, ::-1])
        return powers / powers.sum(1, keepdims=True)
    return softmax

def predict(images): return images.mean((1, 2))
"""


@pytest.fixture
def cli(folder: Path, noctule_cli: Any) -> Iterator[Any]:
    """`noctule evaluate MODEL` on folders where blue, green or red is brightest."""
    (folder.parent / "color_models.py").write_text(FACTORIES)
    toml = 'name="q"\ntitle="Q"\nsource="t"\ncorruptions=["shear"]\nmetric="mean_error"\n'
    (folder.parent / "q.toml").write_text(toml)
    yield lambda model, *options: noctule_cli(
        "evaluate", model, folder, "-b", "q.toml", "--device", "cpu", "--workers", 0, *options
    )
    sys.modules.pop("color_models", None)


def test_a_function_on_the_command_line(cli: Any) -> None:
    status, out, err = cli("color_models:function")
    assert (status, "0.0 %" in out) == (0, True), err
    assert "receives RGB images in [0, 1]" in err


def test_probabilities_on_the_command_line(cli: Any) -> None:
    status, _, err = cli("color_models:probabilities")
    assert (status, "used as probabilities" in err) == (0, True), err
    status, _, err = cli("color_models:probabilities", "--outputs", "logits")
    assert (status, "For probabilities, pass --outputs" in err) == (2, True), err


def test_arguments_of_the_function(cli: Any) -> None:
    status, out, err = cli(
        "color_models:scaled", "--model-args", '{"width": 3, "power": 2}', "--no-self-check"
    )
    assert status == 0, err
    assert "color_models:scaled(width=3, power=2) on" in " ".join(out.split())
    classifier = load_classifier("color_models:scaled", model_args={"width": 5})
    weight: Any = classifier.module[2].weight  # type: ignore[index]
    assert weight[0, 0] == 5


@pytest.mark.parametrize(
    ("model", "text", "says"),
    [
        ("color_models:scaled", "width=3", "'width=3' is not JSON"),
        ("color_models:scaled", "[3]", "is not a JSON object. Use a JSON object, such as"),
        ("color_models:scaled", "{}", "takes (width, power=1, num_classes=3), but missing a"),
        ("color_models:scaled", '{"depth": 3}', "takes (width, power=1, num_classes=3), but"),
        ("color_models:scaled", '{"width": "a"}', "the function raised TypeError"),
        ("color_models:predict", "{}", "If it maps a batch, images, to outputs, name a func"),
        ("photo-patches", '{"width": 3}', "--model-args: photo-patches takes no arguments"),
    ],
)
def test_wrong_arguments(cli: Any, model: str, text: str, says: str) -> None:
    status, out, err = cli(model, "--model-args", text)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_grey_images(cli: Any) -> None:
    status, _, err = cli("color_models:gray", "--no-self-check")
    assert status == 0, err
    status, _, err = cli("color_models:function", "--image-mode", "L", "--no-self-check")
    # The function returns one class for grey images, and the data have three.
    assert (status, "classes" in err) == (2, True), err
    status, _, err = cli("color_models:gray", "--image-mode", "RGB", "--mean", "0.5")
    assert (status, "Mode RGB has 3" in err) == (2, True), err


def test_other_filters_are_refused(cli: Any) -> None:
    status, _, err = cli("color_models:function", "--interpolation", "cubic")
    assert (status, "unknown interpolation 'cubic'. Did you mean 'bicubic'" in err) == (2, True)


def test_the_preprocessing_is_shown_before_the_run(cli: Any) -> None:
    status, _, err = cli("photo-patches")  # which has other classes than these data
    assert status == 2
    assert "photo-patches: images resized to 64 × 64 px (bilinear), mean 0.5, 0.5, 0.5" in err
