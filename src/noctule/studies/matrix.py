"""The overlap matrix, and its file format: a square CSV that can be edited by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import path_like
from noctule.csv_files import csv_lines, unguard_formula
from noctule.display import Displayed
from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.store.disk import output_errors, write_atomically

Form = Literal["robustness", "accuracy"]
CORNER = "overlap"
_ROUNDING = 1e-9  # largest relative difference of cells that count as equal


@dataclass(frozen=True, eq=False, repr=False)
class OverlapMatrix(Displayed):
    """The overlap of all pairs of candidates: robustness to one that comes with the other.

    A candidate for which training did not help has no defined overlap with any other: it is in
    `undefined`, with the reason, and in no array.

    Attributes:
        names: Names of the n candidates whose overlap is defined, in the order of the study.
        raw: Overlap before it is clamped at 0, (n, n); exactly symmetric, 1 on the diagonal.
        undefined: Reason for each candidate whose overlap is undefined.
        form: "robustness" (ratios A_c / A_clean) or "accuracy" (A_c).
        replicates: `raw` on each bootstrap resample, (resamples, n, n); infinite where a
            denominator is not above 0. None if there are no resamples.
        confidence: Confidence of the intervals.
        source: Description of the data, for messages and reports.

    >>> OverlapMatrix(("a", "b"), np.array([[1.0, -0.1], [-0.1, 1.0]])).scores.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    names: tuple[str, ...]
    raw: NDArray[np.float64]
    undefined: Mapping[str, str] = field(default_factory=dict)
    form: Form = "robustness"
    replicates: NDArray[np.float64] | None = None
    confidence: float = 0.95
    source: str = "given in memory"

    def check_defined(self) -> None:
        """Check that the overlap of some candidate is defined.

        Raises:
            InputError: It is defined for none; the message has some of the reasons.
        """
        if self.names:
            return
        shown = [f"{name}: {reason}" for name, reason in list(self.undefined.items())[:3]]
        if more := len(self.undefined) - len(shown):
            shown.append(f"and {more} more")
        raise InputError(
            f"defines no overlap ({'; '.join(shown)})",
            where=self.source,
            remedy="Train longer, with more seeds, or measure on more images.",
        )

    def by_name(self) -> OverlapMatrix:
        """The matrix with its candidates in alphabetical order.

        Results that depend on the order, such as ties and the last bits of sums, then depend
        only on the names.
        """
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        square = np.ix_(order, order)
        replicates = self.replicates
        return replace(
            self,
            names=tuple(self.names[i] for i in order),
            raw=np.ascontiguousarray(self.raw[square]),
            replicates=None if replicates is None else replicates[:, square[0], square[1]],
        )

    @property
    def scores(self) -> NDArray[np.float64]:
        """The published overlap score, max(0, raw), (n, n); not bounded above."""
        return np.maximum(self.raw, 0.0)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Ō = min(score, 1), (n, n), in [0, 1]; coverage, redundancy and balance use it."""
        return np.clip(self.raw, 0.0, 1.0)

    def intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Ends (low, high) of the percentile intervals of `raw`, each (n, n), or None.

        An infinite end means that the interval is not bounded on that side.
        """
        if self.replicates is None or not len(self.replicates):
            return None
        tail = (1 - self.confidence) / 2
        # The observed value beyond each end, because a number and infinity cannot be
        # interpolated.
        low = np.quantile(self.replicates, tail, axis=0, method="lower")
        high = np.quantile(self.replicates, 1 - tail, axis=0, method="higher")
        return low, high

    def established(self) -> NDArray[np.bool_]:
        """Pairs of candidates whose interval is above 0, (n, n); none without intervals."""
        bounds = self.intervals()
        if bounds is None:
            return np.zeros(self.raw.shape, dtype=np.bool_)
        low = bounds[0]
        return (low > 0) & np.isfinite(low) & ~np.eye(len(low), dtype=np.bool_)


def write_matrix(matrix: OverlapMatrix, path: Path) -> None:
    """Write the scores as a square CSV, with empty cells for undefined candidates.

    Raises:
        OutputError: The file cannot be written.
    """
    names = (*matrix.names, *matrix.undefined)
    empty = [""] * len(matrix.undefined)
    rows = [[f"{value:.17g}" for value in row] + empty for row in matrix.scores]
    rows += [[""] * len(names)] * len(matrix.undefined)
    lines = [[CORNER, *names], *([name, *row] for name, row in zip(names, rows, strict=True))]
    with output_errors(path):
        write_atomically(path, csv_lines(lines).encode())


def read_matrix(path: Path) -> OverlapMatrix:
    """Read a square CSV of overlap scores, with names in the first row and first column.

    The column of names may be missing. Cells may also be separated by semicolons, tabs or
    spaces. A candidate whose row and column are empty is undefined.

    Raises:
        InputError: Names are missing, numbers, different or duplicate; a cell is not a finite
            number of at least 0; a diagonal element is not 1; the matrix is not square or not
            symmetric; or a row or column is only partly empty. The message names the cell.
    """
    path = path_like(path, "matrix")
    names, cells = _read_square(path)
    defined = [i for i in range(len(names)) if cells[i][i] != ""]
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            if (cell == "") == (i in defined and j in defined):
                raise InputError(
                    f"the cell of {names[i]} and {names[j]} is {cell or 'empty'}, which "
                    "contradicts the diagonal",
                    where=path,
                    remedy="Either fill the whole row and column of a candidate, or leave both "
                    "empty.",
                )
    values = np.array(
        [
            [_number(cells[i][j], f"{names[i]} and {names[j]}", path) for j in defined]
            for i in defined
        ]
    )
    values = values.reshape(len(defined), len(defined))
    defined_names = tuple(names[i] for i in defined)
    _check_values(values, defined_names, path)
    undefined = (name for i, name in enumerate(names) if i not in defined)
    return OverlapMatrix(
        defined_names,
        np.maximum(values, values.T),  # equal except for rounding
        dict.fromkeys(undefined, f"empty in {path.name}"),
        source=str(path),
    )


def _read_square(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names, and the cells without names."""
    header, rows = _read_rows(path)
    if all(_is_number(cell) for cell in header if cell) or any(map(_is_number, header[1:])):
        raise InputError(
            f"has numbers instead of candidate names: {_truncated(header)}",
            where=path,
            remedy="Write the names into the first row, such as shear,rain,hue; with "
            'numpy.savetxt, pass header="shear,rain,hue", comments="", delimiter=",".',
        )
    width = {len(row) for row in rows}
    if width == {len(header)} and not any(row[0] and not _is_number(row[0]) for row in rows):
        names, firsts, cells = header, header, rows  # no column of names
    else:
        # Tables written by R have no cell above the column of names.
        names = header if width == {len(header) + 1} else header[1:]
        firsts, cells = [row[0] for row in rows], [row[1:] for row in rows]
    if not names:
        raise InputError("has no candidate names in its first row", where=path)
    if len(set(names)) != len(names) or "" in names:
        raise InputError("has an empty or duplicate name in its first row", where=path)
    if firsts != names:
        raise InputError(
            "has different names in its first column and its first row",
            where=path,
            remedy="Use the same candidates in the same order.",
        )
    if len(cells) != len(names):
        raise InputError(
            f"has {len(names)} names and {len(cells)} rows",
            where=path,
            remedy="Use one row and one column for each candidate.",
        )
    for name, row in zip(names, cells, strict=True):
        if len(row) != len(names):
            raise InputError(
                f"the row of {name} has {len(row)} cells for {len(names)} candidates",
                where=path,
            )
    return names, cells


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, with cells separated by commas, semicolons, tabs or spaces.

    A "#" before the header, as written by numpy.savetxt, is removed.
    """
    text = read_text(path).lstrip("\r\n").removeprefix("#")
    first = text.partition("\n")[0]
    separator = next((char for char in "\t;," if char in first), " ")
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        rows = [[unguard_formula(cell.strip()) for cell in row] for row in reader if any(row)]
    except csv.Error as error:
        raise InputError(f"is not a CSV file: {error}", where=path) from error
    if not rows:
        raise InputError("is empty", where=path)
    return rows[0], rows[1:]


def _truncated(cells: Sequence[str]) -> str:
    shown = ", ".join(cells[:4])
    return f"{shown}, …" if len(cells) > 4 else shown


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, pair: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(
            f"the cell of {pair} is '{cell}', which is not a number",
            where=path,
            remedy="Use a decimal point." if "," in cell else None,
        ) from error


def _check_values(values: NDArray[np.float64], names: Sequence[str], path: Path) -> None:
    def reject(wrong: NDArray[np.bool_], what: str, remedy: str) -> None:
        if wrong.any():
            i, j = (int(index) for index in np.argwhere(wrong)[0])
            raise InputError(
                f"the overlap of {names[i]} and {names[j]} is {values[i, j]:g}{what}"
                + (f" {values[j, i]:g}" if what.endswith("is") else ""),
                where=path,
                remedy=remedy,
            )

    finite = np.isfinite(values)
    reject(
        ~finite | (values < 0),
        "",
        "Use numbers of at least 0, and leave cells of undefined candidates empty.",
    )
    away = np.abs(values - np.eye(len(values)))
    reject((away > _ROUNDING) & np.eye(len(values), dtype=bool), "", "The diagonal must be 1.")
    reject(
        np.abs(values - values.T) > _ROUNDING * np.maximum(1, np.abs(values)),
        ", and in the other order it is",
        "An overlap matrix is symmetric: correct one of the two.",
    )
