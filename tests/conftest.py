"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import run

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads only wait
    torch.set_num_threads(1)
HERE = Path(__file__).parent
# Programs that tests start can import the helpers, as the tests themselves can.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE / "helpers"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would the programs that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For many small operations: on a busy machine, threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 20 noisy images, each with a brightest channel of its own."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 100
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def noctule_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[object, str, str]]:
    """`noctule ARGUMENTS` in a folder of its own, which can import the tests of this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE / "cli"))
    return lambda *arguments: run(monkeypatch, capsys, *arguments)
