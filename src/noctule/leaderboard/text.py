"""The result of a check as a terminal table, JSON, or Markdown for a pull request."""

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
    """The result of checking one folder, or the error that prevented it."""

    folder: str
    result: CheckResult | InputError

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        if isinstance(self.result, InputError):
            return f"bad input: {self.result}"
        wrong = sum(line.state == "does not hold" for line in self.result.lines)
        unverified = sum(line.state == "cannot be verified" for line in self.result.lines)
        total = len(self.result.lines)
        if wrong:
            return f"{wrong} of {total} checks failed."
        if unverified:
            return f"No check failed; {unverified} of {total} cannot be verified."
        return "All checks passed."


def table_of(checked: Checked) -> Table | None:
    """The items as a table; None if the folder could not be checked."""
    if isinstance(checked.result, InputError):
        return None
    rows = [(MARKS[one.state], *_cells(one)) for one in checked.result.lines]
    return text_table(checked.folder, ("", "what", "", "values"), rows)


def json_text(results: Sequence[Checked]) -> str:
    """A JSON record per submission, in ASCII."""
    return json.dumps([_record(one) for one in results], indent=2) + "\n"


def markdown_text(results: Sequence[Checked]) -> str:
    """Markdown, with all text of a submission in code spans, where markup has no effect."""
    parts = []
    for one in results:
        parts += [f"### {_code(one.folder)}", ""]
        if isinstance(one.result, InputError):
            parts += [f"✗ bad input: {_code(one.result)}", ""]
            continue
        lines = [
            f"| {MARKS[line.state]} | {line.name} | {line.state} | {_code(line.detail)} |"
            for line in one.result.lines
        ]
        parts += ["| | what | | values |", "|---|---|---|---|", *lines, "", one.verdict, ""]
    return "\n".join(parts)


def _cells(line: CheckItem) -> tuple[str, str, str]:
    return line.name, line.state, line.detail


def _record(checked: Checked) -> dict[str, Any]:
    if isinstance(checked.result, InputError):
        return {"folder": checked.folder, "holds": False, "error": str(checked.result)}
    return {
        "folder": checked.folder,
        "holds": checked.result.holds,
        "lines": [
            {"name": one.name, "state": one.state, "detail": one.detail}
            for one in checked.result.lines
        ],
    }


def _code(text: object) -> str:
    """A code span on one line, safe in a table cell."""
    plain = " ".join(shown(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""
