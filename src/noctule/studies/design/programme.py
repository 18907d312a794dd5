"""The integer programme of the exact method."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctule.errors import NoctuleError

# Interval at which a waiting process reports progress, checks the time and can be interrupted.
_POLL_S = 0.1


class Search(NamedTuple):
    """The progress of a search for the best set.

    Attributes:
        best: Largest objective found so far; minus infinity before the first set.
        possible: Upper bound of the objective; infinite before one is known.
        seconds: Time since the start of the search, in seconds.
    """

    best: float
    possible: float
    seconds: float

    def __str__(self) -> str:
        """The progress as text, if the objective is a coverage."""
        best = "nothing" if self.best < 0 else f"coverage {self.best:.3f}"
        return f"{best} found, at most {self.possible:.3f} possible, {self.seconds:.0f} s"


OnSearch = Callable[[Search], None]


class Deadline:
    """A time limit that several searches share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, at least 0; infinite without a limit."""
        return float("inf") if self._end is None else max(0.0, self._end - time.monotonic())


class Solution(NamedTuple):
    """The result of a search.

    Attributes:
        chosen: Indices of the candidates, ascending; None if time ran out before any set.
        possible: Upper bound of the objective.
        proven: Whether the set is proven to be the best, up to the tolerance of the solver.
    """

    chosen: tuple[int, ...] | None
    possible: float
    proven: bool


class Programme:
    """Choose candidates without conflicts.

    The variables are x_b, whether b is chosen, and y_bc, the share of c that counts as covered
    by b: maximise Σ Ō(b, c) · y_bc subject to y_bc ≤ x_b, Σ_b y_bc ≤ 1, x_a + x_b ≤ 1 for pairs
    in conflict, and Σ x_b within the allowed sizes. Shares of 0 need no y.
    """

    def __init__(
        self,
        shares: NDArray[np.float64],
        conflicts: NDArray[np.bool_],
        sizes: tuple[int, int],
        *,
        reward: float = 0.0,
    ) -> None:
        """Set up the programme.

        Args:
            shares: Ō, the share of the column that the row covers, (n, n).
            conflicts: Pairs that may not be chosen together, (n, n).
            sizes: Smallest and largest size of the set.
            reward: Constant that each chosen candidate adds to the objective.
        """
        self._request: dict[str, Any] = {
            "shares": shares, "conflicts": conflicts, "sizes": sizes, "reward": reward,
            "excluded": [], "fixed": {}, "start": (),
        }  # fmt: skip

    def start_from(self, chosen: Sequence[int]) -> None:
        """Set a feasible set from which the solver starts."""
        self._request["start"] = tuple(chosen)

    def exclude(self, chosen: Sequence[int]) -> None:
        """Exclude this set and all sets that contain it."""
        self._request["excluded"].append(tuple(chosen))
        self._request["start"] = ()

    def fix(self, candidate: int, *, chosen: bool) -> None:
        """Require that a candidate is chosen, or that it is not."""
        self._request["fixed"][candidate] = chosen

    def solve(self, deadline: Deadline, on_search: OnSearch | None = None) -> Solution | None:
        """Search for the best set; None if there is no feasible set.

        The solver runs in a separate process, so that Ctrl-C and the deadline end it
        immediately.
        """
        with _solver.lock:
            return self._solve(deadline, on_search)

    def _solve(self, deadline: Deadline, on_search: OnSearch | None) -> Solution | None:
        begun = time.monotonic()
        latest = Search(-np.inf, np.inf, 0.0)
        chosen = self._request["start"] or None
        try:
            answers = _solver.ask(self._request)
            while deadline.left_s():
                try:
                    kind, *answer = answers.get(timeout=min(_POLL_S, deadline.left_s()))
                except queue.Empty:
                    kind = "none"
                if kind == "end":
                    return _solution(*answer)
                if kind == "state":
                    chosen = answer[2] or chosen
                    latest = Search(answer[0], answer[1], 0.0)
                if on_search is not None:
                    on_search(latest._replace(seconds=time.monotonic() - begun))
        except BaseException:
            _solver.stop()
            raise
        _solver.stop()
        return Solution(chosen, latest.possible, False)


def _solution(status: str, possible: float, chosen: tuple[int, ...] | None) -> Solution | None:
    if status == "Infeasible":
        return None
    if status != "Optimal":
        raise NoctuleError(
            f"the integer programme solver failed: {status}",
            remedy="Use --method greedy, or fewer candidates.",
        )
    return Solution(chosen, possible, True)


class _Solver:
    """The process of `solver.py`, which is started when it is needed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._parent = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def ask(self, request: dict[str, Any]) -> queue.SimpleQueue[tuple[Any, ...]]:
        """Send a programme; the answers arrive in the queue."""
        forked = self._parent != os.getpid()
        if forked or self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is reported in the queue
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
        return self._answers

    def stop(self) -> None:
        """Kill the process."""
        if self._process is None or self._parent != os.getpid():
            return
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # unread data
            self._process.stdin.close()
        self._process = None

    def _start(self) -> None:
        self._parent, self._answers = os.getpid(), queue.SimpleQueue()
        # -P, so that modules are not imported from the folder of the script.
        command = [sys.executable, "-P", str(Path(__file__).with_name("solver.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(
            target=_receive, args=(self._process, self._answers), daemon=True
        ).start()


def _receive(
    process: subprocess.Popen[bytes], answers: queue.SimpleQueue[tuple[Any, ...]]
) -> None:
    """Put the answers of a process, and its end, into a queue."""
    assert process.stdout is not None
    with process.stdout as stream:
        try:
            while True:
                answers.put(pickle.load(stream))
        except (EOFError, OSError, pickle.UnpicklingError):
            status = f"its process ended with status {process.wait()}"
            answers.put(("end", status, np.inf, None))


_solver = _Solver()
atexit.register(_solver.stop)
