"""What a check found, for the terminal, for programs, and for a comment on a pull request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from noctule.errors import InputError
from noctule.leaderboard.checks import CheckResult
from noctule.leaderboard.lines import CheckItem
from noctule.report.table import Table, text_table
from noctule.report.web.text import shown

MARKS = {"holds": "✓", "does not hold": "✗", "cannot be verified": "?"}


class Checked(NamedTuple):
    """A submission that was to be checked: what was found, or why it could not be."""

    folder: str
    found: CheckResult | InputError

    @property
    def verdict(self) -> str:
        """One sentence."""
        if isinstance(self.found, InputError):
            return f"bad input: {self.found}"
        wrong = sum(line.state == "does not hold" for line in self.found.lines)
        open_ = sum(line.state == "cannot be verified" for line in self.found.lines)
        total = len(self.found.lines)
        if wrong:
            return f"{wrong} of {total} lines {'does' if wrong == 1 else 'do'} not hold."
        if open_:
            return f"No line fails; {open_} of {total} cannot be verified."
        return "All lines hold."


def table_of(checked: Checked) -> Table | None:
    """For the terminal; None if nothing could be checked."""
    if isinstance(checked.found, InputError):
        return None
    rows = [(MARKS[one.state], *_cells(one)) for one in checked.found.lines]
    return text_table(checked.folder, ("", "what", "", "values"), rows)


def json_text(results: Sequence[Checked]) -> str:
    """One record for each submission, in ASCII."""
    return json.dumps([_record(one) for one in results], indent=2) + "\n"


def markdown_text(results: Sequence[Checked]) -> str:
    """For a comment: what a submission says stands in code spans, where nothing is obeyed."""
    parts = []
    for one in results:
        parts += [f"### {_code(one.folder)}", ""]
        if isinstance(one.found, InputError):
            parts += [f"✗ bad input: {_code(one.found)}", ""]
            continue
        lines = [
            f"| {MARKS[line.state]} | {line.name} | {line.state} | {_code(line.detail)} |"
            for line in one.found.lines
        ]
        parts += ["| | what | | values |", "|---|---|---|---|", *lines, "", one.verdict, ""]
    return "\n".join(parts)


def _cells(line: CheckItem) -> tuple[str, str, str]:
    return line.name, line.state, line.detail


def _record(checked: Checked) -> dict[str, Any]:
    if isinstance(checked.found, InputError):
        return {"folder": checked.folder, "holds": False, "error": str(checked.found)}
    return {
        "folder": checked.folder,
        "holds": checked.found.holds,
        "lines": [
            {"name": one.name, "state": one.state, "detail": one.detail}
            for one in checked.found.lines
        ],
    }


def _code(text: object) -> str:
    """A code span on one line, in a cell of a table."""
    plain = " ".join(shown(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""
