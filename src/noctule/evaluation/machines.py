"""The devices of one machine: which ones to use, and a process for each of several."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from noctule.errors import InputError, NoctuleWarning
from noctule.evaluation.execution import MAX_PROCESSES, Report, run_jobs, usable_cores
from noctule.evaluation.lockstep import Lane, fill_runs
from noctule.evaluation.loop import Loop
from noctule.evaluation.settings import Progress, Settings, workers_for
from noctule.evaluation.sharing import Rank, Shard
from noctule.evaluation.sources import ImageSource
from noctule.models.borrowed import borrowed
from noctule.remote import AnyPath, refuse_private
from noctule.store import RunIdentity, RunStore

ALL = "all"
ONLY = Rank()


def chosen_devices(names: Sequence[str], rank: Rank = ONLY) -> list[str]:
    """The devices of this process, one for each process that it is to start if it is not one.

    A rank has one device: of several that are named, or of all GPUs, the one of its number on
    its machine.

    Args:
        names: Devices such as "cpu" and "cuda:1", the same one any number of times, or "all"
            for all GPUs; none for a GPU if there is one.
        rank: The number of this process, if a launcher started it.

    Returns:
        At least one device.

    Raises:
        InputError: There is no such device, or they are of several types.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if ALL in names and not gpus:
        raise InputError(
            "there is no GPU",
            where="--device all",
            remedy="For two processes on a CPU, use --device cpu --device cpu.",
        )
    spread = rank.total > 1 and gpus and set(names) <= {"cuda"}
    listed = gpus if spread else [one for name in names for one in _named(name, gpus)]
    wanted: Sequence[str | None] = listed or [None]
    devices = [str(Settings(device=name).resolved_device()) for name in wanted]
    if len({torch.device(name).type for name in devices}) > 1:
        raise InputError(
            f"{', '.join(devices)} are of several types, which round differently",
            where="--device",
            remedy="Use CPUs or GPUs only.",
        )
    if len(devices) > MAX_PROCESSES:
        raise InputError(
            f"{len(devices):,} processes, and {MAX_PROCESSES:,} are allowed", where="--device"
        )
    return [devices[rank.local % len(devices)]] if rank.total > 1 else devices


def _named(name: str, gpus: list[str]) -> list[str]:
    return gpus if name == ALL else [name]


class _Warned(NamedTuple):
    """The report of a warning."""

    text: str


@dataclass(frozen=True)
class Processes:
    """Processes that fill a run folder together, each on a device of its own.

    Attributes:
        reopen: Called as `reopen(device)` in each process: the source of its images, with the
            classifier. It must be picklable.
        devices: The device of each process.
    """

    reopen: Callable[[str], ImageSource]
    devices: Sequence[str]

    def fill(
        self, folder: AnyPath, identity: RunIdentity, shard: Shard, progress: Progress | None
    ) -> None:
        """Start the processes, and wait until no slice of the shard is missing.

        Raises:
            NoctuleError: The first error in one of them, which ends the others.
        """
        refuse_private(folder)
        furthest = 0

        def on_report(content: Any) -> None:
            nonlocal furthest
            if isinstance(content, _Warned):
                warnings.warn(content.text, NoctuleWarning, stacklevel=2)
            elif progress and content[0] > furthest:
                furthest = content[0]
                progress(*content)

        count = len(self.devices)
        with RunStore.writing(folder, identity):  # to clear up after processes that are killed
            run_jobs(
                functools.partial(fill_part, self.reopen, folder, count),
                [shard] * count,
                processes=count,
                devices=[torch.device(name) for name in self.devices],
                threads=max(1, usable_cores() // count),
                on_report=on_report,
            )


def fill_part(
    reopen: Callable[[str], ImageSource],
    folder: AnyPath,
    processes: int,
    shard: Shard,
    device: torch.device,
    report: Report,
) -> None:
    """The work of one of several processes: fill what is missing, and what nobody else does.

    Args:
        reopen: See `Processes`.
        folder: The run folder.
        processes: Number of processes that share the cores of this machine.
        shard: The part of the run to fill.
        device: Device of this process.
        report: Called with the progress and with warnings.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoctuleWarning)  # the first process has shown them
        source = reopen(str(device))
    workers = workers_for(source.dataset, source.settings.workers, processes)
    source.settings = replace(source.settings, workers=workers)
    with borrowed(source.classifier, device) as device:
        loop = Loop(source, device)
        run = RunStore.find(folder, source.identity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoctuleWarning)
            lane = Lane(loop, folder, loop.checked_behaviour(run), run, shard)
        with _reported_warnings(report):
            fill_runs([lane], shard, lambda *numbers: report(numbers))


@contextmanager
def _reported_warnings(report: Report) -> Iterator[None]:
    def show(
        message: Warning | str, category: type[Warning], *rest: Any, **options: Any
    ) -> None:
        if issubclass(category, NoctuleWarning):
            report(_Warned(str(message)))
        else:
            show_default(message, category, *rest, **options)

    with warnings.catch_warnings():
        show_default = warnings.showwarning
        warnings.showwarning = show
        yield
