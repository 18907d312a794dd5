"""Tables of text: for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noctule.metrics import Estimate
from noctule.report.web.text import shown

UNDEFINED = "–"
_MARKDOWN_MARKS = str.maketrans({mark: f"\\{mark}" for mark in r"\`*_{}[]<>#|~$&"})
Row = tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """A table of text, with what has to be said under it.

    Attributes:
        title: what it is of.
        header: column names, with units.
        rows: text cells, a row per corruption; the summary comes last.
        notes: what has to be said, a sentence or more each.
        summary_rows: how many of the last rows are the summary.
        lines: The result in sentences, above the table.
        numbers: Whether the columns after the first hold numbers, which are aligned right.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    summary_rows: int = 1
    lines: tuple[str, ...] = ()
    numbers: bool = True


def interval_cells(estimate: Estimate, scale: float, digits: int) -> tuple[str, str]:
    """A number, multiplied by `scale`, and its interval; what is not defined is a dash."""
    if estimate.value is None:
        return UNDEFINED, ""
    value = f"{scale * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value, UNDEFINED
    low, high = (f"{scale * bound:.{digits}f}" for bound in (estimate.low, estimate.high))
    return value, f"{low} to {high}"


def text_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> TextTable:
    """A table of text without notes; without a single name in the header none is shown."""
    cells = tuple(tuple(row) for row in rows)
    return TextTable(title, tuple(header), cells, (), numbers=False)


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Records of the same keys as CSV; None is an empty cell.

    Text that a spreadsheet would take for a formula gets an apostrophe in front; control
    characters are replaced.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _no_formula(value) for key, value in record.items()})
    return buffer.getvalue()


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return shown(f"'{value}" if is_formula else value)


def escape_markdown(text: str) -> str:
    r"""Text on one line that Markdown shows as it is, HTML included.

    >>> print(escape_markdown("<b>a|b [c](d)"))
    \<b\>a\|b \[c\](d)
    """
    return " ".join(shown(text).split()).translate(_MARKDOWN_MARKS)


def markdown_table(table: TextTable) -> str:
    """As Markdown, with its title and lines above and its notes below."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(escape_markdown, cells)) + " |"

    rule = ["---", *["---:"] * (len(table.header) - 1)]
    body = [line(table.header), line(rule), *map(line, table.rows)]
    lines = [text for one in table.lines for text in (escape_markdown(one), "")]
    title, notes = escape_markdown(table.title), map(escape_markdown, table.notes)
    return "\n".join([f"**{title}**", "", *lines, *body, "", *notes, ""])


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "·": r"$\cdot$",
    # Other signs than these in the OT1 encoding, and options of a `\\` before them.
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
}  # fmt: skip


def latex_table(table: TextTable) -> str:
    """As a LaTeX table for the package booktabs; title, lines and notes are the caption."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    lines = [line(row) for row in table.rows]
    split = len(lines) - table.summary_rows
    rule = [r"\midrule"] if 0 < split < len(lines) else []
    said = (table.title, *table.lines, *table.notes)
    caption = " ".join(text if text.endswith(".") else f"{text}." for text in said)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            line(table.header),
            r"\midrule",
            *lines[:split],
            *rule,
            *lines[split:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is, on one line.

    >>> escape_latex("salt_pepper: 5 %")
    'salt\\_pepper: 5 \\%'
    """
    plain = " ".join(shown(text).split())
    return "".join(_LATEX.get(character, character) for character in plain)
