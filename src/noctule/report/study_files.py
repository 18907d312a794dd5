"""An overlap study as files: tables to compute with, to print and to look at, and a summary.

The CSV files and `overlap.json` have full precision. A number that does not exist is an empty
cell, null in JSON, with a `reason` beside it; so is the end of an interval without a bound,
because neither JSON nor a spreadsheet knows infinity.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from noctule.csv_files import csv_text
from noctule.report.charts import FIGURE_FORMATS, save_figure
from noctule.report.formatting import UNDEFINED, interval_name
from noctule.report.heatmap import overlap_figure, score_text
from noctule.report.pairs import Pair, pair_interval, pairs_of
from noctule.report.table import (
    Cell,
    Column,
    Formula,
    Row,
    Table,
    Value,
    escape_latex,
    latex,
    markdown,
    text_table,
)
from noctule.report.terminal import Part
from noctule.store.disk import output_errors, write_atomically
from noctule.studies.accuracy import AccuracyRow
from noctule.studies.families import Families, family_letter
from noctule.studies.matrix import OverlapMatrix, write_matrix

FORMULA = (
    "O(a, b) = max(0, ½ · [(R(a, b) − R(std, b)) / (R(b, b) − R(std, b)) + "
    "(R(b, a) − R(std, a)) / (R(a, a) − R(std, a))])"
)
_FORMULA_LATEX = (
    r"$O(a, b) = \max\Bigl(0, \frac{1}{2}\Bigl["
    r"\frac{R(a, b) - R(\mathrm{std}, b)}{R(b, b) - R(\mathrm{std}, b)} + "
    r"\frac{R(b, a) - R(\mathrm{std}, a)}{R(a, a) - R(\mathrm{std}, a)}\Bigr]\Bigr)$"
)
_FORMS = {"robustness": "A(m, c) / A(m, clean)", "accuracy": "A(m, c)"}
PAIRS_SHOWN = 5
_CANDIDATE_FIELDS = ("corruption", "kmeans", "hierarchical", "place", "reason")
_ACCURACY_FIELDS = ("model", "condition", "accuracy", "low", "high", "reason")


def write_study_files(
    folder: Path,
    *,
    matrix: OverlapMatrix,
    accuracies: Iterable[AccuracyRow],
    families: Families,
    hierarchical: Families,
    order: Sequence[int],
    title: str,
) -> list[Path]:
    """Write the findings of a study; earlier files of the same names are replaced.

    - `accuracies.csv`: a row for each model and condition, with the interval.
    - `overlap.csv`: the square of scores, which `read_matrix` reads.
    - `overlap-pairs.csv`: a row for each two candidates, see `Pair`.
    - `families.csv`: a row for each candidate; `place` is that in `order`, from 1.
    - `overlap.md`, `overlap.tex`: the square in `order`, to two digits.
    - `overlap.json`: all of it, but for the resamples.
    - `heatmap.png`, `.svg`, `.pdf`: see `overlap_figure`.

    Args:
        folder: The folder; it is made if need be.
        matrix: Overlap of n defined candidates.
        accuracies: Accuracies of the models under the conditions.
        families: Families by k-means; they have letters, in the files as in the figure.
        hierarchical: Families by hierarchical clustering; numbered from 1.
        order: Order of rows and columns: the indices 0 to n − 1 into `matrix.names`.
        title: Title of the table and of the figure.

    Returns:
        The files.

    Raises:
        OutputError: A file cannot be written.
        ValueError: `order` or `families` does not fit the matrix.
    """
    figure = overlap_figure(matrix, order, families.labels, title=title)
    pairs = [pair._asdict() for pair in pairs_of(matrix)]
    candidates = _candidates(matrix, families, hierarchical, order)
    measured = [_accuracy_record(row) for row in accuracies]
    square = square_table(matrix, families, order, title)
    both = {"kmeans": families, "hierarchical": hierarchical}
    everything = {
        "title": title,
        "source": matrix.source,
        "formula": f"{FORMULA}, {terms(matrix)}",
        "form": matrix.form,
        "confidence": matrix.confidence,
        "resamples": 0 if matrix.replicates is None else len(matrix.replicates),
        "mean_correlation": {name: one.mean_correlation for name, one in both.items()},
        "candidates": candidates,
        "overlap": pairs,
        "accuracies": measured,
    }
    texts = {
        "accuracies.csv": csv_text(measured, _ACCURACY_FIELDS),
        "overlap-pairs.csv": csv_text(pairs, Pair._fields),
        "families.csv": csv_text(candidates, _CANDIDATE_FIELDS),
        "overlap.md": markdown(square),
        "overlap.tex": latex(square),
        "overlap.json": json.dumps(everything, indent=2, ensure_ascii=False, allow_nan=False)
        + "\n",
    }
    paths = [_write(folder / name, text) for name, text in texts.items()]
    write_matrix(matrix, folder / "overlap.csv")
    figures = [folder / f"{figure.name}.{format}" for format in FIGURE_FORMATS]
    for path in figures:
        save_figure(figure, path)
    return [*paths, folder / "overlap.csv", *figures]


def terms(matrix: OverlapMatrix) -> str:
    """What the letters of `FORMULA` stand for, in the form of this matrix."""
    return (
        f"where R(m, c) = {_FORMS[matrix.form]} ({matrix.form}), A(m, c) is the accuracy of "
        "model m under c, model a was trained with a, and model std with none"
    )


def square_table(
    matrix: OverlapMatrix, families: Families, order: Sequence[int], title: str
) -> Table:
    """The square of scores, in `order`; undefined candidates come last."""
    scores, is_bold = matrix.scores, matrix.established()
    missing: list[Cell | None] = [None] * len(matrix.undefined)

    def cell(i: int, j: int) -> Cell:
        text = "1" if i == j else score_text(scores[i, j])
        return Cell(float(scores[i, j]), text, bold=bool(is_bold[i, j]))

    rows = [
        Row([matrix.names[i], family_letter(families.labels[i]),
             *(cell(i, j) for j in order), *missing])
        for i in order
    ]  # fmt: skip
    nothing = [None] * (1 + len(order) + len(missing))
    rows += [Row([name, *nothing]) for name in matrix.undefined]
    columns = [Column("corruption"), Column("family")]
    columns += [Column(matrix.names[i], 2) for i in order]
    columns += [Column(name, 2) for name in matrix.undefined]
    return Table(title, columns, rows, _square_notes(matrix), turned=True)


def _square_notes(matrix: OverlapMatrix) -> list[str]:
    notes: list[str] = [
        Formula(
            f"Overlap score {FORMULA}, {terms(matrix)}.",
            f"Overlap score {_FORMULA_LATEX}, {escape_latex(terms(matrix))}.",
        ),
        "Families by k-means.",
    ]
    if matrix.intervals() is not None:
        notes.append(f"Bold: the {interval_name(matrix.confidence)} lies above 0.")
    if matrix.undefined:
        reasons = "; ".join(f"{name} ({why})" for name, why in matrix.undefined.items())
        notes.append(f"{UNDEFINED}: undefined, {reasons}.")
    return [*notes, f"Source: {matrix.source}."]


def summary(matrix: OverlapMatrix, families: Families) -> list[Part]:
    """For the terminal: families, the pairs that fit them least, undefined candidates."""
    family = dict(zip(matrix.names, families.labels, strict=True))
    rows = [
        (family_letter(label), ", ".join(name for name in family if family[name] == label))
        for label in sorted(set(family.values()))
    ]
    parts: list[Part] = []
    if rows:
        parts.append(text_table("Families", ("family", "corruptions"), rows))
    defined = [pair for pair in pairs_of(matrix) if pair.raw is not None]
    defined.sort(key=lambda pair: pair.raw or 0.0)
    within = [pair for pair in defined if family[pair.a] == family[pair.b]]
    between = [pair for pair in reversed(defined) if family[pair.a] != family[pair.b]]
    interval = interval_name(matrix.confidence)
    header = (Column("corruption"), Column("and"), Column("overlap", 2), Column(interval, 2))
    for heading, pairs in (
        ("Least overlap within a family", within[:PAIRS_SHOWN]),
        ("Most overlap between families", between[:PAIRS_SHOWN]),
    ):
        if pairs:
            parts.append(text_table(heading, header, map(_pair_cells, pairs)))
    parts += [f"{name} is undefined: {why}" for name, why in matrix.undefined.items()]
    return parts


def _pair_cells(pair: Pair) -> tuple[Value, ...]:
    return pair.a, pair.b, pair.score, Cell(pair.low, pair_interval(pair))


def _accuracy_record(row: AccuracyRow) -> dict[str, Any]:
    estimate = row.accuracy.to_dict()
    value = estimate.pop("value")
    return {"model": row.model, "condition": row.condition, "accuracy": value, **estimate}


def _candidates(
    matrix: OverlapMatrix, families: Families, hierarchical: Families, order: Sequence[int]
) -> list[dict[str, Any]]:
    rows: list[tuple[Any, ...]] = []
    for i, name in enumerate(matrix.names):
        names = family_letter(families.labels[i]), hierarchical.labels[i] + 1
        rows.append((name, *names, list(order).index(i) + 1, None))
    rows += [(name, None, None, None, why) for name, why in matrix.undefined.items()]
    return [dict(zip(_CANDIDATE_FIELDS, row, strict=True)) for row in rows]


def _write(path: Path, text: str) -> Path:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return path
