"""The example workflow: its commands exist, and its steps do what its page says."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from report_runs import LABELS, PREDICTIONS, write_run
from repository import ROOT

WORKFLOW = ROOT / ".github" / "examples" / "robustness.yml"
CONTENT: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
STEPS = CONTENT["jobs"]["compare"]["steps"]


def script(name: str) -> str:
    """The commands of a step, as GitHub's shell runs them."""
    (step,) = (step for step in STEPS if step.get("name") == name)
    assert "${{" not in step["run"]  # names of strangers are variables, never code
    return f"set -eo pipefail\n{step['run']}"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Programs `noctule` and `gh`, and runs of a model and a worse one."""
    for name, program in {
        "noctule": f'#!/bin/sh\nexec "{sys.executable}" -m noctule "$@"\n',
        "gh": '#!/bin/sh\necho "$@" > gh-was-called\n',
    }.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(program)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    labels = 6 * LABELS
    wrong = {name: [(label + 1) % 3 for label in labels] for name in PREDICTIONS}
    right = dict.fromkeys(PREDICTIONS, labels)
    write_run(tmp_path / "runs" / "base", predictions=right, labels=labels)
    write_run(tmp_path / "runs" / "head", predictions=wrong, labels=labels)
    return tmp_path


def bash(folder: Path, name: str, **variables: str) -> int:
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    files = {key: str(folder / key.lower()) for key in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    env = {**os.environ, **CONTENT["env"], **files, "PATH": path, **variables}
    return subprocess.run(["bash", "-c", script(name)], cwd=folder, env=env).returncode


def test_a_worse_model_is_commented_and_fails(workplace: Path) -> None:
    assert bash(workplace, "Compare") == 0
    comment = (workplace / "comparison.md").read_text()
    assert comment.startswith("**head (B) against base (A) on made-up, two**")
    assert "| mean error | 0.0 | 100.0 |" in comment
    assert (workplace / "github_step_summary").read_text() == comment
    assert (workplace / "github_output").read_text() == "status=1\n"
    assert bash(workplace, "Comment", PULL_REQUEST="7", GITHUB_REPOSITORY="me/mine") == 0
    called = (workplace / "gh-was-called").read_text().split()
    assert called == ["pr", "comment", "7", "--repo", "me/mine", "--body-file",
                      "comparison.md", "--edit-last", "--create-if-none"]  # fmt: skip
    assert bash(workplace, "Fail if the model is less robust", STATUS="1") == 1


def test_a_model_that_is_no_worse_passes(workplace: Path) -> None:
    (workplace / "runs" / "head").rename(workplace / "other")
    (workplace / "runs" / "base").rename(workplace / "runs" / "head")
    (workplace / "other").rename(workplace / "runs" / "base")
    assert bash(workplace, "Compare") == 0
    assert (workplace / "github_output").read_text() == "status=0\n"
    assert bash(workplace, "Fail if the model is less robust", STATUS="0") == 0


def test_the_workflow_is_safe() -> None:
    """Actions are pinned; the token can comment, and no more."""
    uses = [step["uses"] for step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) for one in uses)
    assert CONTENT["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert CONTENT[True].keys() == {"pull_request"}  # YAML reads `on` as true
    own = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert all(one in own for one in uses)


def test_the_evaluations_use_options_that_exist() -> None:
    from typer.main import get_command

    from noctule.cli.app import app

    commands: Any = get_command(app)
    for name in ("Evaluate the base branch", "Evaluate the pull request", "Compare"):
        (line,) = re.findall(r"noctule (.+)", script(name).replace("\\\n", ""))
        command = commands.commands[line.split()[0]]
        known = {option for one in command.params for option in one.opts}
        assert {*re.findall(r"(?<= )--?[a-z][\w-]*", line)} <= known
