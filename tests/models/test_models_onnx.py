"""An ONNX file gives what its network gives, whatever its layout, batch and precision."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from torch import nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import Preprocessing, load_classifier
from noctule.models.sources.onnx import OnnxNetwork

QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
CPU = Settings(device="cpu", batch_size=8, self_check=False)
BFLOAT16 = Settings(device="cpu", precision="bfloat16")
DATA = (
    np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
    [0, 1, 2, 3] * 3,
)
IMAGES = torch.from_numpy(DATA[0]).permute(0, 3, 1, 2) / 255
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def network(channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 4),
    ).eval()  # fmt: skip


def graph(
    shape: list[Any], dtype: int = FLOAT, *, output: str = "logits", channels: int = 3
) -> onnx.ModelProto:
    """The network as ONNX operators."""
    module, numpy_type = network(channels), helper.tensor_dtype_to_np_dtype(dtype)
    weights = [
        numpy_helper.from_array(value.numpy().astype(numpy_type), name)
        for name, value in module.state_dict().items()
    ]
    first, nodes = "images", []
    if shape[-1] in (1, 3):
        nodes.append(helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]))
        first = "first"
    nodes += [
        helper.make_node("Conv", [first, "0.weight", "0.bias"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "4.weight", "4.bias"], [output], transB=1),
    ]
    images = helper.make_tensor_value_info("images", dtype, shape)
    outputs = [
        helper.make_tensor_value_info("pool", dtype, None),
        helper.make_tensor_value_info(output, dtype, [shape[0], 4]),
    ]
    if output != "logits":
        outputs.reverse()
    return model(helper.make_graph(nodes, "net", [images], outputs, weights))


def model(made: onnx.GraphProto) -> onnx.ModelProto:
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=8)


def saved(made: onnx.ModelProto, path: Path) -> Path:
    onnx.save(made, path)
    return path


def rows(model: Any, out: Path) -> list[dict[str, Any]]:
    return evaluate(model, DATA, QUICK, out=out, settings=CPU).run.rows().to_pylist()


def assert_same(
    found: list[dict[str, Any]], expected: list[dict[str, Any]], atol: float = 1e-5
) -> None:
    assert len(found) == len(expected) == 24
    for one, other in zip(found, expected, strict=True):
        assert one["image_id"] == other["image_id"]
        assert one["loss"] == pytest.approx(other["loss"], abs=atol)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return rows(network(), tmp_path_factory.mktemp("run") / "run")


SHAPES = {
    "dynamic": ["batch", 3, "height", "width"],
    "one image": [1, 3, 32, 32],
    "five images": [5, 3, 32, 32],
    "channels last": ["batch", 32, 32, 3],
    "five, channels last": [5, 32, 32, 3],
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("output", ["logits", "scores"])
def test_layouts_and_batches(tmp_path: Path, expected: Any, name: str, output: str) -> None:
    path = saved(graph(SHAPES[name], output=output), tmp_path / "net.onnx")
    classifier = load_classifier(f"onnx:{path}")
    assert (classifier.num_classes, classifier.architecture) == (4, "net")
    size = None if name == "dynamic" else (32, 32)
    assert classifier.preprocessing.crop_px == size
    with pytest.warns(noctule.NoctuleWarning, match="records no preprocessing"):
        assert_same(rows(classifier, tmp_path / "run"), expected)


def test_float16(tmp_path: Path, expected: Any) -> None:
    path = saved(graph(["batch", 3, 32, 32], HALF), tmp_path / "net.onnx")
    classifier = load_classifier(f"onnx:{path}", preprocessing=Preprocessing())
    run = evaluate(classifier, DATA, QUICK, out=tmp_path / "run", settings=CPU).run
    assert run.identity.precision == "float16"
    assert_same(run.rows().to_pylist(), expected, atol=5e-3)


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.batches = iter([{"images": IMAGES.numpy()}])

    def get_next(self) -> Any:
        return next(self.batches, None)


def test_an_int8_network(tmp_path: Path, expected: Any) -> None:
    plain = saved(graph(["batch", 3, 32, 32]), tmp_path / "net.onnx")
    path = tmp_path / "int8.onnx"
    quantization.quantize_static(plain, path, Calibration())
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert TensorProto.INT8 in kinds
    classifier = load_classifier(f"onnx:{path}", preprocessing=Preprocessing())
    found = rows(classifier, tmp_path / "run")
    assert_same(found, expected, atol=0.05)
    # The clean rows are those of ONNX Runtime itself.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": IMAGES.numpy()})
    losses = nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.tensor(DATA[1]), reduction="none"
    )
    clean = [row["loss"] for row in found if row["condition"] == "clean"]
    assert clean == pytest.approx(losses.tolist(), abs=1e-5)


def test_bytes(tmp_path: Path) -> None:
    """A graph with its own normalisation takes 0 to 255."""
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["scores"], axes=[2, 3], keepdims=0),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 3, "h", "w"])
    scores = helper.make_tensor_value_info("scores", FLOAT, ["n", 3])
    path = saved(model(helper.make_graph(nodes, "g", [images], [scores])), tmp_path / "g.onnx")
    classifier = load_classifier(f"onnx:{path}")
    assert "takes bytes, 0 to 255" in classifier.preprocessing_note
    pixels = torch.from_numpy(DATA[0]).permute(0, 3, 1, 2)
    found = classifier.module(classifier.preprocessing.normalise(pixels))
    assert torch.allclose(found, pixels.float().mean((2, 3)))


def test_grey_images(tmp_path: Path) -> None:
    path = saved(graph(["batch", 1, 28, 24], channels=1), tmp_path / "net.onnx")
    preprocessing = load_classifier(f"onnx:{path}").preprocessing
    assert (preprocessing.mode, preprocessing.crop_px) == ("L", (28, 24))


def test_the_hash_covers_weights_in_further_files(tmp_path: Path) -> None:
    hashes = []
    for number, change in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = graph(["batch", 3, 32, 32])
        onnx.save(
            made, folder / "net.onnx", save_as_external_data=True, location="weights.bin",
            size_threshold=0,
        )  # fmt: skip
        content = bytearray((folder / "weights.bin").read_bytes())
        content[0] += change
        (folder / "weights.bin").write_bytes(content)
        (folder / "other.txt").write_text(str(number))
        hashes.append(load_classifier(f"onnx:{folder / 'net.onnx'}").weights_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


# Devices


def test_a_gpu_needs_its_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(graph(["batch", 3, 32, 32]), tmp_path / "net.onnx")
    network = OnnxNetwork(path, "onnx:net")
    cpu = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: cpu)
    with pytest.raises(noctule.InputError, match=r"on cuda:1.*pip install onnxruntime-gpu"):
        network._session(torch.device("cuda:1"))
    asked: list[Any] = []

    def session(path: Path, options: Any, providers: Any) -> Any:
        asked.append(providers)
        return onnxruntime.capi.onnxruntime_inference_collection.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    cuda = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: cuda)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(noctule.InputError, match="CUDA libraries cannot be loaded"):
        network._session(torch.device("cuda:1"))
    assert asked == [[("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]]


def test_it_computes_in_its_own_precision(tmp_path: Path) -> None:
    path = saved(graph(["batch", 3, 32, 32]), tmp_path / "net.onnx")
    with pytest.raises(noctule.InputError, match="is bfloat16, and the network's weights are"):
        evaluate(f"onnx:{path}", DATA, QUICK, settings=BFLOAT16)


# Wrong files


def three_inputs() -> onnx.ModelProto:
    names = ["images", "mask", "scale"]
    inputs = [helper.make_tensor_value_info(name, FLOAT, ["n", 3, 8, 8]) for name in names]
    output = helper.make_tensor_value_info("out", FLOAT, ["n", 3, 8, 8])
    node = helper.make_node("Sum", names, ["out"])
    return model(helper.make_graph([node], "g", inputs, [output]))


def passing(shape: list[Any], dtype: int = FLOAT, operator: str = "Identity") -> Any:
    given = helper.make_tensor_value_info("given", dtype, shape)
    out = helper.make_tensor_value_info("out", dtype, shape)
    domain = "com.example" if operator == "Strange" else ""
    node = helper.make_node(operator, ["given"], ["out"], domain=domain)
    made = model(helper.make_graph([node], "g", [given], [out]))
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    return made


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (three_inputs(), r"takes 3 inputs \(images, mask, scale\), not one batch of images"),
        (passing(["n", 128]), r"has the shape \? × 128, which is not a batch of images"),
        (passing([1, 5, 32, 32]), r"shape 1 × 5 × 32 × 32, which.*must take 3 or 1 channels"),
        (passing(["n", 3, 8, 8], TensorProto.INT64), r"'given' has the type tensor\(int64\)"),
        (passing(["n", 3, 8, 8], operator="Strange"), "cannot run it.*Strange"),
    ],
)
def test_other_graphs_are_refused(tmp_path: Path, made: Any, says: str) -> None:
    with pytest.raises(noctule.InputError, match=says):
        load_classifier(f"onnx:{saved(made, tmp_path / 'net.onnx')}")


def test_damaged_files(tmp_path: Path, capfd: Any) -> None:
    good = saved(graph(["batch", 3, 32, 32]), tmp_path / "good.onnx").read_bytes()
    for content in (b"", b"x" * 5000, good[: len(good) // 2]):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(noctule.InputError, match="not an ONNX file, or ONNX Runtime"):
            load_classifier(f"onnx:{tmp_path / 'net.onnx'}")
    for name, says in (("none.onnx", "no such file"), (".", "a folder")):
        with pytest.raises(noctule.InputError, match=says):
            load_classifier(f"onnx:{tmp_path / name}")
    assert capfd.readouterr().err == ""


def test_weights_outside_its_folder_are_not_read(tmp_path: Path) -> None:
    made = graph(["batch", 3, 32, 32])
    (tmp_path / "in").mkdir()
    onnx.save(
        made, tmp_path / "in" / "net.onnx", save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    made = onnx.load(tmp_path / "in" / "net.onnx", load_external_data=False)
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../w.bin" if entry.key == "location" else entry.value
    (tmp_path / "in" / "net.onnx").write_bytes(made.SerializeToString())
    for exists in (False, True):
        if exists:
            shutil.move(tmp_path / "in" / "w.bin", tmp_path / "w.bin")
        with pytest.raises(noctule.InputError, match="cannot run it"):
            load_classifier(f"onnx:{tmp_path / 'in' / 'net.onnx'}")


def test_pipes_in_place_of_weights_are_refused(tmp_path: Path) -> None:
    onnx.save(
        graph(["batch", 3, 32, 32]), tmp_path / "net.onnx", save_as_external_data=True,
        location="w.bin", size_threshold=0,
    )  # fmt: skip
    (tmp_path / "w.bin").unlink()
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(noctule.InputError, match="is a named pipe"):
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}")


def test_other_weights_and_classes_are_refused(tmp_path: Path) -> None:
    path = saved(graph(["batch", 3, 32, 32]), tmp_path / "net.onnx")
    with pytest.raises(noctule.InputError, match="has 4 classes, not 5"):
        load_classifier(f"onnx:{path}", num_classes=5)
    with pytest.raises(noctule.InputError, match="other weights cannot be loaded"):
        load_classifier(f"onnx:{path}", weights=path)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(noctule.InputError, match=r"pip install 'noctule\[onnx\]'"):
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}")


def test_on_the_command_line(folder: Path, noctule_cli: Any) -> None:
    """The mean of a channel, for images whose blue, green or red is brightest."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["mean", "order"], ["scores"], axis=1),
    ]
    images = helper.make_tensor_value_info("images", FLOAT, ["n", 3, "h", "w"])
    scores = helper.make_tensor_value_info("scores", FLOAT, ["n", 3])
    order = numpy_helper.from_array(np.array([2, 1, 0]), "order")
    made = model(helper.make_graph(nodes, "g", [images], [scores], [order]))
    path = saved(made, folder.parent / "net.onnx")
    toml = 'name="q"\ntitle="Q"\nsource="t"\ncorruptions=["shear"]\nmetric="mean_error"\n'
    (folder.parent / "q.toml").write_text(toml)
    status, out, err = noctule_cli(
        "evaluate", f"onnx:{path}", folder, "-b", "q.toml", "--device", "cpu", "--workers", 0,
        "--crop", 24,
    )  # fmt: skip
    assert (status, "0.0 %" in out) == (0, True), err
    assert "follows the options" in err
    assert "cropped to 24 × 24 px" in err
