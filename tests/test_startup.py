"""Commands that run no model load no more than they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import noctule
from synthetic_studies import write_study

HEAVY = (
    "torchvision", "timm", "torch._dynamo", "torch._inductor", "sympy", "sklearn", "skimage",
    "matplotlib", "altair", "vl_convert", "jinja2", "starlette", "uvicorn", "highspy",
    "scipy.stats", "scipy.optimize", "scipy.spatial", "scipy.ndimage",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, an exported set and a study."""
    folder = tmp_path_factory.mktemp("startup")
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", images=images, labels=np.arange(16))
    data = noctule.open_dataset(folder / "data.npz")
    settings = noctule.Settings(self_check=False)
    noctule.evaluate("photo-patches", data, out=folder / "run", settings=settings)
    noctule.export("imagenet-noc", data, folder / "stored")
    networks, conditions = ("standard", "shear", "rain"), ("clean", "shear", "rain")
    accuracies = {(network, name): 0.5 for network in networks for name in conditions}
    write_study(folder / "study", accuracies)
    return folder


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (("list",), ()),
        (("list", "corruptions"), ()),
        (("metrics", "run"), ("scipy.optimize",)),
        (("compare", "run", "run"), ("scipy.stats", "scipy.optimize", "scipy.spatial",
                                     "scipy.ndimage")),
        (("verify", "stored"), ()),
        (("study", "status", "study"), ()),
    ],
    ids=lambda value: " ".join(value),
)  # fmt: skip
def test_a_command_loads_only_what_it_needs(
    folder: Path, command: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\n"
        f"sys.argv = ['noctule', *{command}]\n"
        "from noctule.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=dict(os.environ), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    loaded = done.stdout.splitlines()[-1].removeprefix("HEAVY ")
    assert set(eval(loaded)) <= set(needed)
