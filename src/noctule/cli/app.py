"""The program and its exit codes; the commands are in the files beside this one."""

from __future__ import annotations

import functools
import io
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from noctule._version import __version__
from noctule.cli.echo import echo_message
from noctule.errors import NoctuleError, NoctuleWarning, machine_error

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_MOST_SHOWN = 200


class Group(TyperGroup):
    """Commands whose summaries are whole; click cuts them to a line."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None; what its group shows of it is its first paragraph."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.short_help is None:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return command


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # by rich, long words of the help are cut
    help="Measure how image classifiers stand up to common corruptions.",
)


def main() -> None:
    """Run the program; user errors go to stderr without a traceback, with exit status 2.

    So do errors of the machine (`machine_error`) and of the operating system, such as a folder
    that may not be read.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every letter
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", NoctuleWarning)
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
            app()
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        _complain(message)


def _message(error: Exception) -> str | None:
    """What to say of an error; None for a fault of noctule's, whose traceback is needed."""
    if known := machine_error(error):
        return str(known)
    if isinstance(error, OSError) and error.strerror is not None:
        name = "" if error.filename is None else f"{str(error.filename)[:_MOST_SHOWN]}: "
        return f"{name}{error.strerror}"
    return str(error) if isinstance(error, NoctuleError) else None


def _show_warning(
    otherwise: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
    **options: Any,
) -> None:
    """Print the package's own warnings as its messages, and others as Python does."""
    if issubclass(category, NoctuleWarning):
        echo_message(message)
    else:
        otherwise(message, category, *place, **options)


def _complain(message: str) -> NoReturn:
    echo_message(message)
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
