"""`noctule benchmark new`, and what it shares with `noctule study new`."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command, CommandGroup
from noctule.cli.options import arg
from noctule.errors import InputError, OutputError

NewFileArgument = Annotated[Path, arg("FILE")]

benchmark_app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Start a benchmark of your own."
)
app.add_typer(benchmark_app, name="benchmark")


@benchmark_app.callback()
def _group() -> None:
    """With a callback, one command is a group."""


@benchmark_app.command(cls=Command)
def new(path: NewFileArgument) -> None:
    """Write a commented TOML file to start a benchmark of your own from.

    Args:
        path: File to write, a .toml that does not exist yet.
    """
    remark = "Use it with: noctule evaluate MODEL DATA --benchmark {} --dry-run"
    write_template("benchmark", path, remark)


def write_template(kind: Literal["benchmark", "study"], path: Path, remark: str) -> None:
    """Write a file to start from, with its name in it.

    Args:
        kind: What it describes.
        path: The file.
        remark: What to do with it, with {} for the path.

    Raises:
        InputError: The path is not a .toml, or exists already.
        OutputError: The file cannot be written.
    """
    if path.suffix != ".toml":
        better = path.parent / f"{path.stem or f'my-{kind}'}.toml"
        raise InputError("is not a .toml file", where=path, remedy=f"Use {better}.")
    template = files("noctule.cli") / "templates" / f"{kind}.toml"
    text = template.read_text(encoding="utf-8")
    name = "".join(one if one.isalnum() and one.isascii() else "-" for one in path.stem)
    if path.exists():
        raise InputError("exists already", where=path, remedy="Use another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace(f"my-{kind}", name))
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error
    echo(
        f"{path}",
        "Edit it: it says what each key means.",
        remark.format(shlex.quote(str(path))),
        data={"file": path},
    )
