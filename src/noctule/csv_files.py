"""CSV text that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from noctule.errors import shown

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guard_formula(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    >>> guard_formula("=HYPERLINK(1)"), guard_formula("a"), guard_formula(-1.5)
    ("'=HYPERLINK(1)", 'a', -1.5)
    """
    is_formula = isinstance(value, str) and value.lstrip("'").startswith(_FORMULA_STARTS)
    return f"'{value}" if is_formula else value


def unguard_formula(text: str) -> str:
    """The text that `guard_formula` was given.

    >>> [unguard_formula(guard_formula(text)) for text in ("=1", "'=1", "'a")]
    ['=1', "'=1", "'a"]
    """
    return text[1:] if text[:1] == "'" and guard_formula(text[1:]) == text else text


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, every text guarded; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([guard_formula(value) for value in row] for row in rows)
    return buffer.getvalue()


def csv_text(records: Sequence[Mapping[str, Any]], fields: Sequence[str] = ()) -> str:
    """Records of the same keys as CSV, guarded and without control characters.

    Args:
        records: One for each line.
        fields: Names of the columns; those of the first record by default.
    """
    names = list(fields or records[0])
    rows = [[one[name] for name in names] for one in records]
    return csv_lines(
        [shown(value) if isinstance(value, str) else value for value in row]
        for row in [names, *rows]
    )
