"""The result of a check as a terminal table, data, or Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from noctule.errors import InputError, shown
from noctule.leaderboard.checks import CheckResult
from noctule.report.table import Table, text_table

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
        wrong = sum(item.state == "does not hold" for item in self.result.items)
        unverified = sum(item.state == "cannot be verified" for item in self.result.items)
        total = len(self.result.items)
        if wrong:
            return f"{wrong} of {total} checks failed."
        if unverified:
            return f"No check failed; {unverified} of {total} cannot be verified."
        return "All checks passed."

    def to_record(self) -> dict[str, Any]:
        """JSON-ready data."""
        if isinstance(self.result, InputError):
            return {"folder": self.folder, "holds": False, "error": str(self.result)}
        return {
            "folder": self.folder,
            "holds": self.result.holds,
            "lines": [
                {"name": one.name, "state": one.state, "detail": one.detail}
                for one in self.result.items
            ],
        }


def table_of(checked: Checked) -> Table | None:
    """The items as a table; None if the folder could not be checked."""
    if isinstance(checked.result, InputError):
        return None
    rows = [(MARKS[one.state], one.name, one.state, one.detail) for one in checked.result.items]
    return text_table(checked.folder, ("", "what", "", "values"), rows)


def markdown_text(results: Sequence[Checked]) -> str:
    """Markdown, with all text of a submission in code spans, where markup has no effect."""
    parts = []
    for one in results:
        parts += [f"### {_code(one.folder)}", ""]
        if isinstance(one.result, InputError):
            parts += [f"✗ bad input: {_code(one.result)}", ""]
            continue
        lines = [
            f"| {MARKS[item.state]} | {item.name} | {item.state} | {_code(item.detail)} |"
            for item in one.result.items
        ]
        parts += ["| | what | | values |", "|---|---|---|---|", *lines, "", one.verdict, ""]
    return "\n".join(parts)


def _code(text: object) -> str:
    """A code span on one line, safe in a table cell."""
    plain = " ".join(shown(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else ""
