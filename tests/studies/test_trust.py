"""Code named in a file is no consent to run it: a stranger's study imports nothing."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import noctule
from command_line import run as run_command
from noctule.config import to_toml
from noctule.errors import InputError
from noctule.studies.folder import StudyFolder, study_identity
from noctule.studies.run import ExecutionConfig, run_study
from noctule.studies.spec import Study
from small_studies import small_study, study_data, write_arrays
from stored_runs import stored_run

MODULE = """
from pathlib import Path
from torch import nn
Path("imported").touch()
def build(num_classes, bias=True):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes, bias=bias))
"""
ONE = ExecutionConfig(devices=("cpu",), processes=1)
Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data of a small study, in the working folder beside a module that leaves a mark."""
    write_arrays(tmp_path)
    (tmp_path / "strangers_net.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "strangers_net", raising=False)
    return tmp_path


def foreign_study(arrays: Path, **changes: object) -> Study:
    images = {"side_px": 16}
    return small_study(arrays, architecture="strangers_net:build", images=images, **changes)


def test_a_study_that_names_code_runs_it_only_if_trusted(arrays: Path, command: Run) -> None:
    changes = {"architecture": "strangers_net:build", "images": {"side_px": 16}}
    (arrays / "a.toml").write_text(to_toml({**study_data(arrays), **changes}))
    with pytest.raises(InputError, match=r"'strangers_net:build'.*--trust"):
        run_study(foreign_study(arrays), out=arrays / "s", execution=ONE)
    status, _, stderr = command("study", "run", "a.toml", "--out", "s", "--device", "cpu")
    assert (status, "--trust" in stderr) == (2, True)
    assert not (arrays / "s").exists()
    assert not (arrays / "imported").exists()
    folder = run_study(foreign_study(arrays), out=arrays / "s", execution=ONE, trust=True)
    assert folder.missing() == []
    assert (arrays / "imported").exists()


def test_a_finished_study_of_a_stranger_is_read_without_running_its_code(
    arrays: Path, command: Run
) -> None:
    study = run_study(foreign_study(arrays), out=arrays / "s", execution=ONE, trust=True)
    (arrays / "imported").unlink()
    del sys.modules["strangers_net"]  # as on another machine
    for arguments in (
        ("study", "resume", "s"),
        ("study", "status", "s"),
        ("study", "overlap", "s", "--resamples", "20"),
        ("report", "s", "--out", "page.html"),
    ):
        status, stdout, stderr = command(*arguments)
        assert status == 0, (arguments, stdout, stderr)
        assert not (arrays / "imported").exists(), arguments
    # A network less, and the code would be needed.
    shutil.rmtree(study.run_folder(study.study.members[-1]))
    status, _, stderr = command("study", "resume", "s")
    assert (status, "strangers_net:build" in stderr, "--trust" in stderr) == (2, True, True)
    assert not (arrays / "imported").exists()


def test_a_strangers_run_is_read_without_running_what_it_names(
    arrays: Path, command: Run
) -> None:
    wrong = {"clean": [0, 0, 1, 1], "shear": [0, 1, 1, 1]}
    for name in ("a", "b"):
        store = stored_run(arrays / name, wrong, model=f"strangers_net:{name}")
        store.record_start({"data": {"spec": "strangers_net:build"}, "class_names": []})
    for arguments in (
        ("metrics", "a", "--reference", "b", "--resamples", "20"),
        ("compare", "a", "b"),
        ("report", "a", "b", "--out", "page.html"),
        ("leaderboard", "build", "a", "--out", "site", "--resamples", "20"),
        ("leaderboard", "check", "a"),
    ):
        _, _, stderr = command(*arguments)
        assert "Traceback" not in stderr
        assert not (arrays / "imported").exists(), arguments


@pytest.mark.parametrize("spoilt", ["left out", None, [1]])
def test_a_studys_record_with_any_key_spoilt_is_read_or_refused(
    tmp_path: Path, command: Run, spoilt: object
) -> None:
    """Exit status 0 or 2, and no traceback; of a study that is not begun, so in no time."""
    write_arrays(tmp_path, train=32, test=16)
    study = small_study(tmp_path)
    sets = (noctule.open_dataset(study.train), noctule.open_dataset(study.test))
    identity = study_identity(study, *sets, device_type="cpu", precision="float32")
    StudyFolder.create_or_resume(tmp_path / "s", identity)
    record = json.loads((tmp_path / "s" / "study.json").read_text())
    places = [(record, key) for key in record]
    places += [(record[table], key) for table in ("study", "train") for key in record[table]]
    for table, key in places:
        kept = table[key]
        table[key] = spoilt
        if spoilt == "left out":
            del table[key]
        (tmp_path / "s" / "study.json").write_text(json.dumps(record))
        table[key] = kept
        status, _, stderr = command("study", "status", tmp_path / "s")
        assert status in (0, 2), (key, stderr)
        assert "Traceback" not in stderr, (key, stderr)
    del record["device_type"]
    (tmp_path / "s" / "study.json").write_text(json.dumps(record))
    status, _, stderr = command("study", "resume", tmp_path / "s")
    assert (status, "it lacks 'device_type'" in stderr) == (2, True), stderr


def test_arguments_of_an_architecture(arrays: Path, command: Run) -> None:
    """They are a part of the study and reach every network."""
    changes = {"architecture": "strangers_net:build", "images": {"side_px": 16}}
    (arrays / "a.toml").write_text(to_toml({**study_data(arrays), **changes}))
    run = ("study", "run", "a.toml", "--trust", "--device", "cpu", "--processes", "1")
    status, _, stderr = command(*run, "--out", "s", "--model-args", '{"bias": false}')
    assert status == 0, stderr
    folder = StudyFolder.open(arrays / "s")
    assert folder.study.model_args == {"bias": False}
    weights = str(folder.weights(folder.study.members[0]))
    assert [*noctule.load_classifier(weights, trust=True).module.state_dict()] == ["1.weight"]
    status, _, stderr = command("study", "resume", "s")
    assert status == 0, stderr
    for value, what in (
        ('{"bais": 1}', "the function takes (num_classes, bias=True), but got an unexpected"),
        ("[]", "--model-args: '[]' is not a JSON object"),
    ):
        status, _, stderr = command(*run, "--out", "other", "--model-args", value)
        assert (status, what in stderr) == (2, True), stderr
        assert not (arrays / "other").exists()
