"""`noctule report runs/*` and `leaderboard build runs/*`, whatever else lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import run
from report_runs import LABELS, PREDICTIONS, write_run

ARGUMENTS = {
    "report": ("report",),
    "leaderboard": ("leaderboard", "build", "--resamples", "2"),
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_what_is_no_finished_run_is_left_out_and_named(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "runs"
    write_run(runs / "whole", predictions=PREDICTIONS, labels=LABELS)
    write_run(runs / "half", predictions=PREDICTIONS, labels=LABELS, finished=False)
    (runs / "empty").mkdir()
    (runs / "study-x").mkdir()
    (runs / "study-x" / "study.json").write_text("{}")
    (runs / "report.html").write_text("<!DOCTYPE html>")
    out = tmp_path / "out.html"
    paths = sorted(runs.iterdir())
    status, _, stderr = run(monkeypatch, capsys, *ARGUMENTS[command], *paths, "-o", out)
    assert status == 0, stderr
    assert out.exists()
    text = " ".join(stderr.split())
    for name, reason in (
        ("half", "is left out: it is unfinished: 1 of 2 slices are missing"),
        ("empty", "is left out: it has no run.json"),
        ("study-x", "is left out: it is a study, not a run"),
        ("report.html", "is left out: it has no run.json"),
    ):
        assert f"{name} {reason}" in text
    assert "whole" not in stderr
    # Damage is no reason to leave a run out, nor is one that does not exist.
    (runs / "whole" / "rows" / "000000.parquet").write_bytes(b"")
    for others in (paths, [runs / "absent", *paths]):
        status, _, stderr = run(monkeypatch, capsys, *ARGUMENTS[command], *others, "-o", out)
        assert (status, "Traceback" in stderr) == (2, False)


def test_when_nothing_is_left_that_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    status, _, stderr = run(monkeypatch, capsys, "report", tmp_path / "a", tmp_path / "b")
    assert status == 2
    assert "none of these 2 paths is a finished run" in " ".join(stderr.split())
