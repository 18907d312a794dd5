"""One type of table, and its forms for papers and programs: Markdown, LaTeX and CSV.

The terminal's form is in `report.terminal`, a page's in `report.page`. All of them show the
texts of `Table.texts`, so that a table reads the same everywhere; only CSV has full precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from noctule.csv_files import csv_text
from noctule.errors import unknown_name
from noctule.metrics.estimates import Estimate
from noctule.report.formatting import UNDEFINED, estimate_texts, number, one_line

_MARKDOWN_MARKS = str.maketrans({mark: f"\\{mark}" for mark in r"\`*_{}[]<>#|~$&"})
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "·": r"$\cdot$",
    # Other signs than these in the OT1 encoding, and options of a `\\` before them.
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
}  # fmt: skip


class Cell(NamedTuple):
    """A cell that differs from its column.

    Attributes:
        value: What rows are sorted by, and what CSV holds.
        text: What is shown in place of the formatted value.
        digits: Number of decimal places in place of the column's.
        bold: Whether it stands out.
    """

    value: str | float | Estimate | None
    text: str | None = None
    digits: int | None = None
    bold: bool = False


Value = str | float | Estimate | Cell | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: ColumnHeading, with the unit.
        digits: Number of decimal places; None for a column of text.
        scale: Factor from the values to what is shown.
        interval: ColumnHeading of a further column with the intervals of its estimates.
        note: What the heading means, where it does not say so itself.
        signed: Whether positive numbers have a sign.
    """

    name: str
    digits: int | None = None
    scale: float = 1.0
    interval: str | None = None
    note: str = ""
    signed: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether its cells are set to the right and sorted as numbers."""
        return self.digits is not None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        values: One for each column.
        link: Address that the first cell of a page's table leads to.
        facets: Values by which a page's table is filtered, by the filter's name.
    """

    values: Sequence[Value]
    link: str | None = None
    facets: Mapping[str, str] | None = None


class Formula(str):
    """A note that has its own form in LaTeX."""

    latex: str

    def __new__(cls, text: str, latex: str) -> Formula:
        """A note that reads `text` everywhere but in LaTeX."""
        note = super().__new__(cls, text)
        note.latex = latex
        return note


class ColumnHeading(NamedTuple):
    """ColumnHeading of a column as it is shown, that of an interval included."""

    name: str
    is_numeric: bool
    note: str = ""


class CellText(NamedTuple):
    """A cell as it is shown, and what it is sorted by."""

    text: str
    key: str | float | None
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table of values, with its notes.

    Attributes:
        title: What it holds.
        columns: The first one names the row.
        rows: One for each thing, in the order in which they are shown.
        notes: Sentences below the table.
        lines: The result in sentences, above the table.
        summary_rows: How many of the last rows are a summary of the others.
        name: Name of its files, and its id in a page: letters, digits and hyphens.
        sortable, searchable: Whether a page lets readers sort by a heading, search for text.
        filters: Names of the facets that a page lets readers choose by.
        turned: Whether LaTeX turns the headings after the second, to save width.
        data: Records that CSV holds in place of the rows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    lines: Sequence[str] = ()
    summary_rows: int = 0
    name: str = ""
    sortable: bool = True
    searchable: bool = False
    filters: Sequence[str] = ()
    turned: bool = False
    data: Sequence[Mapping[str, Any]] = ()
    kind = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"{len(row.values)} values for {len(self.columns)} columns")

    @cached_property
    def headings(self) -> tuple[ColumnHeading, ...]:
        """Headings of all columns, those of the intervals included."""
        headings = []
        for column in self.columns:
            headings.append(ColumnHeading(column.name, column.is_numeric, column.note))
            if column.interval is not None:
                headings.append(ColumnHeading(column.interval, True))
        return tuple(headings)

    @cached_property
    def cells(self) -> tuple[tuple[CellText, ...], ...]:
        """Rows of cells, one for each of `headings`."""
        return tuple(
            tuple(
                text
                for column, value in zip(self.columns, row.values, strict=True)
                for text in _texts(column, value)
            )
            for row in self.rows
        )

    @property
    def header(self) -> tuple[str, ...]:
        """Texts of the headings."""
        return tuple(heading.name for heading in self.headings)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Texts of the cells."""
        return tuple(tuple(cell.text for cell in row) for row in self.cells)

    def choices(self, facet: str) -> list[str]:
        """The values of a facet, sorted."""
        return sorted({(row.facets or {}).get(facet, "") for row in self.rows} - {""})

    def records(self) -> list[dict[str, Any]]:
        """The rows at full precision, scaled as they are shown, or the table's `data`."""
        return [dict(record) for record in self.data] or [
            {
                key: item
                for column, value in zip(self.columns, row.values, strict=True)
                for key, item in _record(column, value).items()
            }
            for row in self.rows
        ]


def text_table(
    title: str, header: Sequence[str | Column], rows: Iterable[Sequence[Value]]
) -> Table:
    """A table of text; without a single name in the header none is shown."""
    columns = [one if isinstance(one, Column) else Column(one) for one in header]
    return Table(title, columns, [Row(tuple(row)) for row in rows], sortable=False)


def _texts(column: Column, cell: Value) -> list[CellText]:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    value, digits = cell.value, column.digits if cell.digits is None else cell.digits
    scale = column.scale
    if isinstance(value, Estimate):
        texts = estimate_texts(value, digits or 0, scale=scale, signed=column.signed)
        keys: tuple[str | float | None, str | float | None] = (value.value, value.low)
    elif value is None or isinstance(value, str):
        texts = (UNDEFINED if value is None else value, "")
        keys = (value, None)
    else:
        texts = (number(value, digits or 0, scale=scale, signed=column.signed), "")
        keys = (value, None)
    first = CellText(texts[0] if cell.text is None else cell.text, keys[0], cell.bold)
    return [first] if column.interval is None else [first, CellText(texts[1], keys[1])]


def _record(column: Column, cell: Value) -> dict[str, Any]:
    value = cell.value if isinstance(cell, Cell) else cell
    name, scale = column.name, column.scale
    if value is None or isinstance(value, str):
        record: dict[str, Any] = {name: value}
    elif not isinstance(value, Estimate):
        record = {name: scale * float(value)}
    else:
        ends = (value.value, value.low, value.high)
        names = (name, f"{name} low", f"{name} high")
        scaled = (None if one is None else scale * one for one in ends)
        record = dict(zip(names, scaled, strict=True))
    if column.interval is None:
        return {name: record[name]}
    return {name: None, f"{name} low": None, f"{name} high": None, **record}


def table_csv(table: Table) -> str:
    """A table as CSV, at full precision."""
    records = table.records()
    return csv_text(records, () if records else table.header)


def escape_markdown(text: str) -> str:
    r"""Text on one line that Markdown shows as it is, HTML included.

    >>> print(escape_markdown("<b>a|b [c](d)"))
    \<b\>a\|b \[c\](d)
    """
    return one_line(text).translate(_MARKDOWN_MARKS)


def markdown(table: Table) -> str:
    """A table as Markdown, with its title and lines above and its notes below."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(one: CellText) -> str:
        text = escape_markdown(one.text)
        return f"**{text}**" if one.bold else text

    first, *others = table.headings
    rule = ["---" if not first.is_numeric else "---:"]
    rule += ["---:" if one.is_numeric else "---" for one in others]
    body = [line(map(escape_markdown, table.header)), line(rule)]
    body += [line(map(cell, row)) for row in table.cells]
    lines = [text for one in table.lines for text in (escape_markdown(one), "")]
    notes = [escape_markdown(note) for note in table.notes]
    return "\n".join([f"**{escape_markdown(table.title)}**", "", *lines, *body, "", *notes, ""])


def latex(table: Table) -> str:
    """A table for the LaTeX package booktabs; title, lines and notes are the caption."""

    def line(cells: Iterable[str]) -> str:
        return " & ".join(cells) + r" \\"

    def cell(one: CellText) -> str:
        text = escape_latex(one.text)
        return rf"\textbf{{{text}}}" if one.bold else text

    names = list(map(escape_latex, table.header))
    if table.turned:
        names[2:] = [rf"\rotatebox{{90}}{{{name}}}" for name in names[2:]]
    lines = [line(map(cell, row)) for row in table.cells]
    split = len(lines) - table.summary_rows
    rule = [r"\midrule"] if 0 < split < len(lines) else []
    alignment = "".join("r" if one.is_numeric else "l" for one in table.headings)
    return "\n".join(
        [
            *([r"% Needs \usepackage{graphicx}."] if table.turned else []),
            r"\begin{table}",
            rf"\caption{{{_caption(table)}}}",
            *([r"\scriptsize\setlength{\tabcolsep}{2pt}"] if table.turned else []),
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            line(names),
            r"\midrule",
            *lines[:split],
            *rule,
            *lines[split:],
            "\\bottomrule\n\\end{tabular}\n\\end{table}\n",
        ]
    )


def _caption(table: Table) -> str:
    parts = []
    for one in (table.title, *table.lines, *table.notes):
        text = one.latex if isinstance(one, Formula) else escape_latex(one)
        parts.append(text if text.endswith(".") else f"{text}.")
    return " ".join(parts)


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is, on one line.

    >>> escape_latex("salt_pepper: 5 %")
    'salt\\_pepper: 5 \\%'
    """
    return "".join(_LATEX.get(character, character) for character in one_line(text))


FORMATS = ("table", "csv", "markdown", "latex")
FILE_FORMS = {"md": markdown, "tex": latex, "csv": table_csv}


def render_table(table: Table, format: str) -> str:
    """A table in one of `FORMATS` other than "table", which `report.terminal` renders.

    Args:
        table: The table; its CSV has full precision.
        format: Name of the format.

    Raises:
        InputError: Unknown format.
    """
    match format:
        case "csv":
            return table_csv(table)
        case "markdown":
            return markdown(table)
        case "latex":
            return latex(table)
    raise unknown_name("format", format, FORMATS)


def table_files(tables: Iterable[Table]) -> dict[str, str]:
    """Tables as Markdown, LaTeX and CSV, by file name."""
    return {
        f"{table.name}.{ending}": form(table)
        for table in tables
        for ending, form in FILE_FORMS.items()
    }
