import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import noctule
from noctule import provenance
from noctule.provenance import checkout_commit, collect, device_name


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "-m", "first")
    return package


def test_a_record_is_json_and_says_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["noctule", "evaluate"])
    record = collect(slices=3)
    assert json.loads(json.dumps(record)) == record
    assert record["argv"] == ["noctule", "evaluate"]
    assert record["noctule"] == noctule.__version__
    assert record["packages"]["numpy"] == np.__version__
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["torch_threads"] == torch.get_num_threads()
    assert record["slices"] == 3
    age = datetime.now(UTC) - datetime.fromisoformat(record["started_utc"])
    assert timedelta(seconds=-1) <= age < timedelta(minutes=1)


def test_a_package_that_is_not_installed_has_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert collect()["packages"] == {"no-such-package": None}


def test_a_checkout_has_its_commit_and_is_dirty_once_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a git hook; must not matter
    assert checkout_commit(checkout) == (sha, False)
    (checkout.parent / "results.txt").write_text("beside the package")
    assert checkout_commit(checkout) == (sha, False)
    (checkout / "new.py").write_text("b = 2\n")
    assert checkout_commit(checkout) == (sha, True)


def test_what_is_not_a_checkout_has_no_commit(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout.parent / "site-packages"  # inside a repository, but not part of it
    installed.mkdir()
    (installed / "a.py").write_text("")
    assert checkout_commit(installed) is None
    assert checkout_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")  # no git
    assert checkout_commit(checkout) is None


def test_the_cpu_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_name("cpu")
    monkeypatch.setattr(provenance, "_cpu_name", lambda: None)
    assert device_name("cpu")
