"""The programs that measure speed run, and their ratios are right."""

from __future__ import annotations

import doctest
import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from repository import ROOT

SCRIPTS = ROOT / "scripts"
NEEDED = {
    "peers": ("imagecorruptions", "imgcorr", "corrupt_tta"),
    "previous": (),
    "transforms": ("torchvision",),
    "loader": ("torchvision",),
    "scaling": ("torchvision",),
    "evaluation": ("torchvision",),
    "zoo": ("torchvision",),
    "costs": ("torchvision",),
    "schedule": (),
    "growth": ("altair", "vl_convert"),
}


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDED)
def test_a_program_runs(name: str, tmp_path: Path) -> None:
    for module in NEEDED[name]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if name == "growth" and sys.platform != "linux":
        pytest.skip("only Linux has the peak of memory")
    if name == "peers" and not (Path(sys.prefix) / "imagecorruptions-imaug").exists():
        pytest.skip("imagecorruptions-imaug is not installed")
    if (
        name == "previous"
        and subprocess.run(
            ["git", "-C", ROOT, "cat-file", "-e", "338a9e0"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("there is no history")
    command = [sys.executable, SCRIPTS / f"{name}.py", "--quick"]
    if name == "growth":
        command += ["--out", tmp_path / "chart.svg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fails" not in done.stdout + done.stderr
    assert "| " in done.stdout or name == "evaluation"
    if name == "growth":
        assert (tmp_path / "chart.svg").read_text(encoding="utf-8").startswith("<svg")


def test_ratios_compare_the_medians_of_the_sides_that_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = load("timing", monkeypatch)
    times = {
        # The medians are 2, 8 and 4: the fastest other side takes twice as long as ours.
        "fog": {"noctule": [1, 2, 9], "slow": [8, 7, 9], "fast": [4, 4, 1]},
        # Without "fast", which does not count: 16 / 2.
        "snow": {"noctule": [2, 2, 2], "slow": [16, 16, 16], "fast": [1, 1, 1]},
        "rain": {"noctule": [2, 2, 2], "slow": [math.inf] * 3},  # nothing to compare with
    }
    table = timing.Table(
        "", {}, ["noctule"], timing.Target(4.0, 2.0), uncounted={("fast", "snow")}
    )
    assert timing.report(table, times)  # the geometric mean of 2 and 8 is 4
    printed = capsys.readouterr().out
    cells = [line.replace(" ", "").strip("|").split("|") for line in printed.splitlines()]
    assert cells[2:5] == [
        ["fog", "2", "8", "4", "2"], ["snow", "2", "16", "(1)", "8"],
        ["rain", "2", "fails", "–", "–"],
    ]  # fmt: skip
    assert "medians: 4 times as fast in the geometric mean of 2, at least 2" in printed
    for target in (timing.Target(4.1, 2.0), timing.Target(4.0, 2.1)):
        assert not timing.report(table._replace(target=target), times)


@pytest.mark.parametrize("name", ["timing", "growth"])
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctest.testmod(load(name, monkeypatch)).failed == 0
