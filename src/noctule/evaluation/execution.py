"""Run jobs in this process, or in several processes, each with its own device.

Jobs are handed out one at a time. The first failure ends the others; finished work is on disk,
and the same command resumes it. A worker never outlives this process, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

import torch

from noctule.errors import NoctuleWarning
from noctule.processes import SILENCE_LIMIT_S, Alive, CannotStartError, Child, started

JobT = TypeVar("JobT")
MAX_PROCESSES = 1024
Report = Callable[[Any], None]
"""Called by a job with its progress."""
Function = Callable[[JobT, torch.device, Report], None]
"""Does one job on a device. For several processes, it and the jobs must be picklable."""


def usable_cores() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    function: Function[JobT],
    jobs: Sequence[JobT],
    *,
    processes: int,
    devices: Sequence[torch.device],
    threads: int,
    on_report: Report,
) -> None:
    """Do every job.

    Args:
        function: Called as `function(job, device, report)`.
        jobs: In the order in which they are started.
        processes: Number of processes; 1 is this process.
        devices: Process k works on device k modulo their number.
        threads: Threads per process for PyTorch's CPU operations.
        on_report: Called in this process with what jobs report.

    Raises:
        NoctuleError: The first error that a job raised, or a process ended by itself.
    """
    if min(processes, len(jobs)) <= 1:
        with torch_threads(threads):
            for job in jobs:
                function(job, devices[0], on_report)
        return
    count = min(processes, len(jobs))
    works = [_Work(function, devices[k % len(devices)], threads) for k in range(count)]
    try:
        # Spawned, not forked: a forked process can use neither CUDA nor inherited thread pools.
        with started(_do_jobs, works, "spawn", daemon=False) as workers:
            _serve(workers, iter(jobs), on_report)
    except CannotStartError as error:
        warnings.warn(
            f"{count} processes cannot be started: {error.what}. The work is done in this "
            "process, which takes longer.",
            NoctuleWarning,
            stacklevel=2,
        )
        run_jobs(function, jobs, processes=1, devices=devices, threads=threads,
                 on_report=on_report)  # fmt: skip


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set PyTorch's number of threads, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Work(NamedTuple):
    """The work of one process."""

    function: Function[Any]
    device: torch.device
    threads: int


class _Ready:
    """A message that asks for a job."""


class _Reported(NamedTuple):
    """A message that holds what a job reports."""

    content: Any


def _serve(workers: Sequence[Child], jobs: Iterator[Any], on_report: Report) -> None:
    """Hand out jobs and receive reports until every worker knows that no jobs are left."""
    clock_s = 0.0
    heard_at_s = dict.fromkeys(workers, clock_s)
    while heard_at_s:
        before_s = time.monotonic()
        ready = wait([worker.connection for worker in heard_at_s], timeout=1)
        # Time during which this process was stopped does not count.
        clock_s += min(time.monotonic() - before_s, 1.0)
        for worker in list(heard_at_s):
            if worker.connection not in ready:
                if clock_s - heard_at_s[worker] > SILENCE_LIMIT_S:
                    raise worker.stuck()
                continue
            heard_at_s[worker] = clock_s
            match worker.receive():
                case _Reported(content):
                    on_report(content)
                case _Ready():
                    job = next(jobs, None)
                    worker.send(job)
                    if job is None:
                        del heard_at_s[worker]


def _do_jobs(connection: Connection, work: _Work) -> None:
    """The main function of a worker process."""
    # Decoding processes that this process starts may be forked again where that is the default.
    multiprocessing.set_start_method(None, force=True)
    torch.set_num_threads(work.threads)
    if work.device.type == "cuda":
        torch.cuda.set_device(work.device)  # or the first GPU would be opened, too
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            connection.send(message)

    threading.Thread(target=_show_life, args=(send,), daemon=True).start()
    send(_Ready())
    while (job := connection.recv()) is not None:
        work.function(job, work.device, lambda content: send(_Reported(content)))
        send(_Ready())


def _show_life(send: Callable[[object], None]) -> None:
    with suppress(OSError):  # nobody listens any more
        while True:
            send(Alive())
            time.sleep(SILENCE_LIMIT_S / 6)
