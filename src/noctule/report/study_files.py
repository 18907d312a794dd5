"""An overlap study as files: tables to compute with, to print and to look at, and a summary.

The CSV files and `overlap.json` carry every number at full precision. A number that does not
exist is an empty cell, null in JSON, with a `reason` beside it; so is an end of an interval
that has no bound, for neither JSON nor a spreadsheet knows infinity.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from noctule.report.heatmap import draw_heatmap, save_heatmap
from noctule.report.matrix_tables import FORMULA, latex_square, markdown_square, terms
from noctule.report.terminal import Part
from noctule.report.text_tables import UNDEFINED, text_table
from noctule.store.disk import output_errors, write_atomically
from noctule.studies.accuracy import AccuracyRow
from noctule.studies.families import Families, family_letter
from noctule.studies.matrix import OverlapMatrix, write_matrix

if TYPE_CHECKING:
    pass

NO_BOUND = "the interval has no bound where its end is missing"
PAIRS_SHOWN = 5
_CANDIDATE_FIELDS = ("corruption", "kmeans", "hierarchical", "place", "reason")
_ACCURACY_FIELDS = ("model", "condition", "accuracy", "low", "high", "reason")


class Pair(NamedTuple):
    """The overlap of two candidates; what is not defined or has no bound is None.

    Attributes:
        score: of 0 or more, as published.
        raw: before it is cut off at 0.
        low, high: ends of the interval of `raw`.
        reason: why something is None.
    """

    a: str
    b: str
    score: float | None
    raw: float | None
    low: float | None
    high: float | None
    reason: str | None


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
    """Write what a study found; earlier files of the same names are replaced.

    - `accuracies.csv`: a row for each model and condition, with the interval.
    - `overlap.csv`: the square of scores, which `read_matrix` reads.
    - `overlap-pairs.csv`: a row for each two candidates, see `Pair`.
    - `families.csv`: a row for each candidate; `place` is that in `order`, from 1.
    - `overlap.md`, `overlap.tex`: the square in `order`, to two digits.
    - `overlap.json`: all of it, but for the resamples.
    - `heatmap.png`, `.svg`, `.pdf`: see `draw_heatmap`.

    Args:
        folder: made if it is not there.
        matrix: of n defined candidates.
        accuracies: of the models under the conditions.
        families: by k-means; they have letters, in the files as in the figure.
        hierarchical: families by hierarchical clustering; numbered from 1.
        order: of rows and columns: the indices 0 to n − 1 into `matrix.names`.
        title: of the tables and of the figure.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
        ValueError: `order` or `families` does not fit the matrix.
    """
    figure = draw_heatmap(matrix, order, families.labels, title=title)
    pairs = [pair._asdict() for pair in pairs_of(matrix)]
    candidates = _candidates(matrix, families, hierarchical, order)
    measured = [_accuracy_record(row) for row in accuracies]
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
        "accuracies.csv": _csv(measured, _ACCURACY_FIELDS),
        "overlap-pairs.csv": _csv(pairs, Pair._fields),
        "families.csv": _csv(candidates, _CANDIDATE_FIELDS),
        "overlap.md": markdown_square(matrix, families, order, title),
        "overlap.tex": latex_square(matrix, families, order, title),
        "overlap.json": json.dumps(everything, indent=2, ensure_ascii=False, allow_nan=False)
        + "\n",
    }
    paths = [_write(folder / name, text) for name, text in texts.items()]
    write_matrix(matrix, folder / "overlap.csv")
    return [*paths, folder / "overlap.csv", *save_heatmap(figure, folder / "heatmap")]


def pairs_of(matrix: OverlapMatrix) -> list[Pair]:
    """Every two candidates once: those that are defined in the study's order, then the others.

    >>> import numpy as np
    >>> matrix = OverlapMatrix(("a", "b"), np.array([[1.0, -0.5], [-0.5, 1.0]]), {"c": "why"})
    >>> for pair in pairs_of(matrix):
    ...     print(pair.a, pair.b, pair.score, pair.raw, pair.reason)
    a b 0.0 -0.5 there are no resamples
    a c None None c: why
    b c None None c: why
    """
    place = {name: i for i, name in enumerate(matrix.names)}
    scores, bounds = matrix.scores, matrix.intervals()
    pairs = []
    for a, b in combinations((*matrix.names, *matrix.undefined), 2):
        if whys := [f"{one}: {matrix.undefined[one]}" for one in (a, b) if one not in place]:
            pairs.append(Pair(a, b, None, None, None, None, "; ".join(whys)))
            continue
        at = place[a], place[b]
        reason: str | None
        low, high, reason = None, None, "there are no resamples"
        if bounds is not None:
            ends = (float(bound[at]) for bound in bounds)
            low, high = (end if math.isfinite(end) else None for end in ends)
            reason = NO_BOUND if None in (low, high) else None
        pairs.append(Pair(a, b, float(scores[at]), float(matrix.raw[at]), low, high, reason))
    return pairs


def summary(matrix: OverlapMatrix, families: Families) -> list[Part]:
    """For the terminal: the families, the pairs that fit them least, the undefined."""
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
    header = ("corruption", "and", "overlap", f"{100 * matrix.confidence:g} % CI")
    for heading, pairs in (
        ("Least overlap within a family", within[:PAIRS_SHOWN]),
        ("Most overlap between families", between[:PAIRS_SHOWN]),
    ):
        if pairs:
            parts.append(text_table(heading, header, map(_pair_cells, pairs)))
    parts += [f"{name} is undefined: {why}" for name, why in matrix.undefined.items()]
    return parts


def _pair_cells(pair: Pair) -> tuple[str, str, str, str]:
    low, high = ("none" if end is None else f"{end:.2f}" for end in (pair.low, pair.high))
    interval = UNDEFINED if low == high == "none" else f"{low} to {high}"
    return pair.a, pair.b, f"{pair.score:.2f}", interval


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


def _csv(records: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def _write(path: Path, text: str) -> Path:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return path
