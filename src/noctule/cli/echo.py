"""What the commands print for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noctule.report.terminal import Part


def echo(*parts: Part) -> None:
    """Print texts and tables to stdout, of which nothing is cut off at any width."""
    from noctule.report.terminal import columns_of, terminal_text

    if parts:
        # Not by typer.echo, which takes a terminal that lacks letters for one that has all.
        sys.stdout.write(terminal_text(parts, columns_of(sys.stdout)) + "\n")
        sys.stdout.flush()
