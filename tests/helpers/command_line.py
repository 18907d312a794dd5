"""The program as a function, for tests of the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from noctule.cli import main


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[object, str, str]:
    """(exit status, stdout, stderr) of `noctule ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["noctule", *map(str, arguments)])
    status: object = 0
    try:
        main()
    except SystemExit as stop:
        status = stop.code or 0
    output = capsys.readouterr()
    return status, output.out, output.err


def result_of(out: str) -> Any:
    """The result in what a command prints with `--json`."""
    return json.loads(out)["result"]
