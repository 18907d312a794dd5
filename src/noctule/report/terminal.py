"""What people read in a terminal, a pipe or a log; nothing of it is cut off.

At a terminal lines are broken between words; elsewhere, where the reader's width is not known,
they are not broken at all. A table that does not fit is shown row by row.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.cells import cell_len

from noctule.errors import shown
from noctule.report.text_tables import TextTable

GAP = "  "
# Text columns are not made narrower than this, or than their longest word.
_LEAST_WIDTH = 16

Part = TextTable | str


def columns_of(stream: TextIO) -> int | None:
    """Width of the terminal that a stream writes to; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def terminal_text(parts: Sequence[Part], columns: int | None) -> str:
    """Texts and tables as lines, with an empty line around each table.

    >>> table = TextTable("", ("name", "error %"), (("shear", "8.5"), ("fog", "12.0")), ())
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
        is_table = isinstance(part, TextTable)
        if lines and lines[-1] and (is_table or after_table):
            lines.append("")
        after_table = is_table
        lines += _block(part, columns) if isinstance(part, TextTable) else _text(part, columns)
    return "\n".join(lines)


def _block(table: TextTable, columns: int | None) -> list[str]:
    sections = (
        [line for one in (table.title, *table.lines) if one for line in _line(one, columns)],
        _table(table, columns),
        [line for one in table.notes for line in _line(one, columns)],
    )
    lines: list[str] = []
    for section in filter(None, sections):
        lines += ["", *section] if lines else section
    return lines


def _line(text: str, columns: int | None) -> list[str]:
    """As `_text`, where no name may begin a line of its own, as if it were a score."""
    return _text(" ".join(text.splitlines()), columns)


def _text(text: str, columns: int | None) -> list[str]:
    """One paragraph; what it is indented by, its further lines are too."""
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


def _table(table: TextTable, columns: int | None) -> list[str]:
    cells = [[_cell(cell) for cell in row] for row in (table.header, *table.rows)]
    if not table.rows:
        return []
    widths = _widths(cells, table.numbers, columns)
    if widths is None:
        return list(_stacked(cells, columns))
    header, *rows = cells
    lines: list[str] = []
    if any(header):
        lines += _row(header, widths, table.numbers)
        lines.append(GAP.join("-" * width for width in widths))
    for row in rows:
        lines += _row(row, widths, table.numbers)
    return lines


def _cell(text: str) -> str:
    return " ".join(shown(text).split())


def _widths(
    cells: Sequence[Sequence[str]], numbers: bool, columns: int | None
) -> list[int] | None:
    """Width of each column; None if the table does not fit."""
    by_column = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in by_column]
    if columns is None:
        return widths
    least = [
        width if numbers else min(width, max(_LEAST_WIDTH, *map(_longest_word, column)))
        for width, column in zip(widths, by_column, strict=True)
    ]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - columns
    for _ in range(excess):
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        if max(spare) == 0:
            return None
        # The widest of those that can give.
        widths[max(range(len(widths)), key=lambda i: (spare[i] > 0, widths[i]))] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _row(row: Sequence[str], widths: Sequence[int], numbers: bool) -> Iterator[str]:
    wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in range(max(map(len, wrapped))):
        texts = [one[line] if line < len(one) else "" for one in wrapped]
        padded = []
        for number, (text, width) in enumerate(zip(texts, widths, strict=True)):
            blank = " " * (width - cell_len(text))
            padded.append(blank + text if numbers and number else text + blank)
        yield GAP.join(padded).rstrip()


def _stacked(cells: Sequence[Sequence[str]], columns: int | None) -> Iterator[str]:
    """The first cell of each row, and under it each other one with the name of its column."""
    (_, *names), *rows = cells
    for first, *others in rows:
        yield from _wrapped(first, columns)
        for name, cell in zip(names, others, strict=True):
            if cell:
                text = f"{GAP}{name}: {cell}" if name else f"{GAP}{cell}"
                yield from _wrapped(text, columns, GAP * 2)
