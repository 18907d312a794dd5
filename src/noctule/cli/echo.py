"""Everything the commands print: no control character of a name reaches the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from noctule.errors import shown

if TYPE_CHECKING:
    from noctule.report.terminal import Part


def echo(*parts: Part) -> None:
    """Print texts and tables to stdout, of which nothing is cut off at any width."""
    from noctule.report.terminal import columns_of, terminal_text

    if parts:
        # Not by typer.echo, which takes a terminal that lacks letters for one that has all.
        sys.stdout.write(terminal_text(parts, columns_of(sys.stdout)) + "\n")
        sys.stdout.flush()


def echo_text(text: str) -> None:
    """Print what a renderer made, such as CSV or LaTeX, without control characters."""
    typer.echo(shown(text), nl=False)


def echo_message(text: object) -> None:
    """Print a message of the program to stderr, without control characters."""
    typer.echo(f"noctule: {shown(text)}", err=True)
