"""Printing. Control characters, which may occur in names, never reach the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from noctule.errors import shown

if TYPE_CHECKING:
    from noctule.report.terminal import Part

EXIT_INTERRUPTED = 130


def echo(*parts: Part) -> None:
    """Print texts and tables to stdout; nothing is cut off at any width."""
    from noctule.report.terminal import columns_of, terminal_text

    if parts:
        # typer.echo ignores that a terminal's encoding may lack characters.
        sys.stdout.write(terminal_text(parts, columns_of(sys.stdout)) + "\n")
        sys.stdout.flush()


def echo_text(text: str) -> None:
    """Print rendered text, such as CSV or LaTeX, without control characters."""
    typer.echo(shown(text), nl=False)


def echo_message(text: object) -> None:
    """Print a message to stderr, without control characters."""
    typer.echo(f"noctule: {shown(text)}", err=True)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit status 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        echo_message(f"stopped. {message}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
