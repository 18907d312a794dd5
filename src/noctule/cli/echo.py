"""Printing. Control characters, which may occur in names, never reach the terminal.

Results go to stdout, messages to stderr and to the log file. With `--json`, stdout holds one
JSON object, which `finish` prints, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from noctule._version import __version__
from noctule.display import progress_hidden
from noctule.errors import NoctuleError, OutputError, shown
from noctule.input_files import reject_special_files
from noctule.remote import RemotePath

if TYPE_CHECKING:
    from noctule.report.terminal import Part

# Exit statuses: see docs/cli.md. 0 is success.
EXIT_NO = 1
"""What was to be checked is not so: a worse model, a damaged file, a submission that fails."""
EXIT_USER_ERROR = 2
EXIT_BUG = 3
EXIT_INTERRUPTED = 130
LOGGER = logging.getLogger("noctule")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@dataclass
class Session:
    """One run of the program.

    Attributes:
        as_json: Whether stdout holds one JSON object and nothing else.
        quiet: Whether only errors are shown.
        verbose: Whether versions, times and the origin of errors are shown.
        command: The command, such as "study run".
        warnings: Warnings, in order.
        error: What ended the program.
        result: What the command has found, JSON-ready.
        prints: Whether results are printed; of several ranks, only the first prints them.
        start: Time of the start, in seconds.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    command: str | None = None
    warnings: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    prints: bool = True
    start: float = field(default_factory=time.monotonic)


session = Session()


def begin(arguments: Sequence[str]) -> None:
    """Start a session with the program's arguments."""
    vars(session).update(vars(Session("--json" in arguments)))
    progress_hidden.set(False)
    for handler in LOGGER.handlers[:]:
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.propagate, LOGGER.disabled = False, True


def log_to(path: Path) -> None:
    """Append what is printed to a file from here on, with times.

    Raises:
        InputError: The path is a named pipe, a device or a folder.
        OutputError: The file cannot be written.
    """
    reject_special_files(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error
    handler.setFormatter(logging.Formatter(_FORMAT))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.disabled = False
    LOGGER.info("%s", shown(f"{sys.argv[0]} {' '.join(sys.argv[1:])}"))


def hush() -> None:
    """Show neither messages nor progress from here on, but for errors."""
    session.quiet = True
    progress_hidden.set(True)


@contextmanager
def json_alone(stdout: TextIO) -> Iterator[None]:
    """With `--json`, what anything prints to stdout goes to stderr; `finish` prints the JSON.

    That includes programs that libraries start, as far as stdout is the program's own.
    """
    if not session.as_json:
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if stdout is sys.__stdout__:
            saved = os.dup(1)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 1)
            os.dup2(2, 1)
        yield


def finish(status: int) -> None:
    """Print the JSON object if it is wanted, and close the log."""
    versions = [f"noctule {__version__}", f"Python {platform.python_version()}"]
    if "torch" in sys.modules:
        versions.append(f"PyTorch {sys.modules['torch'].__version__}")
    took = f"finished after {time.monotonic() - session.start:.1f} s with exit status {status}"
    echo_debug(f"{', '.join(versions)} on {platform.platform()}: {took}")
    if session.as_json and session.prints:
        print_json(status)
    for handler in LOGGER.handlers:
        handler.close()


def print_json(status: int) -> None:
    """Print the one JSON object of `--json`, whose shape is in docs/cli.md."""
    content = {
        "noctule": __version__,
        "command": session.command,
        "exit_status": status,
        "warnings": session.warnings,
        "error": session.error,
        "result": session.result,
    }
    # In ASCII: control characters of names are escaped.
    typer.echo(json.dumps(content, indent=2, default=_plain, allow_nan=False))


def _plain(value: object) -> str:
    if isinstance(value, Path | RemotePath):
        return str(value)
    raise TypeError(f"{value!r} is not JSON")


def echo(*parts: Part, data: Mapping[str, Any] | None = None) -> None:
    """Print texts and tables to stdout; nothing is cut off at any width.

    Args:
        parts: The texts and tables.
        data: The same as JSON-ready data, for `--json`.
    """
    session.result |= data or {}
    if not parts:
        return
    from noctule.report.terminal import columns_of, terminal_text

    LOGGER.info("%s", terminal_text(parts, None))
    if session.prints and not session.as_json:
        # typer.echo ignores that a terminal's encoding may lack characters.
        sys.stdout.write(terminal_text(parts, columns_of(sys.stdout)) + "\n")
        sys.stdout.flush()


def echo_text(text: str, *, data: Mapping[str, Any] | None = None) -> None:
    """Print rendered text, such as CSV or LaTeX, without control characters."""
    session.result |= data or {}
    if session.prints and not session.as_json:
        typer.echo(shown(text), nl=False)


def echo_message(text: object) -> None:
    """Print a message to stderr, without control characters."""
    LOGGER.info("%s", shown(text))
    if not session.quiet:
        typer.echo(f"noctule: {shown(text)}", err=True)


def echo_warning(text: object) -> None:
    """Print a warning as a message."""
    session.warnings.append(shown(text))
    echo_message(text)


def echo_failure(text: str) -> None:
    """Print why a check fails, also with `--quiet`."""
    session.warnings.append(shown(text))
    LOGGER.error("%s", shown(text))
    typer.echo(f"noctule: {shown(text)}", err=True)


def echo_error(text: str, error: BaseException | None = None) -> None:
    """Print what ends the program, with `--verbose` also where it comes from."""
    record_error(text, error)
    typer.echo(f"noctule: {shown(text)}", err=True)
    if error is not None:
        echo_debug("".join(traceback.format_exception(error)).rstrip())


def record_error(text: str, error: BaseException | None = None) -> None:
    """Keep what ends the program for `--json` and the log; it has been printed."""
    known = error if isinstance(error, NoctuleError) else None
    session.error = {
        "message": known.what if known else text,
        "where": known.where if known else None,
        "remedy": known.remedy if known else None,
    }
    LOGGER.error("%s", shown(text))


def echo_debug(text: str) -> None:
    """Print a message for `--verbose` and the log."""
    LOGGER.debug("%s", shown(text))
    if session.verbose:
        typer.echo(f"noctule: {shown(text)}", err=True)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit status 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        echo_error(f"stopped. {message}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
