"""Tables of text: for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noctule.metrics import Estimate
from noctule.report.web.text import shown

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

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
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    summary_rows: int = 1


def interval_cells(estimate: Estimate, scale: float, digits: int) -> tuple[str, str]:
    """A number, multiplied by `scale`, and its interval; what is not defined is a dash."""
    if estimate.value is None:
        return UNDEFINED, ""
    value = f"{scale * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value, UNDEFINED
    low, high = (f"{scale * bound:.{digits}f}" for bound in (estimate.low, estimate.high))
    return value, f"{low} to {high}"


def text_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> RenderableType:
    """A plain table for the terminal; markup in its cells is shown and not obeyed.

    Without a single name in the header none is shown.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_header=any(header))
    for number, name in enumerate(header):
        table.add_column(Text(name), no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    # As the table's own, the title would be broken to its width.
    return Group(Text(shown(title)), table)


def rich_table(table: TextTable) -> Table:
    """For the terminal, which must not obey what is in a name."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    result = Table(
        title=escape(shown(table.title)),
        box=SIMPLE_HEAD,
        caption=escape(shown("\n".join(table.notes))),
        caption_justify="left",
        title_justify="left",
    )
    names = [row[0] for row in table.rows[: len(table.rows) - table.summary_rows]]
    for number, name in enumerate(table.header):
        # Where there is little room, the summary's long name is what gets broken.
        least = max(map(len, names), default=0) if number == 0 else None
        result.add_column(name, justify="left" if number == 0 else "right", min_width=least)
    for number, row in enumerate(table.rows):
        edge = row[0] == "clean" or number == len(table.rows) - 1 - table.summary_rows
        result.add_row(*(escape(shown(cell)) for cell in row), end_section=edge)
    return result


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Records of the same keys as CSV; None is an empty cell.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _no_formula(value) for key, value in record.items()})
    return buffer.getvalue()


def _no_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def escape_markdown(text: str) -> str:
    r"""Text on one line that Markdown shows as it is, HTML included.

    >>> print(escape_markdown("<b>a|b [c](d)"))
    \<b\>a\|b \[c\](d)
    """
    return " ".join(shown(text).split()).translate(_MARKDOWN_MARKS)


def markdown_table(table: TextTable) -> str:
    """As Markdown, with its title above and its notes below."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(escape_markdown, cells)) + " |"

    rule = ["---", *["---:"] * (len(table.header) - 1)]
    body = [line(table.header), line(rule), *map(line, table.rows)]
    title, notes = escape_markdown(table.title), map(escape_markdown, table.notes)
    return "\n".join([f"**{title}**", "", *body, "", *notes, ""])


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "·": r"$\cdot$",
    # Other signs than these in the OT1 encoding, and options of a `\\` before them.
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
}  # fmt: skip


def latex_table(table: TextTable) -> str:
    """As a LaTeX table for the package booktabs; title and notes are the caption."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    lines = [line(row) for row in table.rows]
    split = len(lines) - table.summary_rows
    rule = [r"\midrule"] if 0 < split < len(lines) else []
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_latex(table.title)}. {escape_latex(' '.join(table.notes))}}}",
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
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
