"""The leaderboard's commands: no traceback, whatever is given and wherever it is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import result_of, run
from leaderboard_cases import copied, forge_claims, forge_record, honest_submission
from noctule.leaderboard.site import MANIFEST_FILE, build_site
from noctule.store.identity import read_identity

LONG = "x" * 5000


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return honest_submission(tmp_path_factory.mktemp("terminal"))


@pytest.fixture
def noctule(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> tuple[object, str, str]:
        return run(monkeypatch, capsys, "leaderboard", *arguments)

    return call


def test_names_that_no_disk_allows_are_one_line(
    noctule: Any, honest: Path, tmp_path: Path
) -> None:
    status, out, err = noctule("check", LONG)
    assert status == 2
    assert "File name too long" in out + err
    for arguments in (("build", LONG, "-o", tmp_path / "site"), ("build", honest, "-o", LONG)):
        status, out, err = noctule(*arguments)
        assert status == 2
        assert out == ""
        assert err.startswith("noctule: xxx")
        assert "File name too long" in err
        assert err.count("\n") == 1
        assert len(err) < 500


def test_a_folder_that_cannot_be_read_loses_no_other_result(
    noctule: Any, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = copied(honest, tmp_path)
    real = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path) == locked / "run":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("noctule.leaderboard.submission.os.scandir", refusing)
    status, out, _ = noctule("check", locked, honest, "--json")
    assert status == 2
    found = result_of(out)["submissions"]
    assert [one["holds"] for one in found] == [False, True]
    assert "cannot be read: Permission denied" in found[0]["error"]


def test_an_error_of_the_disk_while_rows_are_read_loses_no_other_result(
    noctule: Any, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, real = copied(honest, tmp_path), read_identity

    def failing(path: Path) -> Any:
        if path == broken / "run":
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr("noctule.leaderboard.checks.read_identity", failing)
    status, out, _ = noctule("check", broken, honest, "--json")
    assert status == 2
    assert [one["holds"] for one in result_of(out)["submissions"]] == [False, True]


def test_errors_that_are_bugs_stay_visible(
    noctule: Any, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noctule.leaderboard import site

    def raising(error: Exception) -> Any:
        def build(*arguments: Any, **options: Any) -> Any:
            raise error

        return build

    for bug in (OSError("no system call of that kind"), ValueError("a bug")):
        monkeypatch.setattr(site, "build_site", raising(bug))
        status, _, err = noctule("build", honest, "-o", tmp_path / "site")
        assert status == 3
        assert "Traceback (most recent call last):\n" in err
        assert f"this is a bug in noctule, please report it: {type(bug).__name__}: {bug}" in err


def test_what_is_submitted_does_not_command_the_terminal(
    noctule: Any, honest: Path, tmp_path: Path
) -> None:
    forged = copied(honest, tmp_path)
    forge_claims(track="\x1b[2Jexample.org\u202e\x07")(forged)
    for arguments in (("check", forged), ("build", forged, "-o", tmp_path / "site")):
        status, out, err = noctule(*arguments)
        assert status == 2
        assert "example.org" in out + err
        assert not set("\x1b\u202e\x07") & set(out + err)
    forge_claims(track="photo-patches-open")(forged)
    forge_record("model", "name", value="\x1b[2J")(forged)
    named = tmp_path / "out\x1b[2J"
    status, out, _ = noctule("build", forged, "-o", named, "--resamples", 2)
    assert status == 0
    assert "\x1b" not in out
    assert named.is_dir()


@pytest.mark.parametrize(("encoding", "format"), [("ascii", "table"), ("latin-1", "markdown")])
def test_a_terminal_that_lacks_letters_is_served(
    encoding: str, format: str, honest: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "noctule", "leaderboard", "check", honest, "é", "-f", format],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, b"")
    assert rb"\u2713" in done.stdout
    assert rb"is not a folder" in done.stdout


def test_building_again_leaves_temporary_files_of_others(honest: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pages = build_site([honest], site, resamples=2)
    foreign = [site / ".notes.txt.tmp", site / "models" / ".mine.html.1.tmp"]
    own = [
        (site / name).with_name(f".{Path(name).name}.0123456789abcdef.tmp")
        for name in (*pages, MANIFEST_FILE)
    ]
    for path in (*foreign, *own):
        path.write_text("left")
    build_site([honest], site, resamples=2)
    assert [path.exists() for path in foreign] == [True, True]
    assert [path.exists() for path in own] == [False] * len(own)
