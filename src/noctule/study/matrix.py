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

from noctule.errors import InputError
from noctule.input_files import reject_special_files
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
        names: the candidates whose overlap is defined, in the study's order; n of them.
        raw: (n, n) overlap before it is cut off at 0; symmetric to the bit, 1 on the diagonal.
        undefined: why, for each candidate left out.
        form: "robustness" (ratios A_c / A_clean) or "accuracy" (A_c).
        replicates: (resamples, n, n) `raw` on each bootstrap resample; infinite where a
            resample's denominator is not above 0. None where only the numbers are known.
        confidence: of the intervals.
        source: what it was computed from, for people.

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
        OutputError: the file cannot be written.
    """
    names = (*matrix.names, *matrix.undefined)
    empty = [""] * len(matrix.undefined)
    rows = [[f"{value:.17g}" for value in row] + empty for row in matrix.scores]
    rows += [[""] * len(names)] * len(matrix.undefined)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([CORNER, *names])
    writer.writerows([name, *row] for name, row in zip(names, rows, strict=True))
    with output_errors(path):
        write_atomically(path, buffer.getvalue().encode())


def read_matrix(path: Path) -> OverlapMatrix:
    """Read a square CSV of overlap scores: names in the first row and in the first column.

    A candidate whose row and column are empty is undefined.

    Raises:
        InputError: not such a file: names that differ or occur twice, a cell that is not a
            finite number of 0 or more, a diagonal that is not 1, a matrix that is not
            symmetric, an empty cell beside filled ones. The cell is named.
    """
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
    reject_special_files(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [
                [cell.strip() for cell in row] for row in csv.reader(file) if any(row)
            ]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is not a CSV file: {error}", where=path) from error
    except ValueError as error:
        raise InputError("is empty", where=path) from error
    names = header[1:]
    if not names:
        raise InputError(
            "names no candidate in its first row",
            where=path,
            remedy="Separate its cells by commas." if ";" in header[0] else None,
        )
    if [row[0] for row in rows] != names:
        raise InputError(
            "the names in its first column are not those in its first row",
            where=path,
            remedy="An overlap matrix is square: the same candidates in the same order.",
        )
    if len(set(names)) != len(names) or "" in names:
        raise InputError("a name in its first row is empty or occurs twice", where=path)
    for name, row in zip(names, rows, strict=True):
        if len(row) != len(header):
            raise InputError(
                f"the row of {name} has {len(row)} cells, the first row {len(header)}",
                where=path,
            )
    return names, [row[1:] for row in rows]


def _number(cell: str, pair: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(f"'{cell}', of {pair}, is not a number", where=path) from error


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
