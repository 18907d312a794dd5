"""What results show in notebooks and terminals; `noctule.display` calls `view`."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from noctule.benchmarks import CLEAN
from noctule.comparison import Comparison
from noctule.errors import listed
from noctule.extras import require
from noctule.metrics import Estimate, Scores
from noctule.report.comparison import comparison_table, mean_sentence
from noctule.report.formatting import counted, interval_name, number, one_line, sentence
from noctule.report.pairs import pair_interval, pairs_of
from noctule.report.scores import headlines, score_table
from noctule.report.table import Cell, Column, Table, text_table
from noctule.report.terminal import terminal_text
from noctule.studies.design import ChosenSet, FamilyDesign
from noctule.studies.matrix import OverlapMatrix

if TYPE_CHECKING:
    from noctule.report.charts import Figure

Records = Sequence[Mapping[str, Any]]
_PAIRS_SHOWN = 10
_TEXTS = frozenset({"reason", "covered_by", "unit"})


@dataclass(frozen=True)
class View:
    """What a result shows.

    Attributes:
        facts: The result in a sentence, as its `repr` has it.
        table: The result as a table.
        records: The result as flat data; what is not defined is None.
        figure: Draws its chart.
    """

    facts: str
    table: Table
    records: Records
    figure: Callable[[], Figure]

    @property
    def line(self) -> str:
        """The facts on one line, without control characters."""
        return one_line(self.facts)

    def __str__(self) -> str:
        """The table, as the command line prints it where lines are not broken."""
        return terminal_text([self.table], None)

    def html(self) -> str:
        """The chart and the table, for notebooks.

        Raises:
            MissingExtraError: The extra `report` is not installed.
        """
        require("report")
        from noctule.report.template import render_template

        figure, scale = self.figure(), 2
        png = figure.notebook_png(scale)
        return render_template(
            "display.html",
            title=self.table.title,
            table=replace(self.table, sortable=False, searchable=False, filters=()),
            figure=figure,
            image=f"data:image/png;base64,{base64.b64encode(png).decode()}",
            width_px=int.from_bytes(png[16:20]) // scale,
        )

    def arrow(self) -> pa.Table:
        """The records as a table; a column without any value is of numbers, or of texts."""
        table = pa.Table.from_pylist([dict(record) for record in self.records])
        for index, field in enumerate(table.schema):
            if pa.types.is_null(field.type):
                kind = pa.string() if field.name in _TEXTS else pa.float64()
                table = table.set_column(index, field.name, table[index].cast(kind))
        return table


@functools.singledispatch
def view(result: object) -> View:
    """What a result shows.

    Raises:
        TypeError: It is of an unknown type.
    """
    raise TypeError(f"{type(result).__name__} has no view")


@view.register
def _(result: Scores) -> View:
    title = f"{result.benchmark}, {counted(result.num_images, 'image')}"
    table = score_table(result, title)
    facts = f"{title}; {'; '.join(headlines(result))}"
    return View(facts, table, result.to_records(), lambda: scores_figure(result))


@view.register
def _(result: Comparison) -> View:
    table = comparison_table(result)
    return View(
        f"{table.title}; {mean_sentence(result).removesuffix('.')}",
        table,
        result.to_records(),
        lambda: differences_figure(result),
    )


@view.register
def _(result: OverlapMatrix) -> View:
    pairs = [pair for pair in pairs_of(result) if pair.raw is not None]
    pairs.sort(key=lambda pair: -(pair.raw or 0.0))
    known = result.intervals() is not None
    interval = interval_name(result.confidence)
    columns = [Column("corruption"), Column("and"), Column("overlap", 2), Column(interval, 2)]
    rows = [
        [one.a, one.b, one.score, Cell(one.low, pair_interval(one))][: 4 if known else 3]
        for one in pairs[:_PAIRS_SHOWN]
    ]
    candidates = counted(len(result.names), "candidate")
    facts = [f"overlap of {candidates} ({result.form})"]
    if result.undefined:
        facts.append(f"{listed(result.undefined)} undefined")
    if known:
        above = sum(one.low is not None and one.low > 0 for one in pairs)
        facts.append(f"{above} of {counted(len(pairs), 'pair')} have an interval above 0")
    shown = f"the {len(rows)} strongest of {len(pairs)} pairs"
    table = text_table(f"Overlap of {candidates}, {shown}", columns[: 4 if known else 3], rows)
    notes = [f"{name} is undefined: {why}." for name, why in result.undefined.items()]
    table = replace(table, notes=[*notes, f"Source: {result.source}."])
    records = [one._asdict() for one in pairs_of(result)]
    return View("; ".join([*facts, result.source]), table, records, lambda: _heat_map(result))


@view.register
def _(result: ChosenSet | FamilyDesign) -> View:
    scores = result.scores
    names, candidates = listed(result.names), counted(len(scores.covered_by), "candidate")
    numbers = {
        "coverage": scores.coverage,
        "redundancy": scores.redundancy,
        "balance": scores.balance,
        "largest overlap": scores.largest_overlap,
    }
    measures = [f"{name} {number(value, 3)}" for name, value in numbers.items()]
    records = [
        {
            "candidate": name,
            "chosen": name in result.names,
            "share": cover.share,
            "covered_by": cover.by,
            "weight": len(scores.emphasis) * scores.emphasis[name],
        }
        for name, cover in sorted(scores.covered_by.items(), key=lambda one: -one[1].share)
    ]
    columns = [Column("candidate"), Column("chosen"), Column("covered", 2), Column("best by"),
               Column("weight", 2)]  # fmt: skip
    rows = [
        [one["candidate"], "yes" if one["chosen"] else "", one["share"], one["covered_by"],
         one["weight"]]
        for one in records
    ]  # fmt: skip
    title = f"{names}, of {candidates}"
    table = text_table(title, columns, rows)
    remarks = [*result.tie_notes, result.note] if isinstance(result, ChosenSet) else []
    table = replace(
        table, lines=[", ".join(measures)], notes=[one for one in remarks if one is not None]
    )
    facts = f"{title}; {', '.join(measures)}"
    return View(facts, table, records, lambda: coverage_figure(records, title))


def scores_figure(scores: Scores) -> Figure:
    """The headline metric of a run under each corruption, in the benchmark's order."""
    require("report")
    from noctule.report.charts import Dot, Mark, dot_chart

    metric = scores.headline
    mark = Mark(100.0, "the reference model") if metric.needs_reference else None
    if not metric.needs_reference and scores.has_clean:
        clean = scores.of("error", CLEAN).value
        mark = None if clean is None else Mark(100 * clean, "the error on clean images")
    return dot_chart(
        "scores",
        [Dot(name, scores.of(metric.name, name)) for name in scores.corruptions],
        scale=metric.scale,
        axis=f"{metric.title}, {metric.unit}",
        caption=f"{sentence(metric.title)} by corruption; lines are "
        f"{interval_name(scores.confidence)}s.",
        description=f"{sentence(metric.title)} under each corruption of {scores.benchmark}.",
        mark=mark,
    )


def differences_figure(comparison: Comparison) -> Figure:
    """B − A under each corruption or condition, in points."""
    require("report")
    from noctule.report.charts import Dot, Mark, dot_chart

    return dot_chart(
        "differences",
        [Dot(one.name, one.difference) for one in comparison.differences],
        scale=1.0,
        axis="error of B − error of A, points",
        caption=f"Differences of errors by {comparison.by}; lines are "
        f"{interval_name(comparison.confidence)}s, each for its difference alone.",
        description=f"Error of {comparison.model_b} less that of {comparison.model_a}.",
        mark=Mark(0.0, "no difference"),
    )


def coverage_figure(records: Records, title: str) -> Figure:
    """How far a set of corruptions covers each candidate."""
    require("report")
    from noctule.report.charts import Dot, dot_chart

    return dot_chart(
        "coverage",
        [Dot(one["candidate"], Estimate(one["share"], None, None)) for one in records],
        scale=1.0,
        digits=2,
        axis="largest overlap with a corruption of the set",
        caption="How well each candidate is covered: 1 if the set represents it.",
        description=f"Coverage of each candidate by {title}.",
        domain=(0.0, 1.0),
    )


def _heat_map(matrix: OverlapMatrix) -> Figure:
    require("study")
    from noctule.report.heatmap import overlap_figure
    from noctule.studies.families import kmeans_families, seriation

    order, families = seriation(matrix), kmeans_families(matrix).labels
    figure = overlap_figure(matrix, order, families, title=f"Overlap: {matrix.source}")
    caption = "Overlap of every two candidates, similar ones side by side. Letters and frames: "
    return replace(figure, caption=f"{caption}families by k-means.")
