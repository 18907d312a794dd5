"""The site's own pages are run as a reader runs them: every file, command and block of Python.

What is not in this repository has a stand-in, and evaluations use fewer images than the pages'.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import Normalize

from noctule import load_classifier, open_dataset, plugins
from noctule.corruptions import CORRUPTIONS
from repository import DOCS

Cli = Callable[..., tuple[Any, str, str]]

PAGES = sorted(
    page
    for part in ("start", "howto", "explained")
    for page in (DOCS / part).glob("*.md")
    if re.search(r"^```(python)?$", page.read_text(encoding="utf-8"), re.M)
)
# Quick ones, for `make test`; the others evaluate more conditions or more images.
QUICK = {"ci-gate.md", "own-corruption.md"}
STAND_INS = {
    "torchvision:resnet50@IMAGENET1K_V1": "photo-patches",
    "/data/imagenet/flat --labels /data/imagenet/ILSVRC2012_devkit_t12": "photo-patches",
    "/data/imagenet/val --stored /data/imagenet-c": "--stored exported",
    "/data/imagenet/val": "photo-patches",
    "/data/mine": "photographs",
    "--device all": "--device cpu",
    " --protocol 1000-way": "",  # the stand-ins have the same classes
    " --protocol restricted": "",
    "--limit 500": "--limit 16",
    "--limit 512": "--limit 16",
}
# What fits the whole benchmark or the whole data only.
WHOLE = {"leaderboard.md"}
BLOCK = re.compile(r"(?:^`([\w.]+)`:\n\n)?^```([^\n`]*)\n(.*?)^```$", re.M | re.S)
MINE = """
import noctule
def network():
    return noctule.load_classifier("photo-patches").module, noctule.Preprocessing(
        resize_px=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
def baseline():
    return noctule.load_classifier("photo-patches-reference").module, network()[1]
"""


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[None]:
    """Forget what a page has imported and registered."""
    names = {*CORRUPTIONS.loaded()}
    yield
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            sys.modules.pop(name)
            plugins.LOADED.pop(name, None)
    for name in {*CORRUPTIONS.loaded()} - names:
        CORRUPTIONS._entries.pop(name)
        CORRUPTIONS._origins.pop(name)


def prepare(folder: Path) -> dict[str, Any]:
    """Write what a page takes for granted; return the names that its Python uses."""
    (folder / "mine.py").write_text(MINE)
    data = open_dataset("photo-patches/test")
    for index in range(32):
        name = data.class_names[data.labels[index]]
        (folder / "photographs" / name).mkdir(parents=True, exist_ok=True)
        data.read(index).save(folder / "photographs" / name / f"{index}.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "photo.png")
    images = torch.from_numpy(rng.integers(0, 256, (4, 3, 64, 64), np.uint8))
    model = torch.nn.Sequential(
        Normalize([0.5] * 3, [0.25] * 3), load_classifier("photo-patches").module
    )
    return {"images": images, "ids": ["a", "b", "c", "d"], "model": model}


def with_stand_ins(text: str) -> str:
    for shown, used in STAND_INS.items():
        text = text.replace(shown, used)
    return text


def commands(block: str) -> Iterator[list[str]]:
    for text in block.replace("\\\n", " ").splitlines():
        words = shlex.split(text, comments=True)
        if words[:1] == ["noctule"]:
            yield words[1:]
        else:
            assert not words or words[0] == "pip", text


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=() if page.name in QUICK else pytest.mark.slow)
        for page in PAGES
    ],
)
@pytest.mark.usefixtures("clean", "one_thread")
def test_a_page_does_what_it_shows(page: Path, noctule_cli: Cli, tmp_path: Path) -> None:
    names = prepare(tmp_path)
    if "/data/imagenet-c" in (text := page.read_text(encoding="utf-8")):
        assert noctule_cli("export", "imagenet-c", "photographs", "exported")[0] == 0
    for file, language, content in BLOCK.findall(text):
        if file:
            (tmp_path / file).write_text(content)
        elif language == "python":
            exec(compile(with_stand_ins(content), page.name, "exec"), names)
        elif language == "":
            for words in commands(with_stand_ins(content)):
                whole = {"--limit", "--stored", "photographs"} & {*words} or page.name in WHOLE
                if words[0] == "evaluate" and not whole:
                    words = [*words, "--limit", "32"]
                status, out, error = noctule_cli(*words)
                assert status == 0, (words, out, error)


def test_every_page_has_commands_and_the_quick_ones_exist() -> None:
    assert {page.name for page in PAGES} >= QUICK | WHOLE
    for page in [*(DOCS / "howto").glob("*.md"), *(DOCS / "start").glob("*.md")]:
        assert page in PAGES, page
