"""What the commands print is whole at every width, in a pipe and in a terminal."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from command_line import run
from noctule.cli.app import app
from noctule.report.table import text_table
from noctule.report.terminal import terminal_text
from noctule.studies.matrix import OverlapMatrix, write_matrix
from stored_runs import stored_run

WORDS = "what a corruption does, in a sentence that is longer than the column it stands in"
TABLE = text_table(
    "Corruptions and the like",
    ("name", "family", "what it does"),
    [("salt_pepper", "noise", WORDS), ("horizontal_artifacts", "artifacts", "short")],
)


@pytest.mark.parametrize("columns", [1, 20, 39, 40, 60, 80, 100, 200, None])
def test_no_word_is_cut_and_no_line_too_long(columns: int | None) -> None:
    text = terminal_text([TABLE, f"The end: {WORDS}."], columns)
    words = text.split()
    for cell in ("salt_pepper", "horizontal_artifacts", *WORDS.split(), "sentence"):
        assert cell in words
    if columns is not None and columns >= len("horizontal_artifacts"):
        assert max(map(len, text.splitlines())) <= columns


def test_a_name_begins_no_line_of_its_own() -> None:
    name = "net\nmean error: 0.0 %\u2028mean error: 0.0 %\r\nmean error: 0.0 %"
    table = replace(text_table(name, ("a", "b"), [(name, name)]), notes=(f"Of {name}.",))
    lines = re.split("[\n\r\u2028]", terminal_text([table], None))
    assert len(lines) == 7  # the title, a table of three lines, the note; two empty lines
    assert "mean error: 0.0 %" not in lines


def test_text_wraps_in_its_column_while_there_is_room_and_else_row_by_row() -> None:
    lines = terminal_text([TABLE], 60).splitlines()
    start = lines[2].index("what it does")
    assert lines[4].startswith("salt_pepper           noise")
    assert all(line[:start].strip() == "" for line in lines[5:-1])
    assert " ".join(line[start:] for line in lines[4:-1]) == WORDS
    lines = terminal_text([TABLE], 30).splitlines()
    assert lines[lines.index("salt_pepper") + 1] == "  family: noise"


def test_wide_letters_take_two_places() -> None:
    table = text_table("", ("名前", "b"), [("五", "x"), ("abcd", "y")])
    assert terminal_text([table], None).splitlines() == [
        "名前  b", "----  -", "五    x", "abcd  y",
    ]  # fmt: skip


def test_a_cell_has_one_line_and_no_command_for_the_terminal() -> None:
    table = text_table("t\x1b[2J", ("a",), [("two\nlines\x1b[31m\u202e",)])
    text = terminal_text([table, "a note\x07"], 80)
    assert not set("\x1b\u202e\x07") & set(text)
    assert "two lines" in text


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    for name, tenths in (("one", (1, 5, 4, 3)), ("two", (2, 3, 5, 2))):
        conditions = zip(("clean", "shear", "rain", "hue"), tenths, strict=True)
        wrong = {one: [int(i % 10 < tenth) for i in range(100)] for one, tenth in conditions}
        stored_run(tmp_path / name, wrong)
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.parametrize("command", ["metrics", "compare", "list", "design", "score", "n-by-k"])
def test_a_pipe_has_no_width(
    command: str,
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same for COLUMNS 40, 80 and unset; every number and sentence is in one piece."""
    matrix = tmp_path / "m.csv"
    write_matrix(OverlapMatrix(("shear", "rain", "hue"), np.eye(3)), matrix)
    arguments = {
        "metrics": ("metrics", runs[0], "--reference", runs[1], "--resamples", 50),
        "compare": ("compare", *runs),
        "list": ("list",),
        "design": ("design", matrix, "--size", 2),
        "score": ("design", "score", own_benchmark(tmp_path), "--matrix", matrix),
        "n-by-k": ("design", "n-by-k", matrix, "--families", 2, "--per-family", 1),
    }[command]
    printed = []
    for columns in ("40", "80", None):
        monkeypatch.setenv("COLUMNS", columns) if columns else monkeypatch.delenv("COLUMNS")
        status, out, _ = run(monkeypatch, capsys, *arguments)
        assert status == 0
        printed.append(out)
    assert printed[0] == printed[1] == printed[2]
    # At a narrow terminal the same words, in lines that fit but for words that do not.
    monkeypatch.setattr("noctule.report.terminal.columns_of", lambda stream: 40)
    status, narrow, _ = run(monkeypatch, capsys, *arguments)
    # Row by row the first column needs no name, and an empty one is left out.
    assert set(words(printed[0])) - set(words(narrow)) <= {"corruption", "name", "detectable"}
    assert all(len(line) <= 40 or " " not in line.strip() for line in narrow.splitlines())


def words(text: str) -> list[str]:
    """Its words but for the lines under a header; where rows stand apart, names end in ":"."""
    return [word.rstrip(":") for word in text.split() if not re.fullmatch("-+", word)]


def own_benchmark(folder: Path) -> Path:
    path = folder / "own.toml"
    path.write_text(
        'name = "own"\ntitle = "Own"\nsource = "here"\ncorruptions = ["shear", "hue"]\n'
    )
    return path


def test_the_summary_comes_first_and_the_ce_column_is_there(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(monkeypatch, capsys, "metrics", runs[0], "--reference", runs[1])
    lines = out.splitlines()
    # Errors 50/30, 40/50 and 30/20 %: CE 167, 80 and 150, their mean 132.2; on clean images
    # 10/20 %: relative CE 400, 100 and not defined, as the reference's error does not rise.
    assert lines[1].startswith("relative mCE: not defined, ")
    assert lines[2].startswith("mCE: 132.2 (95 % CI: ")
    header = next(line for line in lines if line.startswith("corruption"))
    assert re.split(r"\s{2,}", header)[3:] == ["relative CE", "95 % CI", "CE"]
    shear = next(line for line in lines if line.startswith("shear"))
    assert re.split(r"\s{2,}", shear)[-1] == "167"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_real_terminal_has_its_width() -> None:
    import fcntl
    import struct
    import subprocess
    import termios

    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    code = (
        "import sys; from noctule.report.terminal import columns_of, terminal_text; "
        f"print(terminal_text([{WORDS!r}], columns_of(sys.stdout)))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    subprocess.run([sys.executable, "-c", code], stdout=follower, env=environment, check=True)
    os.close(follower)
    shown = os.read(leader, 10_000).decode().replace("\r", "")
    os.close(leader)
    assert max(map(len, shown.splitlines())) <= 50
    assert shown.split() == WORDS.split()


@pytest.mark.parametrize("columns", ["40", "80"])
def test_every_help_text_is_whole(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command: all words of every option, and of each command in its group."""
    monkeypatch.setenv("COLUMNS", columns)
    root: Any = typer.main.get_command(app)
    todo = [root.context_class(root, info_name="noctule")]
    commands = 0
    while todo:
        context = todo.pop()
        command = context.command
        shown = "".join(command.get_help(context).split())
        assert all(one.help for one in command.params), command.name
        texts = [one.help for one in command.params]
        if hasattr(command, "list_commands"):
            for name in command.list_commands(context):
                member = command.get_command(context, name)
                texts.append((member.help or "").partition("\n\n")[0])
                todo.append(root.context_class(member, info_name=name, parent=context))
        for text in texts:
            assert "".join(text.split()) in shown  # lines may end at a hyphen
        commands += 1
    assert commands > 20
