"""What needs an extra says so in one line before any work; the rest works without any."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noctule.extras import EXTRAS

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
# pyarrow looks for pandas by itself, and takes the None that hides it for the package.
HIDDEN = sorted({name for names in EXTRAS.values() for name in names} - {"pandas"})
ALONE = {
    "report": "noctule.report.run",
    "serve": "noctule.explore.server",
    "study": "noctule.studies.design",
    "photos": "noctule.data.sources.photo_patches",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph, a data set, and a run and an exported set made without any extra."""
    folder = tmp_path_factory.mktemp("extras")
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    Image.fromarray(images[0]).save(folder / "photo.png")
    np.savez(folder / "data.npz", images=images, labels=np.arange(16))
    for command in (
        "evaluate photo-patches data.npz --no-self-check --out run",
        "export imagenet-noc data.npz stored",
    ):
        done = without_extras(folder, command)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("extra", ALONE)
def test_an_extra_needs_no_other(extra: str) -> None:
    hidden = {*HIDDEN} - {*EXTRAS[extra]}
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import {ALONE[extra]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def without_extras(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command where every package of an extra is missing."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HIDDEN}))\n"
        f"sys.argv = ['noctule', *{command.split()}]\n"
        "from noctule.cli import main\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=dict(os.environ), capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "extra", "package"),
    [
        ("report run", "report", "altair"),
        ("leaderboard build run --out site", "report", "altair"),
        ("show photo.png --serve", "serve", "anyio"),
        ("study run photo-patches-demo", "study", "highspy"),
        ("study resume study", "study", "highspy"),
        ("study overlap study", "study", "highspy"),
        ("design score imagenet-noc --matrix matrix.csv", "study", "highspy"),
        ("evaluate", "photos", "skimage"),
        ("show astronaut", "photos", "skimage"),
        ("evaluate timm:resnet18 data.npz", "timm", "timm"),
        ("evaluate onnx:net.onnx data.npz", "onnx", "onnxruntime"),
        ("evaluate hf:folder data.npz", "hf", "transformers"),
        ("evaluate photo-patches hf:owner/birds", "hf", "transformers"),
        ("evaluate openclip:ViT-B-32 data.npz", "openclip", "open_clip"),
        ("evaluate photo-patches data.npz --no-self-check --on ray", "ray", "ray"),
    ],
)
def test_a_missing_extra_is_named_before_any_work(
    folder: Path, command: str, extra: str, package: str
) -> None:
    before = sorted(folder.rglob("*"))
    done = without_extras(folder, command)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"noctule: this needs the package {package}, which is not installed. Install it with: "
        f"pip install 'noctule[{extra}]'\n"
    )
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "list",
        "metrics run",
        "metrics run --format latex",
        "compare run run",
        "verify stored",
        "evaluate photo-patches --stored stored --no-self-check --out run-of-stored",
        "show photo.png --corruption shear --out shear.png",
        "leaderboard --help",
    ],
)
def test_the_core_needs_no_extra(folder: Path, command: str) -> None:
    done = without_extras(folder, command)
    assert done.returncode == 0, done.stderr


def test_results_show_themselves_without_any_extra(folder: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({HIDDEN}))\n"
        "import noctule\n"
        "evaluation = noctule.load_run('run')\n"
        "print(repr(evaluation), evaluation, evaluation._repr_html_())\n"
        "print(repr(noctule.compare('run', 'run')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "Evaluation(run='run', scores=<Scores: imagenet-noc, 16 images;"
    )
    assert " None\n<Comparison: " in done.stdout


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == project.keys() - {"all", "dev", "docs", "peers"}
    assert project["all"] == [f"noctule[{','.join(EXTRAS)}]"]
