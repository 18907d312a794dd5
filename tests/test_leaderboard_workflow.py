"""The workflow that checks pull requests of strangers: its rights, and hostile names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from noctule.errors import InputError
from noctule.leaderboard.tracks import load_track, load_tracks

ROOT = Path(__file__).parent.parent
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
    # YAML reads the bare key `on` as true.
    assert list(workflow[True]) == ["pull_request"]
    assert "secrets." not in TEXT
    assert "permissions" not in job
    for step in job["steps"]:
        # What a pull request says must not become part of a script.
        assert "${{" not in step.get("run", "")
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    # noctule is installed from the base branch, never from what was submitted.
    assert job["steps"][0]["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert job["steps"][3]["run"].endswith(" ./base")


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


def checked(job: dict[str, Any], tmp_path: Path, status: int) -> tuple[int, list[str] | None]:
    """(exit status, arguments of noctule) of the workflow's script on a pull request."""
    repository, programs = tmp_path / "submitted", tmp_path / "bin"
    repository.mkdir()
    programs.mkdir()
    git(repository, "init", "-q")
    for name in ("old", "gone", "kept"):
        put(repository, name)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")
    base = git(repository, "rev-parse", "HEAD")
    (repository / "submissions" / "old" / "submission.toml").write_text("changed")
    git(repository, "rm", "-rq", "submissions/gone")
    (repository / "submissions" / "link").symlink_to("/etc")
    for name in HOSTILE:
        put(repository, name)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "pull request")
    noctule = programs / "noctule"
    noctule.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'arguments')!r}, 'w'))\n"
        f"print('result')\nsys.exit({status})\n"
    )
    noctule.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "BASE": base,
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    script = job["steps"][-1]["run"]
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment)
    found = tmp_path / "arguments"
    return done.returncode, json.loads(found.read_text()) if found.exists() else None


@pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")
@pytest.mark.parametrize("status", [0, 1, 2])
def test_hostile_names_reach_noctule_as_they_are(
    job: dict[str, Any], tmp_path: Path, status: int
) -> None:
    found, arguments = checked(job, tmp_path, status)
    assert found == status
    assert arguments is not None
    assert arguments[:5] == ["leaderboard", "check", "--format", "markdown", "--"]
    expected = {f"submissions/{name}" for name in (*HOSTILE, "old", "link")}
    assert set(arguments[5:]) == expected
    assert len(arguments[5:]) == len(expected)
    assert not list(tmp_path.rglob("owned"))
    assert (tmp_path / "summary").read_text() == "result\n"


def test_the_page_lists_the_tracks() -> None:
    page = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    for name, track in load_tracks().items():
        line = next(one for one in page.splitlines() if one.startswith(f"| `{name}` |"))
        assert (track.architecture is None) == line.endswith("| any |")
        assert ("as published" in line) == (track.mode == "published")
    with pytest.raises(InputError, match="Did you mean 'imagenet-c-open'"):
        load_track("imagenet-c-opn")
