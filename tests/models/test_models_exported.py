"""Trusted files of torch.export and TorchScript give what the network itself gives."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import Preprocessing, load_classifier
from noctule.models.program_files import image_input, in_batches

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
CPU = Settings(device="cpu", batch_size=8, self_check=False)
DATA = (
    np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
    [0, 1, 2, 3] * 3,
)


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), *head
    ).eval()


class ChannelsLast(nn.Module):
    """Takes (batch, height, width, channels), as networks from TensorFlow do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Any:
        return self.inner(images.permute(0, 3, 1, 2))


class Tupled(ChannelsLast):
    def forward(self, images: Tensor) -> Any:
        logits = self.inner(images)
        return {"features": images.mean(), "logits": logits}


def export(
    module: nn.Module, path: Path, *shape: int, dynamic: bool = True, inputs: int = 1
) -> Path:
    batch = {0: torch.export.Dim("batch", min=1, max=1024)} if dynamic else {}
    examples = (torch.zeros(shape),) * inputs
    program = torch.export.export(module, examples, dynamic_shapes=(batch,) * inputs)
    torch.export.save(program, path)
    return path


def rows(model: Any, out: Path) -> list[dict[str, Any]]:
    return evaluate(model, DATA, QUICK, out=out, settings=CPU).run.rows().to_pylist()


def loaded(path: Path, source: str = "export", **options: Any) -> Any:
    return load_classifier(f"{source}:{path}", trust=True, **options)


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected) == 24
    for one, other in zip(found, expected, strict=True):
        for key in ("image_id", "condition", "label", "prediction", "label_rank"):
            assert one[key] == other[key]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return rows(network(), tmp_path_factory.mktemp("run") / "run")


WRITERS: dict[str, Callable[[Path], Path]] = {
    "dynamic": lambda path: export(network(), path, 2, 3, 32, 32),
    "one image": lambda path: export(network(), path, 1, 3, 32, 32, dynamic=False),
    "five images": lambda path: export(network(), path, 5, 3, 32, 32, dynamic=False),
    "channels last": lambda path: export(ChannelsLast(network()), path, 2, 32, 32, 3),
    "dictionary": lambda path: export(Tupled(network()), path, 2, 3, 32, 32),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_exported_programs(tmp_path: Path, expected: Any, writer: str) -> None:
    path = WRITERS[writer](tmp_path / "m.pt2")
    classifier = loaded(path)
    assert classifier.num_classes == (None if writer == "dictionary" else 4)
    assert (classifier.name, classifier.weights) == (f"export:{path}", "file m.pt2")
    with pytest.warns(noctule.NoctuleWarning, match=r"no preprocessing.*cropped to 32 × 32 px"):
        found = rows(classifier, tmp_path / "run")
    assert_same(found, expected)


def traced(module: nn.Module) -> Any:
    return torch.jit.trace(module, torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize("write", [torch.jit.script, traced])
def test_torchscript(tmp_path: Path, expected: Any, write: Any) -> None:
    torch.jit.save(write(network()), tmp_path / "m.pt")
    classifier = loaded(tmp_path / "m.pt", "torchscript")
    assert classifier.architecture == "Sequential"
    with pytest.warns(noctule.NoctuleWarning, match="records no preprocessing"):
        assert_same(rows(classifier, tmp_path / "run"), expected)


def test_the_given_preprocessing_counts(tmp_path: Path) -> None:
    path = export(network(channels=1), tmp_path / "m.pt2", 2, 1, 24, 32)
    own = loaded(path)
    assert own.preprocessing == Preprocessing(
        resize_px=(24, 32), crop_px=(24, 32), fit="cover", mode="L", mean=(0,), std=(1,)
    )
    assert "records no preprocessing" in own.preprocessing_note
    chosen = Preprocessing(mode="L", mean=(0.5,), std=(0.5,))
    given = loaded(path, preprocessing=chosen)
    assert (given.preprocessing, given.preprocessing_note) == (chosen, "")


def test_the_hash_is_that_of_the_weights(tmp_path: Path) -> None:
    other = network()
    with torch.no_grad():
        other.get_parameter("0.bias")[0] += 1
    files = [
        export(module, tmp_path / f"{number}.pt2", 2, 3, 32, 32)
        for number, module in enumerate((network(), network(), other))
    ]
    hashes = [loaded(file).weights_sha256 for file in files]
    assert hashes[0] == hashes[1] != hashes[2]


# Consent


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def poisoned(path: Path, victim: Path) -> Path:
    """A good file whose example inputs are pickled code."""
    clean = export(network(), path.with_name("clean.pt2"), 2, 3, 32, 32)
    buffer = io.BytesIO()
    torch.save(Bomb(victim), buffer, pickle_module=pickle)
    with zipfile.ZipFile(clean) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, buffer.getvalue() if "sample_inputs" in name else content)
    return path


def test_nothing_is_unpickled_without_consent(tmp_path: Path, noctule_cli: Any) -> None:
    victim = tmp_path / "victim"
    path = poisoned(tmp_path / "m.pt2", victim)
    for source in ("export", "torchscript"):
        with pytest.raises(noctule.InputError, match=r"can run any code in it.*pass --trust"):
            load_classifier(f"{source}:{path}")
        status, out, err = noctule_cli(
            "evaluate", f"{source}:{path}", "--benchmark", "imagenet-c"
        )
        assert (status, out, "pass --trust" in err) == (2, "", True)
    assert not victim.exists()
    # The consent is needed: PyTorch runs the code.
    with pytest.raises(noctule.InputError):
        loaded(path)
    assert victim.exists()


def test_trust_on_the_command_line(folder: Path, noctule_cli: Any) -> None:
    path = export(network(), folder.parent / "m.pt2", 2, 3, 32, 32)
    status, _, err = noctule_cli(
        "evaluate", f"export:{path}", folder, "--trust", "--no-self-check", "--device", "cpu"
    )
    assert status == 2
    assert "has 4 classes, the data 3" in err  # of the network, and three of the data


# Wrong files


@pytest.mark.parametrize("source", ["export", "torchscript"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 4096, None])
def test_damaged_files(tmp_path: Path, source: str, content: bytes | None, caplog: Any) -> None:
    path = tmp_path / "m.pt2"
    if content is None:
        export(network(), path, 2, 3, 32, 32)
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.write_bytes(content)
    with pytest.raises(noctule.InputError, match=r"not a file of torch.*, or damaged"):
        loaded(path, source)
    assert not [one for one in caplog.records if one.levelname != "DEBUG"]


def test_damaged_graphs_leave_no_traceback(tmp_path: Path, capfd: Any) -> None:
    clean, path = export(network(), tmp_path / "clean.pt2", 2, 3, 32, 32), tmp_path / "m.pt2"
    with zipfile.ZipFile(clean) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, b'{"a": 1}' if name.endswith("model.json") else content)
    with pytest.raises(noctule.InputError, match=r"not a file of torch\.export\.save, or d"):
        loaded(path)
    assert "Traceback" not in capfd.readouterr().err


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    export(network(), tmp_path / "m.pt2", 2, 3, 32, 32)
    torch.jit.save(torch.jit.script(network()), tmp_path / "m.pt")
    torch.save(network().state_dict(), tmp_path / "w.pt")
    for path, source in (("m.pt2", "torchscript"), ("m.pt", "export"), ("w.pt", "export")):
        with pytest.raises(noctule.InputError, match=r"Use export:FILE.*--weights FILE for w"):
            loaded(tmp_path / path, source)


def trained(path: Path) -> Path:
    return export(nn.Sequential(network(), nn.Dropout(0.5)).train(), path, 2, 3, 32, 32)


class Three(ChannelsLast):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Any:  # type: ignore[override]
        return self.inner(a + b + c)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (trained, "exported in training mode"),
        (
            lambda path: export(Three(network()), path, 2, 3, 32, 32, inputs=3),
            r"takes 3 inputs \(a, b, c\), not one batch of images",
        ),
        (
            lambda path: export(nn.Linear(8, 4), path, 2, 8),
            r"has the shape \? × 8, which",
        ),
        (
            lambda path: export(network(5), path, 2, 5, 32, 32),
            r"shape \? × 5 × 32 × 32, which is not a batch of images. It must take 3 or 1",
        ),
    ],
)
def test_other_programs_are_refused(tmp_path: Path, write: Any, says: str) -> None:
    with pytest.raises(noctule.InputError, match=says):
        loaded(write(tmp_path / "m.pt2"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("none.pt2", "no such file"), ("pipe", "named pipe"), ("", "a folder")):
        with pytest.raises(noctule.InputError, match=says):
            loaded(tmp_path / name)


def test_other_weights_and_classes_are_refused(tmp_path: Path) -> None:
    path = export(network(), tmp_path / "m.pt2", 2, 3, 32, 32)
    with pytest.raises(noctule.InputError, match="has 4 classes, not 5"):
        loaded(path, num_classes=5)
    with pytest.raises(noctule.InputError, match=r"other weights cannot be loaded.*Omit --we"):
        loaded(path, weights=shutil.copy(path, tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([None, 3, None, None], ("NCHW", "RGB", None, None, None)),
        (["n", "c", "h", "w"], ("NCHW", "RGB", None, None, None)),
        ([8, "h", "w", 3], ("NHWC", "RGB", None, None, 8)),
        ([-1, 1, 28, 30], ("NCHW", "L", 28, 30, None)),
        ([0, 20, 30, 1], ("NHWC", "L", 20, 30, None)),
    ],
)
def test_shapes(shape: Any, expected: Any) -> None:
    assert tuple(image_input(shape, "model")) == expected


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_batches_of_a_fixed_size_give_the_same(count: int) -> None:
    values = torch.rand(count, 3, 4, 4)
    found = in_batches(lambda part: (part.sum((1, 2, 3)),), values, 4, "model")
    assert torch.equal(found, values.sum((1, 2, 3)))
