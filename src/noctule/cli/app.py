"""The program and its exit codes; the commands are in the files beside this one."""

from __future__ import annotations

import functools
import io
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from noctule._version import __version__
from noctule.errors import NoctuleError, NoctuleWarning, shown

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_MOST_SHOWN = 200

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Measure how image classifiers stand up to common corruptions.",
)


def main() -> None:
    """Run the program; user errors go to stderr without a traceback, with exit status 2.

    So do errors of the operating system, such as a folder that may not be read.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every letter
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", NoctuleWarning)
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
            app()
    except NoctuleError as error:
        _complain(str(error))
    except OSError as error:
        if error.strerror is None:
            raise
        name = "" if error.filename is None else f"{str(error.filename)[:_MOST_SHOWN]}: "
        _complain(f"{name}{error.strerror}")


def _show_warning(
    otherwise: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
    **options: Any,
) -> None:
    """Print the package's own warnings as its messages, and others as Python does."""
    if issubclass(category, NoctuleWarning):
        typer.echo(f"noctule: {shown(message)}", err=True)
    else:
        otherwise(message, category, *place, **options)


def _complain(message: str) -> NoReturn:
    typer.echo(f"noctule: {shown(message)}", err=True)
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
