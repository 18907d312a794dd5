"""The overlap matrix, and its form on disk: a square CSV that people can open and edit."""

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
from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.store.disk import output_errors, write_atomically

Form = Literal["robustness", "accuracy"]
CORNER = "overlap"
# What two cells may differ by and still be the same number written twice.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class OverlapMatrix:
    """How much robustness to one corruption buys robustness to another.

    A candidate on whose own corruption training did not help has no overlap with anything: it
    is in `undefined`, with the reason, and in no array.

    Attributes:
        names: The candidates whose overlap is defined, in the study's order; n of them.
        raw: (n, n) overlap before it is cut off at 0; symmetric to the bit, 1 on the diagonal.
        undefined: Why, for each candidate left out.
        form: "robustness" (ratios A_c / A_clean) or "accuracy" (A_c).
        replicates: (resamples, n, n) `raw` on each bootstrap resample; infinite where a
            resample's denominator is not above 0. None where only the numbers are known.
        confidence: Of the intervals.
        source: What it was computed from, for people.

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
        """Raise InputError with some of the reasons if no candidate is left."""
        if self.names:
            return
        shown = [f"{name}: {reason}" for name, reason in list(self.undefined.items())[:3]]
        if more := len(self.undefined) - len(shown):
            shown.append(f"and {more} more")
        raise InputError(
            f"no overlap in it is defined ({'; '.join(shown)})",
            where=self.source,
            remedy="Train longer, with more seeds, or measure on more images.",
        )

    def by_name(self) -> OverlapMatrix:
        """The same with its candidates in alphabetical order.

        What breaks ties and sums by position then depends on the names, not on the file.
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
        """The published overlap score, max(0, raw); not bounded above."""
        return np.maximum(self.raw, 0.0)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Ō = min(score, 1), in [0, 1]: what coverage, redundancy and balance are made of."""
        return np.clip(self.raw, 0.0, 1.0)

    def intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Ends (low, high) of the percentile intervals of `raw`, each (n, n); None if unknown.

        An end may be infinite: then the interval has no bound on that side.
        """
        if self.replicates is None or not len(self.replicates):
            return None
        tail = (1 - self.confidence) / 2
        # An observed value outside of each end: between a number and infinity nothing is
        # interpolated.
        low = np.quantile(self.replicates, tail, axis=0, method="lower")
        high = np.quantile(self.replicates, 1 - tail, axis=0, method="higher")
        return low, high

    def established(self) -> NDArray[np.bool_]:
        """(n, n): of which two candidates the interval lies above 0; none without intervals."""
        bounds = self.intervals()
        if bounds is None:
            return np.zeros(self.raw.shape, dtype=np.bool_)
        low = bounds[0]
        return (low > 0) & np.isfinite(low) & ~np.eye(len(low), dtype=np.bool_)


def write_matrix(matrix: OverlapMatrix, path: Path) -> None:
    """Write the scores as a square CSV; the cells of undefined candidates are empty.

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
    """Read a square CSV of overlap scores: names in the first row and in the first column.

    The column of names may be missing. Semicolons, tabs and spaces separate cells as commas
    do. A candidate whose row and column are empty is undefined.

    Raises:
        InputError: Not such a file: no names, or numbers for names; names that differ or occur
            twice; a cell that is not a finite number of 0 or more, a diagonal that is not 1, a
            matrix that is not square or not symmetric, an empty cell beside filled ones. The
            cell is named.
    """
    path = path_like(path, "matrix")
    names, cells = _read_square(path)
    defined = [i for i in range(len(names)) if cells[i][i] != ""]
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            if (cell == "") == (i in defined and j in defined):
                content = cell or "empty"
                raise InputError(
                    f"the cell of {names[i]} and {names[j]} is {content}, "
                    "and the diagonal says otherwise",
                    where=path,
                    remedy="Leave the whole row and column of a candidate empty, or fill both.",
                )
    values = np.array(
        [
            [_number(cells[i][j], f"{names[i]} and {names[j]}", path) for j in defined]
            for i in defined
        ]
    )
    values = values.reshape(len(defined), len(defined))
    kept = tuple(names[i] for i in defined)
    _check_values(values, kept, path)
    missing = (name for i, name in enumerate(names) if i not in defined)
    return OverlapMatrix(
        kept,
        np.maximum(values, values.T),  # the same but for rounding
        dict.fromkeys(missing, f"empty in {path.name}"),
        source=str(path),
    )


def _read_square(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names, and the cells without names."""
    header, rows = _read_rows(path)
    if all(_is_number(cell) for cell in header if cell) or any(map(_is_number, header[1:])):
        raise InputError(
            f"has numbers where the names of the candidates belong: {_some(header)}",
            where=path,
            remedy="Write the names into the first row, such as shear,rain,hue; with "
            'numpy.savetxt by header="shear,rain,hue", comments="", delimiter=",".',
        )
    width = {len(row) for row in rows}
    if width == {len(header)} and not any(row[0] and not _is_number(row[0]) for row in rows):
        names, firsts, cells = header, header, rows  # no column of names
    else:
        # A table written by R has no cell above its column of names.
        names = header if width == {len(header) + 1} else header[1:]
        firsts, cells = [row[0] for row in rows], [row[1:] for row in rows]
    if not names:
        raise InputError("names no candidate in its first row", where=path)
    if len(set(names)) != len(names) or "" in names:
        raise InputError("a name in its first row is empty or occurs twice", where=path)
    if firsts != names:
        raise InputError(
            "the names in its first column are not those in its first row",
            where=path,
            remedy="An overlap matrix is square: the same candidates in the same order.",
        )
    if len(cells) != len(names):
        raise InputError(
            f"has {len(names)} names and {len(cells)} rows",
            where=path,
            remedy="An overlap matrix is square: a row and a column for each candidate.",
        )
    for name, row in zip(names, cells, strict=True):
        if len(row) != len(names):
            raise InputError(
                f"the row of {name} has {len(row)} cells for {len(names)} candidates",
                where=path,
            )
    return names, cells


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, of cells separated by commas, semicolons, tabs or else spaces.

    A "#" before the header, as numpy.savetxt writes it, is not part of it.
    """
    text = read_text(path).lstrip("\r\n").removeprefix("#")
    first = text.partition("\n")[0]
    separator = next((one for one in "\t;," if one in first), " ")
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        rows = [[unguard_formula(cell.strip()) for cell in row] for row in reader if any(row)]
    except csv.Error as error:
        raise InputError(f"is not a CSV file: {error}", where=path) from error
    if not rows:
        raise InputError("is empty", where=path)
    return rows[0], rows[1:]


def _some(cells: Sequence[str]) -> str:
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
            f"'{cell}', of {pair}, is not a number",
            where=path,
            remedy="Write decimals with a point." if "," in cell else None,
        ) from error


def _check_values(values: NDArray[np.float64], names: Sequence[str], path: Path) -> None:
    def refuse(wrong: NDArray[np.bool_], what: str, remedy: str) -> None:
        if wrong.any():
            i, j = (int(index) for index in np.argwhere(wrong)[0])
            raise InputError(
                f"the overlap of {names[i]} and {names[j]} is {values[i, j]:g}{what}"
                + (f" {values[j, i]:g}" if what.endswith("is") else ""),
                where=path,
                remedy=remedy,
            )

    finite = np.isfinite(values)
    refuse(
        ~finite | (values < 0), "", "Overlap is a number of 0 or more; leave undefined empty."
    )
    away = np.abs(values - np.eye(len(values)))
    refuse(
        (away > _ROUNDING) & np.eye(len(values), dtype=bool), "", "The diagonal has to be 1."
    )
    refuse(
        np.abs(values - values.T) > _ROUNDING * np.maximum(1, np.abs(values)),
        ", and the other way round it is",
        "An overlap matrix is symmetric: mend one of the two.",
    )
