"""Folders and files whose names are not UTF-8, from the data to the report."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import noctule
from command_line import run
from noctule.benchmarks import Benchmark


class Red(nn.Module):
    """Class 1 is red."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = images[:, 0].mean((1, 2))
        return torch.stack([0.5 - red, red - 0.5], dim=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("this file system has Unicode names only")
    return path


def test_a_run_from_data_to_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(b"\xff")
    for label, name in enumerate(("a", f"b{odd}")):
        for number in range(2):
            path = folder / "data" / name / f"{odd}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (200 * label, 9, 9 * number)).save(path)
    spec = Benchmark(name="b", title="b", source="x", corruptions=("shear",), severities=(1,))
    settings = noctule.Settings(device="cpu", workers=0, self_check=False)
    out = folder / f"run{odd}"
    found = noctule.evaluate(Red(), folder / "data", spec, out=out, settings=settings)
    assert found.scores.of("error", "clean").value == 0
    ids = set(found.run.rows(columns=["image_id"])["image_id"].to_pylist())
    assert r"b\udcff/\udcff0.png" in ids
    for arguments in (
        ("metrics", out, "--resamples", "20"),
        ("report", out, "--out", folder / f"page{odd}.html"),
        ("compare", out, out),
    ):
        status, _, stderr = run(monkeypatch, capsys, *arguments)
        assert status == 0 or "is given twice" in stderr, (arguments, stderr)


def test_ids_that_no_file_can_hold_are_refused() -> None:
    class Odd(noctule.Dataset):
        def read(self, index: int) -> Image.Image:
            raise NotImplementedError

        def content(self) -> list[bytes]:  # type: ignore[override]
            return []

    with pytest.raises(noctule.InputError, match=r"'a\\udce9' is not valid Unicode text"):
        Odd("odd", ["cat"], ["a\udce9"], [0])
