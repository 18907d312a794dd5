"""The integer programme behind the exact method, and HiGHS, which solves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# How often the waiting thread looks for a result, reports progress and can be interrupted.
_POLL_S = 0.05
# How long an interrupted solver is waited for; its thread ends with the program in any case.
_GRACE_S = 1.0


class Search(NamedTuple):
    """How far a search for the best set is.

    Attributes:
        found: Largest objective found so far, minus infinity before the first set.
        possible: Upper bound of the objective, infinite while none is known.
        seconds: Time since the search began.
    """

    found: float
    possible: float
    seconds: float

    def __str__(self) -> str:
        """In words, for objectives that are coverages."""
        found = "nothing" if self.found < 0 else f"coverage {self.found:.3f}"
        return f"{found} found, at most {self.possible:.3f} possible, {self.seconds:.0f} s"


OnSearch = Callable[[Search], None]


class Deadline:
    """A time limit that several searches share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, at least 0; infinite without a limit."""
        return float("inf") if self._end is None else max(0.0, self._end - time.monotonic())


class Solution(NamedTuple):
    """What a search ended with.

    Attributes:
        chosen: Positions of the candidates, ascending; None if time ran out before any set.
        possible: Upper bound of the objective.
        proven: Whether no set is better, but for the tolerance of the solver.
    """

    chosen: tuple[int, ...] | None
    possible: float
    proven: bool


class _QuietHighs(highspy.Highs):
    """HiGHS that prints nothing: 1.16 prints its version when its constructor does this."""

    def enableCallbacks(self) -> None:
        self.silent()
        super().enableCallbacks()  # type: ignore[no-untyped-call]


class Programme:
    """Choose candidates of which no two are in conflict.

    The variables are x_b, whether b is chosen, and y_bc, the share of c that is counted as
    covered by b: maximise Σ Ō(b, c) · y_bc with y_bc ≤ x_b, Σ_b y_bc ≤ 1, x_a + x_b ≤ 1 for
    every pair in conflict, and Σ x_b within the sizes allowed. Shares of 0 need no y.
    """

    def __init__(
        self,
        shares: NDArray[np.float64],
        conflicts: NDArray[np.bool_],
        sizes: tuple[int, int],
        *,
        reward: float = 0.0,
    ) -> None:
        """Build the model.

        Args:
            shares: (n, n) Ō, the share of the column that the row covers.
            conflicts: (n, n) pairs that may not be chosen together.
            sizes: Smallest and largest size of the set.
            reward: What each candidate adds to the objective, whatever it covers.
        """
        self._n = len(shares)
        self._highs = _QuietHighs()
        for option, value in {"mip_rel_gap": 0.0, "mip_abs_gap": 0.0, "threads": 1}.items():
            self._highs.setOptionValue(option, value)
        self._highs.HandleUserInterrupt = True
        self._highs.passModel(_model(shares, conflicts, sizes, reward))

    def start_from(self, chosen: Sequence[int]) -> None:
        """Give the solver a set that is allowed, as the first it has to improve on."""
        values = np.zeros(self._n)
        values[list(chosen)] = 1
        self._highs.setSolution(self._n, np.arange(self._n, dtype=np.int32), values)

    def exclude(self, chosen: Sequence[int]) -> None:
        """Allow neither this set again nor one that contains it."""
        members = np.array(chosen, dtype=np.int32)
        ones, most = np.ones(len(members)), len(members) - 1
        self._highs.addRow(-highspy.kHighsInf, most, len(members), members, ones)

    def fix(self, candidate: int, *, chosen: bool) -> None:
        """Have a candidate in every set from now on, or in none."""
        self._highs.changeColBounds(candidate, float(chosen), float(chosen))

    def solve(self, deadline: Deadline, on_search: OnSearch | None = None) -> Solution | None:
        """The best set, or None if there is none.

        The solver runs in a thread of its own, so Ctrl-C ends the search at once. It looks at
        the deadline between its steps: on large problems it may be seconds late.
        """
        highs = self._highs
        self._run(deadline, on_search)
        status, info = highs.getModelStatus(), highs.getInfo()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        proven = status == highspy.HighsModelStatus.kOptimal
        if not proven and status != highspy.HighsModelStatus.kInterrupt:
            raise RuntimeError(f"HiGHS stopped without an answer: {status}")
        chosen = None
        if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            values = np.array(highs.getSolution().col_value[: self._n])
            chosen = tuple(int(i) for i in np.flatnonzero(values > 0.5))
        return Solution(chosen, float(info.mip_dual_bound), proven)

    def _run(self, deadline: Deadline, on_search: OnSearch | None) -> None:
        highs, begun = self._highs, time.monotonic()
        latest = (-np.inf, np.inf)

        def note(event: Any) -> None:  # in the solver's thread
            nonlocal latest
            latest = event.data_out.mip_primal_bound, event.data_out.mip_dual_bound

        highs.cbMipInterrupt.subscribe(note)
        try:
            highs.startSolve()
            while not highs.wait(_POLL_S)[0]:
                if not deadline.left_s():
                    highs.cancelSolve()
                if on_search is not None:
                    on_search(Search(*latest, time.monotonic() - begun))
        except BaseException:
            highs.cancelSolve()
            highs.wait(_GRACE_S)
            raise
        finally:
            highs.cbMipInterrupt.unsubscribe(note)


def _model(
    shares: NDArray[np.float64],
    conflicts: NDArray[np.bool_],
    sizes: tuple[int, int],
    reward: float,
) -> highspy.HighsLp:
    n = len(shares)
    by, covered = np.nonzero(shares > 0)
    pairs = np.argwhere(np.triu(conflicts))
    columns = n + len(by)
    y = np.arange(n, columns)
    each, every_pair = np.arange(len(by)), np.arange(len(pairs))
    rows = sparse.vstack(
        [
            _rows(len(by), columns, (each, y, 1), (each, by, -1)),
            _rows(n, columns, (covered, y, 1)),
            _rows(1, columns, (np.zeros(n, dtype=int), np.arange(n), 1)),
            _rows(len(pairs), columns, *((every_pair, end, 1) for end in pairs.T)),
        ]
    ).tocsr()
    lower = np.full(rows.shape[0], -highspy.kHighsInf)
    lower[len(by) + n] = sizes[0]
    model = highspy.HighsLp()
    model.sense_ = highspy.ObjSense.kMaximize
    model.num_col_, model.num_row_ = columns, rows.shape[0]
    model.col_cost_ = np.concatenate([np.full(n, reward), shares[by, covered]])
    model.col_lower_, model.col_upper_ = np.zeros(columns), np.ones(columns)
    model.row_lower_ = lower
    model.row_upper_ = np.concatenate(
        [np.zeros(len(by)), np.ones(n), [sizes[1]], np.ones(len(pairs))]
    )
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = rows.indptr, rows.indices
    model.a_matrix_.value_ = rows.data
    kinds = highspy.HighsVarType
    model.integrality_ = [kinds.kInteger] * n + [kinds.kContinuous] * len(by)
    return model


def _rows(count: int, columns: int, *entries: tuple[Any, Any, int]) -> sparse.coo_array:
    """Rows of a constraint matrix, from (rows, columns, value) of its entries."""
    i, j = (np.concatenate([one[axis] for one in entries]) for axis in (0, 1))
    values = np.concatenate([np.full(len(one[0]), float(one[2])) for one in entries])
    return sparse.coo_array((values, (i, j)), shape=(count, columns))
