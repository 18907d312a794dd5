"""A package with one entry of each kind, installed and used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "plugin_package"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip installs of the package."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE / "vignettes", site / "vignettes")
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    info = site / "vignettes-1.0.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head)
    (info / "top_level.txt").write_text("vignettes\n")
    groups = (
        "\n".join([f"[{group}]", *(f"{name} = {module}" for name, module in entries.items())])
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    return site


def noctule(site: Path, command: str) -> str:
    """The output of a command in a process that finds the package."""
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "noctule", *command.split()],
        cwd=site,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_entry_is_listed(site: Path) -> None:
    table = noctule(site, "list")
    for text in ("Darken each image towards its corners", "brightness:CLASSES", "grays:COUNT"):
        assert text in table
    assert "vignettes" in noctule(site, "list benchmarks")


def test_every_entry_is_used_by_an_evaluation(site: Path) -> None:
    noctule(
        site,
        "evaluate brightness:4 grays:32 --benchmark vignettes --workers 2 --out run "
        "--no-self-check",
    )
    identity = json.loads((site / "run" / "run.json").read_text())
    assert identity["model"]["name"] == "brightness:4"
    assert identity["dataset"]["name"] == "grays:32"
    assert identity["benchmark"]["plugins"].keys() == {"vignette"}
    (start,) = map(json.loads, (site / "run" / "provenance.jsonl").read_text().splitlines())
    versions = {plugin["module"]: plugin["version"] for plugin in start["plugins"]}
    assert versions.keys() >= {"vignettes.corruptions", "vignettes.models", "vignettes.data"}
    assert set(versions.values()) == {"1.0"}
    scores = noctule(site, "metrics run --format csv")
    assert "benchmark,vignettes,mean_doubt," in scores
    # The model and the images agree by construction, so that only the corruption makes errors.
    assert "condition,clean,error,0.0," in scores


def test_the_compiled_loop_of_the_package_gives_the_bytes_of_its_kernel(site: Path) -> None:
    program = (
        "from noctule.corruptions import CORRUPTIONS; import torch\n"
        "from noctule.corruptions.loops import differences\n"
        "from noctule.corruptions.loops.driver import loop_of\n"
        "assert loop_of(CORRUPTIONS['vignette'], torch.uint8)\n"
        "assert differences('vignette') == []\n"
    )
    path = os.pathsep.join([str(site), *sys.path])
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=True
    )


@pytest.mark.slow
def test_a_study_trains_against_a_corruption_of_the_package(site: Path) -> None:
    noctule(
        site,
        "study run photo-patches-demo --train grays:64 --test grays:32 --out study "
        "--candidates vignette,contrast --seeds 0 --epochs 1 --side-px 32 --processes 2",
    )
    study = json.loads((site / "study" / "study.json").read_text())
    assert study["plugins"].keys() == {"vignette"}
    assert "3 of 3 networks" in noctule(site, "study status study")
