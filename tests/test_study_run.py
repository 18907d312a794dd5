"""Whole studies: the same weights however they are run, killed or shared out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from noctule.benchmarks import CLEAN
from noctule.config import to_toml
from noctule.data import open_dataset
from noctule.errors import InputError, NoctuleError
from noctule.models import load_classifier
from noctule.models.trained import training_record
from noctule.study.folder import StudyFolder
from noctule.study.results import cross_evaluation, overlap_of
from noctule.study.run import Where, prepare_study, run_prepared, run_study, work_left
from noctule.study.spec import Member, Study
from small_studies import small_study, write_arrays

ONE = Where(devices=("cpu",), processes=1)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    write_arrays(folder)
    return folder


def run(study: Study, out: Path, where: Where = ONE) -> StudyFolder:
    return run_study(study, out=out, where=where)


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
    assert work_left(done) == {"training": (3 * 2 * 4, 3 * 2 * 4), "measuring": (144, 144)}


def test_the_rows_are_those_of_the_weights(done: StudyFolder, arrays: Path) -> None:
    """Accuracy of one network under one corruption, worked out from scratch."""
    from noctule.corruptions import corrupt

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
            picture = given.preprocessing.picture(dataset.read(index))[None]
            if name != CLEAN:
                picture = corrupt(picture, name, ids=[dataset.ids[index]], seed=0)
            logits = given.module(given.preprocessing.normalise(picture))
            right.append(int(logits.argmax()) == dataset.labels[index])
        assert cross.correct[0, 1, :, place].tolist() == right


def test_processes_and_groups_do_not_change_the_weights(
    done: StudyFolder, arrays: Path, tmp_path: Path
) -> None:
    two = run(small_study(arrays), tmp_path / "two", Where(("cpu",), processes=2, workers=1))
    assert weights_of(two) == weights_of(done)
    alone = run(small_study(arrays), tmp_path / "alone", Where(("cpu",), 1, models_at_once=1))
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
    first = run(study, tmp_path / "s", Where(("cpu",), 1, only=("border-seed0",)))
    assert [one.state for one in first.status()] == ["waiting", "waiting", "measured"]
    with pytest.raises(InputError, match=r"2 of 3 networks are not trained.*'standard-seed0'"):
        cross_evaluation(first)
    with pytest.raises(InputError, match=r"unknown network 'bordr-seed0'.*'border-seed0'"):
        run(study, tmp_path / "s", Where(("cpu",), 1, only=("bordr-seed0",)))
    assert weights_of(run(study, tmp_path / "s")) == weights_of(done)


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
        process.wait()
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
    for _ in range(600):
        if list(folder.glob(patterns[moment])) or process.poll() is not None:
            return
        time.sleep(0.05)


def test_another_study_in_the_folder_is_refused(done: StudyFolder, arrays: Path) -> None:
    other = small_study(arrays, seeds=[1])
    with pytest.raises(InputError, match=r"holds another study: study\.seeds is \[0\] there"):
        prepare_study(other, out=done.folder, where=ONE)


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
    with pytest.raises(InputError, match=r"not a study folder \(it holds thesis\.txt\)"):
        prepare_study(small_study(arrays), out=tmp_path, where=ONE)
    with pytest.raises(InputError, match=r"has no study\.json"):
        overlap_of(tmp_path)
    (tmp_path / "study.json").write_text('{"schema_version": 1}')
    with pytest.raises(InputError, match=r"study\.json: is not a study's record"):
        StudyFolder.open(tmp_path)
    (tmp_path / "study.json").write_text('{"schema_version": 2, "study": {}}')
    with pytest.raises(InputError, match="was written by another noctule"):
        StudyFolder.open(tmp_path)


def test_two_processes_do_not_work_on_one_network(arrays: Path, tmp_path: Path) -> None:
    study = small_study(arrays)
    prepared = prepare_study(study, out=tmp_path / "s", where=ONE)
    folder = prepared.folder
    place = folder.model_folder(Member("gaussian", 0))
    place.mkdir(parents=True)
    with (
        FileLock(place / ".lock"),
        pytest.raises(InputError, match="another process is at work"),
    ):
        run_prepared(prepared, where=ONE)
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
        ({"architecture": "test_study_run:frozen"}, "this network has nothing to train"),
        ({"architecture": "test_study_run:narrow"}, r"it returned \(2, 3\) for two pictures"),
        ({"architecture": "test_study_run:square"}, "it fails on a picture: RuntimeError"),
        ({"pictures": {"side_px": 8}}, "pictures.side_px: should be greater than"),
    ]
    for changes, message in cases:
        with pytest.raises(NoctuleError, match=message):
            prepare_study(small_study(arrays, **changes), out=tmp_path / "s", where=ONE)
        assert not (tmp_path / "s").exists()


def test_impossible_settings_are_refused(arrays: Path, tmp_path: Path) -> None:
    study = small_study(arrays)
    for where, message in (
        (Where(("cpu",), processes=0), "--processes: 0 is less than 1"),
        (Where(("cpu",), models_at_once=0), "--models-at-once: 0 is less than 1"),
        (Where(("gpu7",)), "no device 'gpu7'"),
    ):
        with pytest.raises(InputError, match=message):
            run(study, tmp_path / "s", where)


def frozen() -> Any:
    return load_classifier("photo-patches").module


def narrow() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))


def square() -> Any:
    import torch

    return torch.nn.Linear(5, 5)


def test_the_matrix_of_a_study_is_that_of_its_rows(done: StudyFolder) -> None:
    accuracy = cross_evaluation(done).correct[0].mean(axis=1)
    ratio = accuracy / accuracy[:, :1]
    names = done.study.candidates
    gains = {name: ratio[k, k] - ratio[0, k] for k, name in enumerate(names, start=1)}
    matrix = overlap_of(done.folder, resamples=0)
    assert matrix.names == tuple(name for name in names if gains[name] > 1e-12)
    assert set(matrix.undefined) == set(names) - set(matrix.names)
    if len(matrix.names) == 2:
        gaussian, border = gains.values()
        halves = (ratio[1, 2] - ratio[0, 2]) / border, (ratio[2, 1] - ratio[0, 1]) / gaussian
        assert matrix.raw[0, 1] == pytest.approx(sum(halves) / 2)


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
        prepare_study(small_study(arrays), out=tmp_path / "file", where=ONE)
    with pytest.raises(NoctuleError, match="cannot be written"):
        prepare_study(small_study(arrays), out=tmp_path / "file" / "s", where=ONE)
