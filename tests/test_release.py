"""What a release would publish: the wheel, the source archive, and the recipe for conda."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import noctule
from repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch", "safetensors": "python-safetensors"}


def recipe() -> Any:
    return yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8"))


def test_the_conda_recipe_requires_what_the_project_does() -> None:
    wanted = set()
    for requirement in PROJECT["project"]["dependencies"]:
        name, version = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
        wanted.add(f"{CONDA_NAMES.get(name, name)} {version}")
    found = recipe()["requirements"]
    assert set(found["run"]) == {"python >=${{ python_min }}", *wanted}
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend.replace(">=", " >=") in found["host"]


def test_the_conda_recipe_is_of_this_version_and_starts_the_same_program() -> None:
    assert recipe()["context"]["version"] == noctule.__version__
    ((name, where),) = PROJECT["project"]["scripts"].items()
    assert recipe()["build"]["python"]["entry_points"] == [f"{name} = {where}"]


def test_actions_are_pinned_to_commits() -> None:
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert len(workflows) >= 3
    for workflow in workflows:
        for action in re.findall(r"uses: (\S+)", workflow.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two builds, of checkouts whose files have other times and permissions."""
    folders = []
    for name, mode in (("first", 0o644), ("second", 0o600)):
        folder = tmp_path_factory.mktemp(name)
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        for path in filter(None, tracked.decode().split("\0")):
            target = folder / "tree" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)
            target.chmod(mode)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "tree"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        folders.append(folder / "dist")
    return folders


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(built: list[Path]) -> None:
    sums = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in built
    ]
    version = noctule.__version__
    assert sums[0].keys() == {
        f"noctule-{version}.tar.gz",
        f"noctule-{version}-py3-none-any.whl",
    }
    assert sums[0] == sums[1]


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_archive_its_tests(built: list[Path]) -> None:
    (wheel,), (archive,) = built[0].glob("*.whl"), built[0].glob("*.tar.gz")
    package = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src/noctule").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as file:
        assert {name for name in file.namelist() if ".dist-info/" not in name} == package
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {f"src/{name}" for name in package} | {"tests/test_release.py", "Makefile"} <= names
    assert not [name for name in names if name.startswith((".git/", ".venv", "runs", "demo"))]


@pytest.mark.slow
def test_the_description_can_be_rendered(built: list[Path]) -> None:
    files = [str(path) for path in built[0].iterdir()]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
