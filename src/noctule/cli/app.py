"""The program and its exit codes; each command is in a file beside this one."""

from __future__ import annotations

import functools
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from noctule._version import __version__
from noctule.cli.echo import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    begin,
    echo_error,
    echo_warning,
    finish,
    json_alone,
    record_error,
)
from noctule.cli.help import HELP_NAMES, CommandGroup
from noctule.errors import NoctuleError, NoctuleWarning, machine_error

_MAX_NAME_CHARS = 200


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich cuts long words of the help
    context_settings={"help_option_names": HELP_NAMES},
    help="Measure how robust image classifiers are to common corruptions.",
)


def main() -> None:
    """Run the program, and exit with one of the statuses in docs/cli.md.

    User errors print a message without a traceback. Errors of the machine (`machine_error`) and
    of the operating system, such as a folder without read permission, are reported in the same
    way.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack characters
            stream.reconfigure(errors="backslashreplace")
    begin(sys.argv[1:])
    with json_alone(sys.stdout), warnings.catch_warnings():
        warnings.simplefilter("default", NoctuleWarning)
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
        status = _status()
    try:
        finish(status)
    except OSError as error:  # stdout is full, or nobody reads it
        echo_error(f"the result cannot be printed: {error.strerror}")
        status = EXIT_USER_ERROR
    sys.exit(status)


def _status() -> int:
    """Run the command; its exit status, after a message about what stopped it."""
    try:
        return app(prog_name="noctule", standalone_mode=False) or 0
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "show"):  # of Typer: wrong usage
            error.show()
            record_error(error.format_message())
            return EXIT_USER_ERROR
        if isinstance(error, typer.Abort):
            return EXIT_INTERRUPTED
        message = _message(error)
        if message is None:
            traceback.print_exc()
            name = f"{type(error).__name__}: {error}"
            echo_error(f"this is a bug in noctule, please report it: {name}")
            return EXIT_BUG
        echo_error(message, error)
        return EXIT_USER_ERROR


def _message(error: Exception) -> str | None:
    """The message for an error; None for a bug in noctule, which needs its traceback."""
    if known := machine_error(error):
        return str(known)
    if isinstance(error, OSError) and error.strerror is not None:
        name = "" if error.filename is None else f"{str(error.filename)[:_MAX_NAME_CHARS]}: "
        return f"{name}{error.strerror}"
    return str(error) if isinstance(error, NoctuleError) else None


def _show_warning(
    show_default: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *position: Any,
    **options: Any,
) -> None:
    """Print noctule's own warnings as messages, and all others as Python does."""
    if issubclass(category, NoctuleWarning):
        echo_warning(message)
    else:
        show_default(message, category, *position, **options)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"noctule {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    del version
