"""The path of a batch of stored images through the loop is short."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import torch

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings
from noctule.stored import StoredImages, export, open_stored


class Flat(torch.nn.Module):
    """Two logits, of the red and the green."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))[:, :2]


PACKAGE = str(Path(noctule.__file__).parent)
Call = tuple[str, str]
"""The file and the function."""


def location(frame: FrameType | None) -> Call:
    """Of the innermost function of the package."""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_code.co_qualname) if frame else ("", "")


def test_a_batch_passes_at_most_32_functions(tmp_path: Path) -> None:
    """Beside the network's own; and each file is entered by at most three different calls."""
    benchmark = Benchmark(
        name="b", title="B", source="tests", corruptions=("shear", "gaussian")
    )
    pixels = np.arange(24 * 16 * 16 * 3).reshape(24, 16, 16, 3) % 251
    export(benchmark, (pixels.astype(np.uint8), [0, 1] * 12), tmp_path / "set", processes=1)
    calls: list[tuple[Call, Call]] = []

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls.append((location(frame.f_back), location(frame)))

    settings = Settings(device="cpu", batch_size=8, workers=0, self_check=False)
    network = noctule.load_classifier(Flat())
    source = StoredImages(network, open_stored(tmp_path / "set"), settings)
    sys.setprofile(on_call)
    try:
        run_images(source, out=tmp_path / "run")
    finally:
        sys.setprofile(None)
    ends = [index for index, (_, callee) in enumerate(calls) if callee[1] == "outcome_tables"]
    assert len(ends) == 3  # batches
    path = [call for call in calls[ends[0] + 2 : ends[1] + 2] if "<" not in call[1][1]]
    functions = {callee for _, callee in path}
    assert {name for _, name in functions} >= {"StoredImages.images", "Loop.forward", "_table"}
    assert len(functions) <= 32, functions
    entries = {(caller, callee) for caller, callee in path if caller[0] != callee[0]}
    files = [callee[0] for _, callee in entries]
    assert max(files.count(file) for file in files) <= 3
