"""The program and its exit codes; the commands are in the files beside this one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from noctule._version import __version__
from noctule.errors import NoctuleError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Measure how image classifiers stand up to common corruptions.",
)


def main() -> None:
    """Run the program; user errors go to stderr without a traceback, with exit status 2."""
    try:
        app()
    except NoctuleError as error:
        typer.echo(f"noctule: {error}", err=True)
        sys.exit(EXIT_USER_ERROR)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noctule {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    del version
