"""Several right labels: what counts as right, checked with timm's ReaL and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import noctule
from command_line import run
from noctule import Settings
from noctule.benchmarks import Benchmark
from noctule.comparison import compare
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError
from noctule.models import load_classifier
from noctule.report import samples
from noctule.report.loading import open_runs
from noctule.report.run_details import outcomes_of
from noctule.report.run_groups import grouped
from noctule.stored import open_stored

QUICK = Benchmark(
    name="one", title="One", source="a test", corruptions=("brightness",), severities=(5,)
)
CPU = Settings(device="cpu", workers=0, self_check=False)
NUMBERS = tuple(range(101, 113))
CLASSES = 1000
TABLE = torch.randn(256, CLASSES, generator=torch.Generator().manual_seed(0))


class Numbered(nn.Module):
    """The logits of an image are those of the number that all its values are."""

    def forward(self, images: Tensor) -> Tensor:
        return TABLE[(images[:, 0, 0, 0] * 255).round().clamp(0, 255).long()]


def real_labels() -> dict[int, list[int]]:
    """By the images' numbers: often with what the model answers, twice none."""
    labels = {}
    for place, number in enumerate(NUMBERS):
        likely = TABLE[place].topk(4).indices.tolist()
        choices: tuple[list[int], ...]
        choices = ([likely[0], 5], [likely[2], likely[1], 7], [], [7], [likely[0]], [900, 3, 5])
        labels[number] = choices[place % 6]
    return labels


def validation_images(folder: Path) -> tuple[Path, Path]:
    """A flat folder and its original labels."""
    lines = []
    for place, number in enumerate(NUMBERS):
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (folder / "val").mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (16, 16), (place,) * 3).save(folder / "val" / name, "PNG")
        lines.append(f"{name},{900 if place == 5 else 600 + place}\n")
    (folder / "labels.csv").write_text("".join(lines))
    return folder / "val", folder / "labels.csv"


def real_json(folder: Path, length: int = 50_000) -> Path:
    known = real_labels()
    file = folder / "real.json"
    file.write_text(json.dumps([known.get(number + 1, []) for number in range(length)]))
    return file


def opened(folder: Path, **options: Any) -> Dataset:
    images, labels = validation_images(folder)
    options = {"right_labels_file": real_json(folder), **options}
    return open_dataset(images, labels_file=labels, **options)


def evaluated(data: Dataset, out: Path) -> noctule.Evaluation:
    model = replace(load_classifier(Numbered()), num_classes=CLASSES)
    return noctule.evaluate(model, data, QUICK, out=out, settings=CPU)


def test_the_score_is_that_of_timms_real_labels(tmp_path: Path) -> None:
    real = pytest.importorskip("timm.data.real_labels")
    data = opened(tmp_path)
    numbers = [*NUMBERS, *sorted(set(range(1, 50_001)) - set(NUMBERS))]
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in numbers]
    oracle = real.RealLabelsImagenet(names, real_json=str(real_json(tmp_path)), topk=(1, 5))
    oracle.add_result(TABLE[: len(NUMBERS)])
    scores = evaluated(data, tmp_path / "run").scores
    assert scores.of("error", "clean").value == pytest.approx(1 - oracle.get_accuracy(1) / 100)
    top5 = scores.of("top5_error", "clean").value
    assert top5 == pytest.approx(1 - oracle.get_accuracy(5) / 100)
    assert 0 < scores.of("error", "clean").value < 1


def test_rows_have_the_likeliest_right_label(tmp_path: Path) -> None:
    found = evaluated(opened(tmp_path), tmp_path / "run")
    rows = found.run.rows().to_pylist()
    labels = real_labels()
    assert len(rows) == 2 * sum(map(bool, labels.values()))
    for row in rows:
        number = int(row["image_id"][15:23])
        if row["condition"] == "clean":
            logits = TABLE[number - NUMBERS[0]].double().numpy()
            label = max(labels[number], key=lambda one: logits[one])
            assert row["label"] == label
            assert row["label_rank"] == 1 + (logits > logits[label]).sum()
            loss = np.log(np.exp(logits).sum()) - logits[label]
            assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["label"] in labels[number]
        assert (row["prediction"] in labels[number]) == (row["label_rank"] == 1)
    by_image: dict[str, set[int]] = {}
    for row in rows:
        by_image.setdefault(row["image_id"], set()).add(row["label"])
    assert max(map(len, by_image.values())) == 2  # they differ between conditions
    (run_,) = open_runs([tmp_path / "run"])
    assert len(outcomes_of(run_).label) == 10
    assert len(samples._data_of(run_)) == 10


def test_the_dataset_names_them_and_keeps_original_labels_that_are_right(
    tmp_path: Path,
) -> None:
    data = opened(tmp_path)
    assert (
        data.name.removeprefix(f"{tmp_path.name}/")
        == "val, labels of real.json, 10 of 12 images"
    )
    assert data.domain is None
    assert data.right_labels is not None
    by_id = dict(zip(data.ids, zip(data.labels, data.right_labels, strict=True), strict=True))
    assert by_id["ILSVRC2012_val_00000106.JPEG"] == (900, (3, 5, 900))
    assert by_id["ILSVRC2012_val_00000104.JPEG"] == (7, (7,))
    plain = opened(tmp_path, right_labels_file=None)
    assert plain.domain == "imagenet-1k-val"
    assert len({plain.fingerprint(), data.fingerprint(), opened(tmp_path).fingerprint()}) == 2


def test_a_limit_keeps_them(tmp_path: Path) -> None:
    whole, part = opened(tmp_path), opened(tmp_path, limit=3)
    known = dict(zip(whole.ids, whole.right_labels or (), strict=True))
    assert part.right_labels == [known[image_id] for image_id in part.ids]
    assert (
        part.name.removeprefix(f"{tmp_path.name}/")
        == "val, labels of real.json, 10 of 12 images, 3 of 10 images"
    )
    evaluated(part, tmp_path / "run")
    (run_,) = open_runs([tmp_path / "run"])
    assert samples._data_of(run_).fingerprint() == part.fingerprint()


def test_they_are_never_compared_with_one_label(tmp_path: Path) -> None:
    evaluated(opened(tmp_path), tmp_path / "several")
    evaluated(opened(tmp_path, right_labels_file=None), tmp_path / "one")
    runs = open_runs([tmp_path / "several", tmp_path / "one"])
    assert len(grouped(runs)) == 2
    with pytest.raises(InputError, match=r"other data|another data"):
        compare(tmp_path / "several", tmp_path / "one")


def test_by_id_with_names_and_a_protocol(tmp_path: Path) -> None:
    """Classes of the data, in another order than the model's."""
    for place in range(6):
        folder = tmp_path / "set" / "bca"[place % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (place,) * 3).save(folder / f"{place}.png")
    right: dict[str, list[Any]] = {
        "b/0.png": ["a", "b"], "c/1.png": [0], "a/2.png": ["c", 1], "b/3.png": ["b"],
        "c/4.png": [], "a/5.png": ["a", "b", "c"],
    }  # fmt: skip
    (tmp_path / "right.json").write_text(json.dumps(right))
    data = open_dataset(tmp_path / "set", right_labels_file=tmp_path / "right.json")
    names = tuple("dcba") + tuple(f"class {number}" for number in range(4, CLASSES))
    model = replace(load_classifier(Numbered()), class_names=names, num_classes=CLASSES)
    settings = replace(CPU, protocol="restricted")
    found = noctule.evaluate(model, data, QUICK, out=tmp_path / "run", settings=settings)
    for row in found.run.rows().to_pylist():
        if row["condition"] == "clean":
            answer = "abc"[int(TABLE[int(row["image_id"][2])][[3, 2, 1]].argmax())]
            labels = [x if isinstance(x, str) else "abc"[x] for x in right[row["image_id"]]]
            assert "abc"[row["prediction"]] == answer
            assert (row["label_rank"] == 1) == (answer in labels)
            assert "abc"[row["label"]] in labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "right.json: is not JSON"),
        (b"[" * 100_000, "right.json: is not JSON"),
        (b"\xff", "right.json: is not UTF-8"),
        (b"3", "is neither a list nor an object"),
        (b"[[1], [2]]", "holds 2 lists, where ImageNet has 50,000 validation images"),
        (json.dumps([[]] * 50_000).encode(), "and 'a/0.png' of set is none of them"),
        (b'{"a/0.png": [0]}', r"misses 1 of 2 images, first 'b/1.png'\. It has 'a/0.png'"),
        (b'{"a/0.png": 0, "b/1.png": [1]}', "the labels of 'a/0.png' are not a list"),
        (b'{"a/0.png": [0], "b/1.png": [2]}', "2 of 'b/1.png' is not one of the data's 2 cl"),
        (b'{"a/0.png": [0], "b/1.png": [-1]}', "-1 of 'b/1.png' is not one of"),
        (b'{"a/0.png": [0], "b/1.png": [true]}', "True of 'b/1.png' is not one of"),
        (b'{"a/0.png": [0.0], "b/1.png": [1]}', "0.0 of 'a/0.png' is not one of"),
        (b'{"a/0.png": ["x"], "b/1.png": [1]}', "'x' of 'a/0.png' is not one of"),
        (b'{"a/0.png": [[0]], "b/1.png": [1]}', r"\[0\] of 'a/0.png' is not one of"),
        (b'{"a/0.png": [], "b/1.png": []}', "has no right label of an image of set"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    for place, name in enumerate("ab"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "set" / name / f"{place}.png")
    (tmp_path / "right.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path / "set", right_labels_file=tmp_path / "right.json")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    validation_images(tmp_path)
    real_json(tmp_path, 49_999)
    (tmp_path / "one.toml").write_text(
        'name = "one"\ntitle = "One"\nsource = "a test"\ncorruptions = ["contrast"]\n'
        'severities = [1]\nmetric = "mean_error"\n'
    )
    command = (
        "evaluate", "test_data_right_labels:Numbered", "val", "--labels", "labels.csv", "-b",
        "one.toml", "--workers", 0, "--no-self-check", "--right-labels", "real.json",
    )  # fmt: skip
    status, _, err = run(monkeypatch, capsys, *command)
    assert (status, "Traceback" in err) == (2, False)
    assert "real.json: holds 49,999 lists, where ImageNet has 50,000" in err
    real_json(tmp_path)
    status, out, err = run(monkeypatch, capsys, *command)
    assert status == 0, err
    assert "val, labels of real.json, 10 of 12 images, One" in out
    status, _, err = run(monkeypatch, capsys, *command, "--stored", "val")
    assert status == 2
    assert "--right-labels: stored images have one label each" in err


def test_stored_images_cannot_have_several(tmp_path: Path) -> None:
    data = opened(tmp_path)
    noctule.export(
        QUICK, opened(tmp_path, right_labels_file=None), tmp_path / "stored", processes=1
    )
    with pytest.raises(InputError, match="several right labels"):
        open_stored(tmp_path / "stored", None, data)
