"""Names of strangers reach no terminal with escape sequences, bells or bidi marks in them."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest

import noctule
from command_line import run
from noctule.csv_files import csv_text
from noctule.report.table import escape_latex, escape_markdown
from stored_runs import stored_run

CLI = Path(noctule.__file__).parent / "cli"
HOSTILE = "m\x1b]0;owned\x07\x1b[2J\u202egpj.exe\x9b31m\x7f"


def is_clean(text: str) -> bool:
    return all(unicodedata.category(one)[0] != "C" or one in "\n\t" for one in text)


def test_the_commands_print_in_one_place() -> None:
    for path in CLI.glob("*.py"):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        own = {"typer.echo", "print", "sys.stdout.write"} if path.name != "echo.py" else set()
        # app.py prints the version.
        assert not calls & (own - ({"typer.echo"} if path.name == "app.py" else set())), (
            path.name
        )


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "latex"])
def test_scores_of_a_hostile_run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    form: str,
) -> None:
    wrong = {"clean": [0, 0, 1, 1], "shear": [0, 1, 1, 1]}
    store = stored_run(tmp_path / "run", wrong, model=HOSTILE, spec={"title": HOSTILE})
    for command in (("metrics", "--resamples", "20"), ("compare", str(store.folder))):
        status, stdout, stderr = run(
            monkeypatch, capsys, *command, store.folder, "--format", form
        )
        assert is_clean(stdout), (command, stdout)
        assert is_clean(stderr), (command, stderr)
        assert status == 0 or "is given twice" in stderr, stderr


def test_what_is_left_out_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.png", f"._{HOSTILE}.png", f"b.{HOSTILE}"):
        path = tmp_path / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.warns(noctule.NoctuleWarning) as caught:
        dataset = noctule.open_dataset(tmp_path)
    assert "owned" in dataset.left_out
    assert is_clean(repr(dataset))
    assert is_clean(str(caught[0].message))


def test_renderers_replace_control_characters() -> None:
    for text in (escape_latex(HOSTILE), escape_markdown(HOSTILE), csv_text([{"a": HOSTILE}])):
        assert is_clean(text)
        assert "owned" in text


def test_a_message_with_a_hostile_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / HOSTILE).mkdir()
    status, stdout, stderr = run(monkeypatch, capsys, "metrics", tmp_path / HOSTILE)
    assert (status, is_clean(stdout), is_clean(stderr)) == (2, True, True)
