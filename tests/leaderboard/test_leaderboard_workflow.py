"""The workflow that checks pull requests of strangers: its rights, and hostile names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from noctule.errors import InputError
from noctule.leaderboard.tracks import load_track, load_tracks
from repository import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "leaderboard.yml"
TEXT = WORKFLOW.read_text(encoding="utf-8")
HOSTILE = (
    "$(touch owned)",
    "`touch owned`",
    "a; touch owned",
    "-rf",
    "a\nb",
    "'\"",
    "ü *",
    "--",
)


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(TEXT)["jobs"]["check"]
    return found


def test_it_has_no_rights_and_no_secrets(job: dict[str, Any]) -> None:
    workflow = yaml.safe_load(TEXT)
    assert workflow["permissions"] == {"contents": "read"}
    # YAML reads the bare key `on` as true. With `pull_request` the workflow would be the pull
    # request's own, and a submission could change its judge.
    assert list(workflow[True]) == ["pull_request_target"]
    assert "secrets" not in TEXT.partition("jobs:")[2]
    assert "github.token" not in TEXT
    assert "permissions" not in job
    for step in job["steps"]:
        # What a pull request says must not become part of a script.
        assert "${{" not in step.get("run", "")
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_only_the_base_branch_is_installed_and_run(job: dict[str, Any]) -> None:
    base, submitted, _, install, check = job["steps"]
    assert base["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert base["with"]["path"] == "base"
    assert submitted["with"]["ref"] == "${{ github.event.pull_request.head.sha }}"
    assert submitted["with"]["path"] == "submitted"
    assert not submitted["with"]["lfs"]
    assert not submitted["with"]["submodules"]
    assert install["run"].startswith("python -P -m pip install ")
    assert install["run"].endswith(" ./base")
    assert "submitted" not in install["run"]
    assert check["env"]["PYTHONSAFEPATH"] == "1"
    # Programs that the script starts: none can be of what was submitted.
    words = set(check["run"].split())
    assert not words & {"python", "python3", "pip", "make", "source", "eval", "bash", "sh"}
    assert not any(word.startswith("./") for word in words)


@pytest.mark.parametrize("name", sorted(one.name for one in WORKFLOW.parent.glob("*.yml")))
def test_actions_are_pinned_by_commit(name: str) -> None:
    workflow = WORKFLOW.with_name(name)
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert used
    for action in used:
        # A tag can be moved to other code; a commit cannot.
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def put(folder: Path, name: str) -> None:
    path = folder / "submissions" / name / "submission.toml"
    path.parent.mkdir(parents=True)
    path.write_text(name)


def checked(
    job: dict[str, Any],
    tmp_path: Path,
    status: int,
    *,
    change: Callable[[Path], None] = lambda folder: None,
    base: str | None = None,
) -> tuple[int, list[str] | None, str]:
    """(exit status, arguments of noctule, log) of the workflow's script on a pull request."""
    repository, programs = tmp_path / "submitted", tmp_path / "bin"
    repository.mkdir()
    programs.mkdir()
    git(repository, "init", "-q")
    for name in ("old", "gone", "kept"):
        put(repository, name)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")
    base = base or git(repository, "rev-parse", "HEAD")
    (repository / "submissions" / "old" / "submission.toml").write_text("changed")
    git(repository, "rm", "-rq", "submissions/gone")
    (repository / "submissions" / "link").symlink_to("/etc")
    for name in HOSTILE:
        put(repository, name)
    change(repository)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "pull request")
    noctule = programs / "noctule"
    noctule.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'arguments')!r}, 'w'))\n"
        f"print('::error::result')\nsys.exit({status})\n"
    )
    noctule.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "BASE": base,
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    script = job["steps"][-1]["run"]
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    found = tmp_path / "arguments"
    arguments = json.loads(found.read_text()) if found.exists() else None
    return done.returncode, arguments, done.stdout + done.stderr


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")


@LINUX
@pytest.mark.parametrize("status", [0, 1, 2])
def test_hostile_names_reach_noctule_as_they_are(
    job: dict[str, Any], tmp_path: Path, status: int
) -> None:
    found, arguments, log = checked(job, tmp_path, status)
    assert found == status
    assert arguments is not None
    assert arguments[:5] == ["leaderboard", "check", "--format", "markdown", "--"]
    expected = {f"submissions/{name}" for name in (*HOSTILE, "old", "link")}
    assert set(arguments[5:]) == expected
    assert len(arguments[5:]) == len(expected)
    assert not list(tmp_path.rglob("owned"))
    # What stands in the log could be a command to the runner.
    assert "::" not in log
    summary = (tmp_path / "summary").read_text()
    assert summary == "This removes or renames `submissions/gone`.\n\n::error::result\n"


@LINUX
def test_a_comparison_that_fails_fails_the_check(job: dict[str, Any], tmp_path: Path) -> None:
    status, arguments, _ = checked(job, tmp_path, 0, base="0" * 40)
    assert status != 0
    assert arguments is None


def with_files(repository: Path) -> None:
    """Files directly in submissions/, of which only README.md belongs there."""
    (repository / "submissions" / "README.md").write_text("how to")
    (repository / "submissions" / "note.md").write_text("::error::")


def with_a_link_as_readme(repository: Path) -> None:
    (repository / "submissions" / "README.md").symlink_to("/etc/passwd")


@LINUX
@pytest.mark.parametrize(
    ("change", "given", "left_out"),
    [
        (with_files, "note.md", "README.md"),
        (with_a_link_as_readme, "README.md", "note.md"),
    ],
)
def test_only_the_readme_is_no_submission(
    job: dict[str, Any],
    tmp_path: Path,
    change: Callable[[Path], None],
    given: str,
    left_out: str,
) -> None:
    _, arguments, _ = checked(job, tmp_path, 0, change=change)
    assert arguments is not None
    assert f"submissions/{given}" in arguments
    assert f"submissions/{left_out}" not in arguments


def with_all_of_it_a_link(repository: Path) -> None:
    shutil.move(repository / "submissions", repository / "elsewhere")
    (repository / "submissions").symlink_to("elsewhere")


@LINUX
def test_what_else_a_pull_request_changes_is_said(job: dict[str, Any], tmp_path: Path) -> None:
    def change(repository: Path) -> None:
        (repository / "json.py").write_text("open('owned', 'w')")  # imported from the folder
        (repository / "noctule").write_text("#!/bin/sh\ntouch owned\n")

    status, arguments, _ = checked(job, tmp_path, 0, change=change)
    assert (status, arguments is not None) == (0, True)
    assert (
        "It also changes 2 files outside of submissions" in (tmp_path / "summary").read_text()
    )
    assert not list(tmp_path.rglob("owned"))


@LINUX
def test_submissions_must_be_a_folder(job: dict[str, Any], tmp_path: Path) -> None:
    status, arguments, log = checked(job, tmp_path, 0, change=with_all_of_it_a_link)
    assert (status, arguments) == (1, None)
    assert "submissions is a link." in log


def test_the_page_lists_the_tracks() -> None:
    page = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    for name, track in load_tracks().items():
        line = next(one for one in page.splitlines() if one.startswith(f"| `{name}` |"))
        assert (track.architecture is None) == line.endswith("| any |")
        assert ("released mode" in line) == (track.mode == "released")
    with pytest.raises(InputError, match="Did you mean 'imagenet-c-open'"):
        load_track("imagenet-c-opn")
