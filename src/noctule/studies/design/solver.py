"""A script that solves integer programmes with HiGHS and communicates through pipes.

HiGHS may ignore time limits and interrupts for a minute, and its threads cannot be ended; a
process can. `programme.py` runs this file as a script, which imports no other module of noctule
and starts quickly. A request is a pickled `SolverRequest`. The answers are pickled tuples:
("state", best, possible, chosen or None) repeatedly, and finally ("end", status, possible,
chosen or None). The script ends when its input is closed.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from typing import Any, BinaryIO, TypedDict

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_REPORT_S = 0.1  # interval between reports of the state


class SolverRequest(TypedDict):
    """A programme; see `noctule.studies.design.programme.Programme`."""

    shares: NDArray[np.float64]
    conflicts: NDArray[np.bool_]
    sizes: tuple[int, int]
    reward: float
    excluded: list[tuple[int, ...]]
    fixed: dict[int, bool]
    start: tuple[int, ...]


def solve(request: SolverRequest, answers: BinaryIO) -> None:
    """Solve one programme, and write its states and its end."""
    n, last, incumbent = len(request["shares"]), 0.0, None
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (("output_flag", False), ("mip_rel_gap", 0.0), ("mip_abs_gap", 0.0),
                          ("threads", 1)):  # fmt: skip
        highs.setOptionValue(option, value)
    highs.passModel(model_of(request))
    if request["start"]:
        values = np.zeros(n)
        values[list(request["start"])] = 1
        highs.setSolution(n, np.arange(n, dtype=np.int32), values)

    def improved(event: Any) -> None:
        nonlocal incumbent
        incumbent = _chosen(event.data_out.mip_solution, n)
        report(event, immediately=True)

    def report(event: Any, *, immediately: bool = False) -> None:
        nonlocal last
        if immediately or time.monotonic() - last >= _REPORT_S:
            last, out = time.monotonic(), event.data_out
            _write(answers, ("state", out.mip_primal_bound, out.mip_dual_bound, incumbent))

    highs.cbMipImprovingSolution.subscribe(improved)
    highs.cbMipInterrupt.subscribe(report)
    highs.run()
    info, chosen = highs.getInfo(), None
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        chosen = _chosen(highs.getSolution().col_value, n)
    status = highs.getModelStatus().name.removeprefix("k")
    _write(answers, ("end", status, float(info.mip_dual_bound), chosen))


def model_of(request: SolverRequest) -> highspy.HighsLp:
    """The programme in the format of HiGHS: first the x of each candidate, then the y."""
    shares, n = request["shares"], len(request["shares"])
    by, covered = np.nonzero(shares > 0)
    pairs = np.argwhere(np.triu(request["conflicts"]))
    columns = n + len(by)
    y = np.arange(n, columns)
    share_rows, pair_rows = np.arange(len(by)), np.arange(len(pairs))
    rows = sparse.vstack(
        [
            _rows(len(by), columns, (share_rows, y, 1), (share_rows, by, -1)),
            _rows(n, columns, (covered, y, 1)),
            _rows(1, columns, (np.zeros(n, dtype=int), np.arange(n), 1)),
            _rows(len(pairs), columns, *((pair_rows, end, 1) for end in pairs.T)),
            *(_rows(1, columns, ([0] * len(names), names, 1)) for names in request["excluded"]),
        ]
    ).tocsr()
    smallest, largest = request["sizes"]
    lower = np.full(rows.shape[0], -highspy.kHighsInf)
    lower[len(by) + n] = smallest
    most = [len(names) - 1.0 for names in request["excluded"]]
    upper = [0.0] * len(by) + [1.0] * n + [largest] + [1.0] * len(pairs) + most
    ends = np.zeros(columns), np.ones(columns)
    for candidate, chosen in request["fixed"].items():
        ends[0][candidate] = ends[1][candidate] = float(chosen)
    model = highspy.HighsLp()
    model.sense_ = highspy.ObjSense.kMaximize
    model.num_col_, model.num_row_ = columns, rows.shape[0]
    model.col_cost_ = np.concatenate([np.full(n, request["reward"]), shares[by, covered]])
    model.col_lower_, model.col_upper_ = ends
    model.row_lower_, model.row_upper_ = lower, np.array(upper)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = rows.indptr, rows.indices
    model.a_matrix_.value_ = rows.data
    kinds = highspy.HighsVarType
    model.integrality_ = [kinds.kInteger] * n + [kinds.kContinuous] * len(by)
    return model


def _rows(count: int, columns: int, *entries: tuple[Any, Any, int]) -> sparse.coo_array:
    """Rows of a constraint matrix, from (rows, columns, value) of its entries."""
    i, j = (np.concatenate([entry[axis] for entry in entries]) for axis in (0, 1))
    values = np.concatenate([np.full(len(entry[0]), float(entry[2])) for entry in entries])
    return sparse.coo_array((values, (i, j)), shape=(count, columns))


def _chosen(values: Any, n: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(np.asarray(values[:n]) > 0.5))


def _write(answers: BinaryIO, answer: tuple[Any, ...]) -> None:
    pickle.dump(answer, answers)
    answers.flush()


def main() -> None:
    """Solve programmes until the input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # HiGHS prints a banner
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(0)  # even during a search
        threading.Thread(target=solve, args=(request, answers), daemon=True).start()


if __name__ == "__main__":
    main()
