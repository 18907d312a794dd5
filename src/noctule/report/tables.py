"""Scores as a table: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noctule.errors import unknown_name
from noctule.formulas import FORMULAS
from noctule.metrics import Estimate, Scores

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FORMATS = ("table", "csv", "json", "markdown", "latex")
UNDEFINED = "–"
Row = tuple[str, ...]


@dataclass(frozen=True)
class ScoreTable:
    """A table of text, with what has to be said under it.

    Attributes:
        title: what was run on what.
        header: column names, with units.
        rows: text cells, a row per corruption; the summary comes last.
        notes: the reference, the formula, and why something is undefined.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def render(scores: Scores, format: str, *, title: str) -> str:
    """Scores in one of `FORMATS`; CSV and JSON carry every number at full precision.

    Raises:
        InputError: unknown format.
    """
    match format:
        case "json":
            return json.dumps({"title": title, **scores.to_dict()}, indent=2) + "\n"
        case "csv":
            return _csv(scores)
        case "markdown":
            return _markdown(score_table(scores, title))
        case "latex":
            return _latex(score_table(scores, title))
    raise unknown_name("format", format, FORMATS)


def score_table(scores: Scores, title: str) -> ScoreTable:
    """The table people read: error, CE and relative CE by corruption, and their means.

    Of the two ratios, the one that the benchmark's authors report comes first, with intervals;
    without a reference there are none.
    """
    interval = f"{100 * scores.confidence:g} % interval"
    header: tuple[str, ...] = ("corruption", "error %", interval)
    summary, relative_first = "mean error", scores.metric == "relative_ce"
    if scores.reference is not None:
        names = ("relative CE", "CE") if relative_first else ("CE", "relative CE")
        header = (*header, names[0], interval, names[1])
        means = ("relative mCE", "mCE") if relative_first else ("mCE", "relative mCE")
        summary = ", ".join((summary, *means))

    def row(name: str, error: Estimate, ratios: Sequence[Estimate], digits: int) -> Row:
        cells = (name, *_cells(error, 100, 1))
        if scores.reference is None:
            return cells
        first, second = reversed(ratios) if relative_first else ratios
        return (*cells, *_cells(first, 1, digits), _cells(second, 1, digits)[0])

    rows = [
        row(one.corruption, one.error, (one.ce, one.relative_ce), 0)
        for one in scores.corruptions
    ]
    rows.append(row(summary, scores.mean_error, (scores.mce, scores.relative_mce), 1))
    if scores.clean is not None:
        clean = ("clean", *_cells(scores.clean.error, 100, 1))
        rows.insert(0, clean + ("",) * (len(header) - len(clean)))
    return ScoreTable(title, header, tuple(rows), tuple(_notes(scores)))


def _cells(estimate: Estimate, scale: float, digits: int) -> tuple[str, str]:
    if estimate.value is None:
        return UNDEFINED, ""
    value = f"{scale * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value, UNDEFINED
    low, high = (f"{scale * bound:.{digits}f}" for bound in (estimate.low, estimate.high))
    return value, f"{low} to {high}"


def _notes(scores: Scores) -> list[str]:
    notes = [f"{scores.num_images:,} images; the clean ones were not evaluated."]
    if (clean := scores.clean) is not None:
        notes = [
            f"{scores.num_images:,} images; on clean ones the top-5 error is "
            f"{_percent(clean.top5_error)} and the calibration error {_percent(clean.ece)}."
        ]
    notes.append(f"{_sentence(FORMULAS['mean_error'])}")
    if scores.reference is None:
        return [*notes, f"No CE: {scores.no_reference_reason}."]
    notes += [_sentence(FORMULAS["ce"]), _sentence(FORMULAS["relative_ce"])]
    if scores.metric == "relative_ce":
        notes.append("The relative mCE is what ImageNet-NOC publishes as mCE.")
    notes.append(f"Relative to {scores.reference}.")
    for what in ("CE", "relative CE"):
        reasons: dict[str, list[str]] = {}
        for one in scores.corruptions:
            estimate = one.ce if what == "CE" else one.relative_ce
            if estimate.reason:
                reasons.setdefault(estimate.reason, []).append(one.corruption)
        notes += [f"{what} of {', '.join(which)}: {why}." for why, which in reasons.items()]
    return notes


def _sentence(formula: str) -> str:
    return f"{formula[0].upper()}{formula[1:]}."


def _percent(estimate: Estimate) -> str:
    return UNDEFINED if estimate.value is None else f"{100 * estimate.value:.1f} %"


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
        table.add_row(*map(Text, row))
    # As the table's own, the title would be broken to its width.
    return Group(Text(title), table)


def rich_table(table: ScoreTable) -> Table:
    """For the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    result = Table(
        title=escape(table.title),
        box=SIMPLE_HEAD,
        caption=escape("\n".join(table.notes)),
        caption_justify="left",
        title_justify="left",
    )
    names = [row[0] for row in table.rows[:-1]]
    for number, name in enumerate(table.header):
        # Where there is little room, the summary's long name is what gets broken.
        least = max(map(len, names), default=0) if number == 0 else None
        result.add_column(name, justify="left" if number == 0 else "right", min_width=least)
    for number, row in enumerate(table.rows):
        edge = row[0] == "clean" or number == len(table.rows) - 2
        result.add_row(*map(escape, row), end_section=edge)
    return result


def _csv(scores: Scores) -> str:
    records = scores.to_records()
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def _markdown(table: ScoreTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---", *["---:"] * (len(table.header) - 1)]
    body = [line(table.header), line(rule), *map(line, table.rows)]
    return "\n".join([f"**{table.title}**", "", *body, "", *table.notes, ""])


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "·": r"$\cdot$",
    # Other signs than these in the OT1 encoding, and options of a `\\` before them.
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
}  # fmt: skip


def _latex(table: ScoreTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    *body, last = map(line, table.rows)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_latex(table.title)}. {escape_latex(' '.join(table.notes))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            line(table.header),
            r"\midrule",
            *body,
            r"\midrule",
            last,
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
