"""A table of values, and its three forms: in the page, as text for a paper, as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from noctule.metrics import Estimate
from noctule.report.run_page.words import cells, keys
from noctule.report.text_tables import (
    UNDEFINED,
    TextTable,
    csv_text,
    latex_table,
    markdown_table,
)
from noctule.report.web.page import Column, Row, Table
from noctule.report.web.text import shown

Value = str | float | Estimate | None


class Field(NamedTuple):
    """A column of values.

    Attributes:
        name: with the unit.
        digits: behind the point; None is a column of text.
        scale: what numbers are multiplied by.
        interval: name of the interval's column, for a column of estimates.
        note: what the name means, where it does not say so itself.
    """

    name: str
    digits: int | None = None
    scale: float = 1.0
    interval: str | None = None
    note: str = ""

    def columns(self) -> list[Column]:
        """One, or two with the interval."""
        columns = [Column(self.name, self.digits is not None, self.note)]
        if self.interval is not None:
            columns.append(Column(self.interval, numeric=True))
        return columns

    def texts(self, value: Value) -> tuple[str, ...]:
        """What the cells say."""
        if isinstance(value, Estimate):
            pair = cells(value, self.scale, self.digits or 0)
            return pair if self.interval is not None else pair[:1]
        if value is None or isinstance(value, str):
            return (UNDEFINED if value is None else value,)
        return (f"{self.scale * value:,.{self.digits or 0}f}".replace("-", "−"),)

    def keys(self, value: Value) -> tuple[str | float | None, ...]:
        """What the cells are sorted by."""
        if isinstance(value, Estimate):
            return keys(value, self.scale)[: 1 if self.interval is None else 2]
        return (value if value is None or isinstance(value, str) else self.scale * value,)

    def record(self, value: Value) -> dict[str, Any]:
        """At full precision, with the bounds of an interval."""
        if not isinstance(value, Estimate):
            number = value is None or isinstance(value, str)
            return {self.name: value if number else self.scale * float(value)}  # type: ignore[arg-type]
        scaled = (
            None if one is None else self.scale * one
            for one in (value.value, value.low, value.high)
        )
        names = (self.name, f"{self.name} low", f"{self.name} high")
        record: dict[str, Any] = dict(zip(names, scaled, strict=True))
        return record if self.interval is not None else {self.name: record[self.name]}


@dataclass(frozen=True)
class Sheet:
    """A table of values.

    Attributes:
        name: its id in the page and its file's name.
        caption: what it holds.
        fields: the first one names the row.
        rows: a value per field.
        links: where the rows' names lead to, or None.
        searchable: whether there is a field to search for text.
    """

    name: str
    caption: str
    fields: Sequence[Field]
    rows: Sequence[Sequence[Value]]
    links: Sequence[str | None] | None = None
    searchable: bool = False

    def table(self) -> Table:
        """For the page."""
        links = self.links or [None] * len(self.rows)
        rows = [
            Row(
                [text for field, value in self._pairs(row) for text in field.texts(value)],
                [key for field, value in self._pairs(row) for key in field.keys(value)],
                link,
            )
            for row, link in zip(self.rows, links, strict=True)
        ]
        return Table(self.name, self.caption, self._columns(), rows, searchable=self.searchable)

    def files(self) -> dict[str, str]:
        """Markdown, LaTeX and CSV by the ending of the name; CSV is at full precision."""
        header = tuple(column.name for column in self._columns())
        rows = tuple(
            tuple(
                shown(text) for field, value in self._pairs(row) for text in field.texts(value)
            )
            for row in self.rows
        )
        text = TextTable(self.caption, header, rows, (), summary_rows=0)
        records = [
            {key: item for field, value in self._pairs(row)
             for key, item in field.record(value).items()}
            for row in self.rows
        ]  # fmt: skip
        return {
            "md": markdown_table(text),
            "tex": latex_table(text),
            "csv": csv_text(records) if records else ",".join(header) + "\n",
        }

    def _columns(self) -> list[Column]:
        return [column for field in self.fields for column in field.columns()]

    def _pairs(self, row: Sequence[Value]) -> list[tuple[Field, Value]]:
        return list(zip(self.fields, row, strict=True))
