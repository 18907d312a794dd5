"""Where work runs: in this process, or in several, each with a device of its own.

Jobs are handed out one at a time. The first failure ends the others: what they finished is on
disk, and the same command goes on from there. A worker never outlives this process, however it
ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

import torch

from noctule.errors import NoctuleError

JobT = TypeVar("JobT")
Report = Callable[[Any], None]
"""Called by a job with whatever there is to say of its progress."""
Function = Callable[[JobT, torch.device, Report], None]
"""Does one job on a device. For several processes it and the jobs must be picklable."""

_READY, _REPORT, _FAILED = "ready", "report", "failed"


def usable_cores() -> int:
    """How many processors this process may use."""
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
        function: called as `function(job, device, report)`.
        jobs: in the order they are started in.
        processes: how many work at once; 1 is this process.
        devices: process k works on device k modulo their number.
        threads: of each process, for PyTorch's operations on a CPU.
        on_report: called in this process with what jobs report.

    Raises:
        NoctuleError: the first that a job raised, or a process that ended by itself.
    """
    if min(processes, len(jobs)) <= 1:
        with torch_threads(threads):
            for job in jobs:
                function(job, devices[0], on_report)
        return
    workers: dict[Connection, SpawnProcess] = {}
    try:
        for number in range(min(processes, len(jobs))):
            connection, process = _start(function, devices[number % len(devices)], threads)
            workers[connection] = process
        _serve(workers, iter(jobs), on_report)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch with so many threads, then as it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start(
    function: Function[Any], device: torch.device, threads: int
) -> tuple[Connection, SpawnProcess]:
    # Spawned and not forked: a forked process cannot use CUDA, nor another's thread pools.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, str(device), threads))
    with _interrupts_held():
        process.start()
    theirs.close()
    return ours, process


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile; a process that is started inherits this for good."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    workers: dict[Connection, SpawnProcess], jobs: Iterator[Any], on_report: Report
) -> None:
    """Hand out jobs and listen, until every worker has been told that there are no more."""
    while workers:
        for connection in wait(list(workers)):
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
                if kind == _READY:
                    job = next(jobs, None)
                    connection.send(job)
            except (EOFError, OSError) as error:
                raise _ended_by_itself(workers[connection]) from error
            if kind == _REPORT:
                on_report(content)
            elif kind == _FAILED:
                raise content
            elif job is None:
                workers.pop(connection).join()


def _ended_by_itself(process: SpawnProcess) -> NoctuleError:
    process.join()
    again = "What is finished is kept: give the same command again to go on."
    if process.exitcode == -9:
        again = (
            "If nobody killed it, the memory was exhausted: use fewer --processes or "
            f"--models-at-once. {again}"
        )
    return NoctuleError(
        f"a worker process ended with exit code {process.exitcode}", remedy=again
    )


def _work(connection: Connection, function: Function[Any], device: str, threads: int) -> None:
    """The life of a worker process."""
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What this process starts in turn, to decode, may be forked again where that is usual.
    multiprocessing.set_start_method(None, force=True)
    end_with_parent()
    torch.set_num_threads(threads)
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)  # or the first GPU would be opened, too

    def report(content: object) -> None:
        connection.send((_REPORT, content))

    connection.send((_READY, None))
    while (job := connection.recv()) is not None:
        try:
            function(job, torch.device(device), report)
        except NoctuleError as error:
            # Of the exception itself only the message is sure to survive the way.
            connection.send((_FAILED, NoctuleError(str(error))))
            return
        connection.send((_READY, None))


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does, however that happens."""

    def wait_for_it() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()
