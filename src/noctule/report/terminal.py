"""Tables and texts in a terminal, a pipe or a log; nothing is cut off.

In a terminal, lines break between words, and a table that does not fit is shown row by row.
Elsewhere the reader's width is not known, and lines are not broken.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.cells import cell_len

from noctule.errors import shown
from noctule.report.formatting import one_line
from noctule.report.table import Table

GAP = "  "
# Text columns are not made narrower than this, or than their longest word.
_LEAST_WIDTH = 16

Part = Table | str


def columns_of(stream: TextIO) -> int | None:
    """Width of the terminal that a stream writes to; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def terminal_text(parts: Sequence[Part], columns: int | None) -> str:
    """Texts and tables as lines, with an empty line before and after each table.

    >>> from noctule.report.table import Column, Row
    >>> columns = [Column("name"), Column("error %", digits=1)]
    >>> table = Table("", columns, [Row(["shear", 8.5]), Row(["fog", 12])])
    >>> print(terminal_text([table], None))
    name   error %
    -----  -------
    shear      8.5
    fog       12.0
    >>> print(terminal_text([table], 12))
    shear
      error %: 8.5
    fog
      error %: 12.0
    >>> print(terminal_text(["No word is cut."], 9))
    No word
    is cut.
    """
    lines: list[str] = []
    after_table = False
    for part in parts:
        is_table = isinstance(part, Table)
        if lines and lines[-1] and (is_table or after_table):
            lines.append("")
        after_table = is_table
        lines += _block(part, columns) if isinstance(part, Table) else _text(part, columns)
    return "\n".join(lines)


def _block(table: Table, columns: int | None) -> list[str]:
    above, below = (table.title, *table.lines), table.notes
    sections = (
        [line for text in above if text for line in _line(text, columns)],
        _table(table, columns),
        [line for text in below for line in _line(text, columns)],
    )
    lines: list[str] = []
    for section in filter(None, sections):
        lines += ["", *section] if lines else section
    return lines


def _line(text: str, columns: int | None) -> list[str]:
    """Like `_text`, but a line break in a name cannot forge a line of scores."""
    return _text(" ".join(text.splitlines()), columns)


def _text(text: str, columns: int | None) -> list[str]:
    """One paragraph; wrapped lines keep its indentation."""
    text = shown(text).rstrip()
    indent = text[: len(text) - len(text.lstrip())]
    return _wrapped(text, columns, indent) or [""]


def _wrapped(text: str, columns: int | None, indent: str = "") -> list[str]:
    if columns is None or cell_len(text) <= columns:
        return [text]
    return textwrap.wrap(
        text,
        max(1, columns),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(table: Table, columns: int | None) -> list[str]:
    cells = [[one_line(cell) for cell in row] for row in (table.header, *table.texts)]
    if not table.rows:
        return []
    numeric = [heading.is_numeric for heading in table.headings]
    widths = _widths(cells, numeric, columns)
    if widths is None:
        return list(_stacked(cells, columns))
    header, *rows = cells
    lines: list[str] = []
    if any(header):
        lines += _row(header, widths, numeric)
        lines.append(GAP.join("-" * width for width in widths))
    for row in rows:
        lines += _row(row, widths, numeric)
    return lines


def _widths(
    cells: Sequence[Sequence[str]], numeric: Sequence[bool], columns: int | None
) -> list[int] | None:
    """Width of each column; None if the table does not fit."""
    by_column = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in by_column]
    if columns is None:
        return widths
    least = [
        width if fixed else min(width, max(_LEAST_WIDTH, *map(_longest_word, column)))
        for width, column, fixed in zip(widths, by_column, numeric, strict=True)
    ]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - columns
    for _ in range(excess):
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        if max(spare) == 0:
            return None
        # Narrow the widest column that can still shrink.
        widths[max(range(len(widths)), key=lambda i: (spare[i] > 0, widths[i]))] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _row(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> Iterator[str]:
    wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in range(max(map(len, wrapped))):
        padded = []
        for lines, width, is_number in zip(wrapped, widths, numeric, strict=True):
            text = lines[line] if line < len(lines) else ""
            blank = " " * (width - cell_len(text))
            padded.append(blank + text if is_number else text + blank)
        yield GAP.join(padded).rstrip()


def _stacked(cells: Sequence[Sequence[str]], columns: int | None) -> Iterator[str]:
    """The first cell of each row, and below it the others with the names of their columns."""
    (_, *names), *rows = cells
    for first, *others in rows:
        yield from _wrapped(first, columns)
        for name, cell in zip(names, others, strict=True):
            if cell:
                text = f"{GAP}{name}: {cell}" if name else f"{GAP}{cell}"
                yield from _wrapped(text, columns, GAP * 2)
