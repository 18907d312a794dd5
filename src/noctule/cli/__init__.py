"""The command line: parse, call, print. A command defers its heavy imports."""

from __future__ import annotations

from noctule.cli import compare as _compare
from noctule.cli import compile as _compile
from noctule.cli import design as _design
from noctule.cli import evaluate as _evaluate
from noctule.cli import export as _export
from noctule.cli import leaderboard as _leaderboard
from noctule.cli import listing as _listing
from noctule.cli import new as _new
from noctule.cli import report as _report
from noctule.cli import show as _show
from noctule.cli import status as _status
from noctule.cli import study as _study
from noctule.cli.app import app, main

# The imports register the commands.
del _compare, _compile, _design, _evaluate, _export, _leaderboard, _listing, _new, _report
del _show, _status, _study

__all__ = ["app", "main"]
