"""The command line: parse, call, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

from noctule.cli import evaluate as _evaluate
from noctule.cli import look as _look
from noctule.cli.app import app, main

del _evaluate, _look  # imported to register their commands

__all__ = ["app", "main"]
