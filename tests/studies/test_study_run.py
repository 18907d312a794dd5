"""Whole studies: the same weights however they are run, killed or shared out."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from noctule.benchmarks import CLEAN
from noctule.config import to_toml
from noctule.corruptions import corrupt
from noctule.data import open_dataset
from noctule.errors import InputError, NoctuleError
from noctule.models import load_classifier
from noctule.models.sources.trained import training_record
from noctule.store import RunStore
from noctule.studies import run as study_run
from noctule.studies.folder import StudyFolder
from noctule.studies.overlap import cross_evaluation, overlap_of
from noctule.studies.run import (
    ExecutionConfig,
    prepare_study,
    run_prepared,
    run_study,
    work_left,
)
from noctule.studies.spec import Member, Study
from small_studies import small_study, write_arrays

ONE = ExecutionConfig(devices=("cpu",), processes=1)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    write_arrays(folder)
    return folder


def run(study: Study, out: Path, execution: ExecutionConfig = ONE) -> StudyFolder:
    return run_study(study, out=out, execution=execution, trust=True)


def weights_of(folder: StudyFolder) -> dict[str, bytes]:
    """The weights without their record, which says where the folder's data is."""
    return {
        str(member): load_classifier(str(folder.weights(member))).weights_sha256.encode()
        for member in folder.study.members
    }


@pytest.fixture(scope="module")
def done(arrays: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return run(small_study(arrays), tmp_path_factory.mktemp("done") / "study")


def test_a_study_ends_with_weights_and_rows(done: StudyFolder, arrays: Path) -> None:
    assert [str(one.member) for one in done.status()] == [
        "standard-seed0", "gaussian-seed0", "border-seed0",
    ]  # fmt: skip
    assert {(one.state, one.epochs) for one in done.status()} == {("measured", 2)}
    assert len(set(weights_of(done).values())) == 3
    for member in done.study.members:
        names = sorted(path.name for path in done.model_folder(member).iterdir())
        assert names == [".lock", "weights.safetensors"]
    record = training_record(done.weights(Member("border", 0)))
    assert len(record["losses"]) == 2
    assert record["study"]["study"]["candidates"] == ["gaussian", "border"]
    (start,) = done.starts()
    assert start["processes"] == 1
    assert work_left(done) == {"training": (24, 24), "measuring": (432, 432)}


def test_the_rows_are_those_of_the_weights(done: StudyFolder, arrays: Path) -> None:
    """Accuracy of one network under one corruption, worked out from scratch."""
    member = Member("gaussian", 0)
    given = load_classifier(str(done.weights(member)))
    dataset = open_dataset(arrays / "test.npz")
    cross = cross_evaluation(done)
    assert cross.candidates == ("gaussian", "border")
    assert cross.correct.shape == (1, 3, 48, 3)
    order = np.argsort(dataset.ids)
    for place, name in enumerate((CLEAN, "gaussian", "border")):
        right = []
        for index in order:
            image = given.preprocessing.prepare(dataset.read(index))[None]
            if name != CLEAN:
                image = corrupt(image, name, ids=[dataset.ids[index]], seed=0)
            logits = given.module(given.preprocessing.normalise(image))
            right.append(int(logits.argmax()) == dataset.labels[index])
        assert cross.correct[0, 1, :, place].tolist() == right


def test_processes_and_groups_do_not_change_the_weights(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    two = run(
        small_study(arrays), tmp_path / "two", ExecutionConfig(("cpu",), processes=2, workers=1)
    )
    assert weights_of(two) == weights_of(done)
    alone = run(
        small_study(arrays), tmp_path / "alone", ExecutionConfig(("cpu",), 1, models_at_once=1)
    )
    assert weights_of(alone) == weights_of(done)


def test_a_network_does_not_depend_on_the_other_candidates_or_seeds(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    other = small_study(arrays, candidates=["border", "hue"], seeds=[1, 0])
    more = weights_of(run(other, tmp_path / "more"))
    ours = weights_of(done)
    for name in ("standard-seed0", "border-seed0"):
        assert more[name] == ours[name]
    assert more["border-seed1"] != more["border-seed0"]


def test_a_study_can_be_shared_out(done: StudyFolder, arrays: Path, tmp_path: Path) -> None:
    study = small_study(arrays)
    first = run(study, tmp_path / "s", ExecutionConfig(("cpu",), 1, only=("border-seed0",)))
    assert [one.state for one in first.status()] == ["waiting", "waiting", "measured"]
    with pytest.raises(InputError, match=r"2 of 3 networks are not trained.*'standard-seed0'"):
        cross_evaluation(first)
    with pytest.raises(InputError, match=r"unknown network 'bordr-seed0'.*'border-seed0'"):
        run(study, tmp_path / "s", ExecutionConfig(("cpu",), 1, only=("bordr-seed0",)))
    assert weights_of(run(study, tmp_path / "s")) == weights_of(done)


def test_a_resumed_network_goes_on_from_its_checkpoint(
    arrays: Path, tmp_path: Path, done: StudyFolder
) -> None:
    """Stopped after the first epoch, the second one is all that is left to do."""
    prepared = prepare_study(small_study(arrays), out=tmp_path / "s", execution=ONE)
    advances: list[Any] = []

    def stop_in_the_second_epoch(advance: Any) -> None:
        advances.append(advance)
        if len(advances) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_prepared(prepared, execution=ONE, on_advance=stop_in_the_second_epoch)
    assert {(one.state, one.epochs) for one in prepared.folder.status()} == {("training", 1)}
    assert work_left(prepared.folder)["training"] == (3 * 4, 3 * 2 * 4)
    (
        prepared.folder.model_folder(Member("border", 0))
        / ".weights.safetensors.0123456789abcdef.tmp"
    ).touch()
    advances.clear()
    run_prepared(prepared, execution=ONE, on_advance=advances.append)
    assert [one.amount for one in advances if one.kind == "training"] == [3] * 4
    assert weights_of(prepared.folder) == weights_of(done)
    for member in done.study.members:
        names = sorted(path.name for path in prepared.folder.model_folder(member).iterdir())
        assert names == [".lock", "weights.safetensors"]


def test_networks_of_every_seed_are_shown_the_same_test_images(
    arrays: Path, tmp_path: Path
) -> None:
    study = small_study(arrays, seeds=[5], candidates=["gaussian", "hue"])
    folder = run(study, tmp_path / "s")
    given = load_classifier(str(folder.weights(Member("gaussian", 5))))
    dataset = open_dataset(arrays / "test.npz")
    images = torch.stack([given.preprocessing.prepare(dataset.read(i)) for i in range(48)])
    noisy = corrupt(images, "gaussian", ids=dataset.ids, seed=0)
    right = given.module(given.preprocessing.normalise(noisy)).argmax(dim=1).numpy()
    right = (right == dataset.labels)[np.argsort(dataset.ids)]
    assert cross_evaluation(folder).correct[0, 1, :, 1].tolist() == right.tolist()


def test_precision_reaches_the_training(
    arrays: Path, tmp_path: Path, done: StudyFolder
) -> None:
    low = run(small_study(arrays, precision="bfloat16"), tmp_path / "s")
    assert low.identity["precision"] == "bfloat16"
    assert not set(weights_of(low).values()) & set(weights_of(done).values())
    with pytest.raises(InputError, match=r'study\.precision is "bfloat16" there'):
        prepare_study(small_study(arrays), out=low.folder, execution=ONE)


def test_rows_of_other_images_are_refused(done: StudyFolder, tmp_path: Path) -> None:
    copy = tmp_path / "s"
    shutil.copytree(done.folder, copy)
    (path,) = (copy / "runs" / "border-seed0" / "rows").iterdir()
    run_folder = RunStore.open(copy / "runs" / "border-seed0")
    rows = run_folder.rows()
    names = pc.binary_join_element_wise("x", rows["image_id"], "/")
    other = rows.set_column(0, rows.schema.field(0), names)
    path.unlink()
    run_folder.write_slice(0, other)
    with pytest.raises(InputError, match=r"lacks 48 of 48 images"):
        cross_evaluation(StudyFolder.open(copy))


def test_weights_of_another_network_are_refused(done: StudyFolder, tmp_path: Path) -> None:
    copy = StudyFolder.open(shutil.copytree(done.folder, tmp_path / "s"))
    border, gaussian = copy.weights(Member("border", 0)), copy.weights(Member("gaussian", 0))
    shutil.rmtree(copy.run_folder(Member("border", 0)))
    whole = border.read_bytes()
    for damage, message in (
        (gaussian.read_bytes(), "contains another network. Delete it"),
        (whole[: len(whole) // 2], "not a weights file written by noctule. Delete it"),
        (b"", "not a weights file written by noctule. Delete it"),
    ):
        border.write_bytes(damage)
        with pytest.raises(InputError, match=f"border-seed0/weights.safetensors: {message}"):
            run(copy.study, copy.folder)
    border.unlink()
    assert weights_of(run(copy.study, copy.folder)) == weights_of(done)


class Exploding(torch.nn.Linear):
    """Diverges wherever an image has a grey frame, as `border` gives it one."""

    def __init__(self) -> None:
        super().__init__(3 * 16 * 16, 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        top = images[:, :, 0].flatten(1)
        framed = (top == top[:, :1]).all(dim=1, keepdim=True) & self.training
        return super().forward(images.flatten(1)).masked_fill(framed, float("inf"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_network_that_diverges_is_named_when_the_others_are_done(
    arrays: Path, tmp_path: Path, processes: int
) -> None:
    study = small_study(
        arrays,
        architecture="test_study_run:Exploding",
        candidates=["border", "gaussian", "hue"],
        images={"side_px": 16},
    )
    for _ in range(2):  # and again
        with pytest.raises(InputError, match="the loss of border-seed0 is not finite; the oth"):
            run(study, tmp_path / "s", ExecutionConfig(("cpu",), processes))
        states = {
            str(one.member): one.state for one in StudyFolder.open(tmp_path / "s").status()
        }
        assert states.pop("border-seed0") == "waiting"
        assert set(states.values()) == {"measured"}


def test_titles_and_places_do_not_make_another_study(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        shutil.copy(arrays / f"{split}.npz", tmp_path / f"{split}.npz")
    moved = small_study(tmp_path, title="Another title", source="elsewhere")
    prepared = prepare_study(moved, out=done.folder, execution=ONE)
    assert prepared.folder.missing() == []


def test_a_torn_image_is_found_before_training(arrays: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(20):
                image = Image.new("RGB", (20, 16), (9 * number, 200 * (name == "a"), 0))
                image.save(tmp_path / split / name / f"{number}.png")
    torn = tmp_path / "test" / "b" / "7.png"
    torn.write_bytes(torn.read_bytes()[:40])
    study = small_study(arrays, train=str(tmp_path / "train"), test=str(tmp_path / "test"))
    told: list[tuple[int, int]] = []
    with pytest.raises(InputError, match=r"test: cannot read the image 'b/7\.png'.*Repair"):
        prepare_study(
            study,
            out=tmp_path / "s",
            execution=ONE,
            progress=lambda done, total: told.append((done, total)),
        )
    assert told == [(40, 40)]
    assert not (tmp_path / "s").exists()


def test_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_run, "usable_cores", lambda: 7)
    cpu, gpus = [torch.device("cpu")], [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert study_run._processes(ExecutionConfig(), cpu) == 7
    assert study_run._processes(ExecutionConfig(), gpus) == 2
    assert study_run._processes(ExecutionConfig(processes=3), cpu) == 3


@pytest.mark.slow
def test_a_killed_study_gives_the_same_weights(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    """SIGKILL at five moments, from start-up to measuring; then to the end."""
    (tmp_path / "small.toml").write_text(to_toml(small_study(arrays).to_dict()))
    command = [
        sys.executable, "-m", "noctule", "study", "run", "small.toml", "--out", "s",
        "--device", "cpu", "--processes", "1",
    ]  # fmt: skip
    for moment in range(5):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        _wait_for_progress(tmp_path / "s", moment, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL  # it was still at work
        kept = {path.parent.name: path.name for path in (tmp_path / "s").glob("models/*/e*.pt")}
        later = {path.parent.name for path in (tmp_path / "s").glob("models/*/weights.*")}
        assert moment < 3 or kept or later
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    folder = StudyFolder.open(tmp_path / "s")
    assert weights_of(folder) == weights_of(done)
    assert np.array_equal(cross_evaluation(folder).correct, cross_evaluation(done).correct)
    assert (folder.results / "overlap.json").is_file()


def _wait_for_progress(folder: Path, moment: int, process: subprocess.Popen[bytes]) -> None:
    """Until the study has come a little further: so every kill hits another stage."""
    patterns = (
        "study.json", "models/*/.lock", "models/*/epoch-*.pt", "models/*/weights.*", "runs/*/*",
    )  # fmt: skip
    for _ in range(6000):
        if list(folder.glob(patterns[moment])):
            return
        assert process.poll() is None
        time.sleep(0.01)
    raise AssertionError(f"{patterns[moment]} did not come within a minute")


def test_another_study_in_the_folder_is_refused(done: StudyFolder, arrays: Path) -> None:
    other = small_study(arrays, seeds=[1])
    with pytest.raises(InputError, match=r"holds another study: study\.seeds is \[0\] there"):
        prepare_study(other, out=done.folder, execution=ONE)


def test_other_data_under_the_same_name_is_refused(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    write_arrays(tmp_path, train=80)
    changed = json.loads(json.dumps(done.identity))
    changed["study"] = small_study(tmp_path).to_dict()
    for key in ("train", "test"):
        changed["study"][key] = done.identity["study"][key]
    data = open_dataset(tmp_path / "train.npz")
    changed["train"]["fingerprint"] = data.fingerprint()
    with pytest.raises(InputError, match=r"train\.fingerprint is"):
        StudyFolder.create_or_resume(done.folder, changed)


def test_a_folder_of_something_else_is_refused(arrays: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"nor a study folder \(it contains thesis\.txt\)"):
        prepare_study(small_study(arrays), out=tmp_path, execution=ONE)
    with pytest.raises(InputError, match=r"has no study\.json"):
        overlap_of(tmp_path)
    (tmp_path / "study.json").write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match=r"study\.json: is not the record of a study"):
        StudyFolder.open(tmp_path)
    (tmp_path / "study.json").write_text('{"schema_version": 3, "study": {}}')
    with pytest.raises(InputError, match="was written by another version of noctule"):
        StudyFolder.open(tmp_path)


def test_two_processes_do_not_work_on_one_network(arrays: Path, tmp_path: Path) -> None:
    study = small_study(arrays)
    prepared = prepare_study(study, out=tmp_path / "s", execution=ONE)
    folder = prepared.folder
    place = folder.model_folder(Member("gaussian", 0))
    place.mkdir(parents=True)
    with (
        FileLock(place / ".lock"),
        pytest.raises(InputError, match="another process is working"),
    ):
        run_prepared(prepared, execution=ONE)
    assert folder.missing() == list(study.members)


def saved(folder: Path, name: str, labels: Any) -> str:
    images = np.zeros((len(labels), 16, 16, 3), np.uint8)
    np.savez(folder / name, images=images, labels=np.asarray(labels))
    return str(folder / name)


def test_data_that_cannot_be_used_is_refused_before_training(
    arrays: Path, tmp_path: Path
) -> None:
    many = [0, 1, 2] * 20
    cases: list[tuple[dict[str, Any], str]] = [
        ({"train": saved(tmp_path, "one.npz", [0] * 40)}, "has a single class"),
        ({"test": saved(tmp_path, "few.npz", [0, 1])}, "the classes of .* differ, first in"),
        (
            {
                "train": saved(tmp_path, "a.npz", many),
                "test": saved(tmp_path, "b.npz", [0, 2, 0, 2]),
            },
            r"1 of 3 classes have no image, first '1'",
        ),
        ({"train": "absent.npz"}, "absent.npz"),
        ({"architecture": "torchvision:resnet19"}, "Nearest: resnet1"),
        ({"architecture": "resnet18"}, "unknown architecture 'resnet18'"),
        ({"architecture": "test_study_run:nothing"}, "has no 'nothing'"),
        ({"architecture": "test_study_run:stored"}, "this network has no trainable parameters"),
        ({"architecture": "test_study_run:narrow"}, r"it returned \(2, 3\) for two images"),
        (
            {"architecture": "test_study_run:square"},
            "it fails on an image in training: RuntimeError",
        ),
        ({"architecture": "test_study_run:two_headed"}, "tuple for two images in training"),
        ({"architecture": "test_study_run:two_faced"}, "tuple for two images in evaluation"),
        ({"architecture": "test_study_run:lazy"}, "does not exist yet: the layer is lazy"),
        ({"architecture": "test_study_run:meta"}, "is on the meta device and has no value"),
        ({"architecture": "test_study_run:always_the_same"}, "returns the same network"),
        ({"architecture": "test_study_run:unseeded"}, "differ from call to call"),
        ({"architecture": "test_study_run:leaving"}, "the function raised SystemExit: 3"),
        ({"images": {"side_px": 8}}, "images.side_px: should be greater than"),
    ]
    for changes, message in cases:
        with pytest.raises(NoctuleError, match=message):
            prepare_study(
                small_study(arrays, **changes), out=tmp_path / "s", execution=ONE, trust=True
            )
        assert not (tmp_path / "s").exists()


def test_impossible_settings_are_refused(arrays: Path, tmp_path: Path) -> None:
    study = small_study(arrays)
    for where, message in (
        (ExecutionConfig(("cpu",), processes=0), "--processes: 0 is out of range"),
        (ExecutionConfig(("cpu",), models_at_once=0), "--models-at-once: 0 is out of range"),
        (ExecutionConfig(("gpu7",)), "no device 'gpu7'"),
    ):
        with pytest.raises(InputError, match=message):
            run(study, tmp_path / "s", where)


def stored() -> Any:
    return load_classifier("photo-patches").module


def narrow() -> Any:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))


def two_faced() -> Any:
    """Returns more than logits, but in evaluation only."""
    return _Heads(lambda training: not training)


def lazy() -> Any:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(16))


ONE_NETWORK = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 16))


def meta() -> Any:
    return torch.nn.Linear(3 * 16 * 16, 16, device="meta")


def always_the_same() -> Any:
    return ONE_NETWORK


def unseeded() -> Any:
    network = torch.nn.Linear(3 * 16 * 16, 16)
    with torch.no_grad():
        network.weight += time.time_ns() % 1000003
    return network


def leaving() -> Any:
    sys.exit(3)


class _Heads(torch.nn.Linear):
    def __init__(self, two: Any) -> None:
        super().__init__(3 * 16 * 16, 16)
        self.two = two

    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images.flatten(1))
        return (logits, logits) if self.two(self.training) else logits


def two_headed() -> Any:
    """Returns more than logits, but in training only."""
    return _Heads(bool)


def square() -> Any:
    return torch.nn.Linear(5, 5)


def test_candidates_and_seeds_can_be_chosen_later(done: StudyFolder) -> None:
    assert cross_evaluation(done, candidates=["border"]).correct.shape == (1, 2, 48, 2)
    with pytest.raises(InputError, match=r"unknown candidate of this study 'bordr'.*'border'"):
        cross_evaluation(done, candidates=["bordr"])
    with pytest.raises(InputError, match="unknown seed of this study '7'"):
        cross_evaluation(done, seeds=[7])


def test_a_study_cannot_be_written_where_there_is_no_place(
    arrays: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoctuleError, match="is a file, not a folder"):
        prepare_study(small_study(arrays), out=tmp_path / "file", execution=ONE)
    with pytest.raises(NoctuleError, match="cannot be written"):
        prepare_study(small_study(arrays), out=tmp_path / "file" / "s", execution=ONE)


def zeroed(path: Path) -> None:
    """Other weights in a weights file, beside the record that it had."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = {name: torch.zeros_like(one) for name, one in load_file(path).items()}
    path.write_bytes(save(state, metadata))


def test_weights_zeroed_before_measuring_are_refused(done: StudyFolder, tmp_path: Path) -> None:
    copy = StudyFolder.open(shutil.copytree(done.folder, tmp_path / "s"))
    member = Member("border", 0)
    shutil.rmtree(copy.run_folder(member))
    zeroed(copy.weights(member))
    with pytest.raises(InputError, match=r"border-seed0/weights\.safetensors: is damaged"):
        run(copy.study, copy.folder)
    assert not copy.run_folder(member).exists()
    copy.weights(member).unlink()
    assert weights_of(run(copy.study, copy.folder)) == weights_of(done)
