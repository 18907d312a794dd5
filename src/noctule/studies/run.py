"""Running a study: unfinished networks are distributed among processes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from noctule import provenance
from noctule.arguments import path_like, whole_number
from noctule.data import Dataset, open_dataset
from noctule.display import notebook_work
from noctule.errors import InputError, machine_errors, unknown_name
from noctule.evaluation.execution import MAX_PROCESSES, Report, run_jobs, usable_cores
from noctule.evaluation.settings import Settings, default_precision, workers_for
from noctule.models.load import runs_code
from noctule.processes import end_if_unguarded
from noctule.store.disk import refuse_unwritable
from noctule.studies.checks import check_readable, check_study
from noctule.studies.folder import STUDY_FILE, StudyFolder, study_identity
from noctule.studies.group import Advance, Diverged, GroupJob, train_and_measure
from noctule.studies.spec import Member, Study, load_study
from noctule.studies.training.trainer import steps_per_epoch


@dataclass(frozen=True)
class ExecutionConfig:
    """Devices and processes of a study, which do not change its results.

    Attributes:
        devices: Devices in torch's notation; by default a GPU if there is one, else the CPU.
        processes: Number of processes; by default one for each GPU, or for each CPU core.
        models_at_once: Largest number of networks that train together in a process; None for no
            limit.
        workers: Number of decoding processes of each process; by default, CPU cores are
            distributed evenly, and images in memory have none.
        only: Names of the networks to run, such as "shear-seed0"; by default all.
    """

    devices: tuple[str, ...] = ()
    processes: int | None = None
    models_at_once: int | None = None
    workers: int | None = None
    only: tuple[str, ...] = ()


class PreparedStudy(NamedTuple):
    """A study that has been checked, with its folder and datasets."""

    folder: StudyFolder
    train_set: Dataset
    test_set: Dataset


@machine_errors()
def run_study(
    study: Study | str | Path,
    *,
    out: str | Path | None = None,
    execution: ExecutionConfig | None = None,
    on_advance: Report | None = None,
    trust: bool = False,
) -> StudyFolder:
    """Train the networks of a study and measure each under every candidate.

    If it is interrupted, call it again to resume it. If it runs in several processes, a script
    that defines its own `Dataset` must guard this call by `if __name__ == "__main__":`.

    Args:
        study: A `Study`, the name of a study of the package, or the path of a TOML file.
        out: Folder of the study; by default a folder in runs/ that is named after the study.
        execution: Devices and processes, which do not change the results.
        on_advance: Called with `Advance` reports; by default a notebook shows bars.
        trust: Whether a function that the study names as its architecture may be imported and
            run.

    Returns:
        The folder; `noctule.overlap_of(folder.folder)` is its overlap matrix.

    Raises:
        InputError: An input is unsuitable, which is found before any network is trained, or the
            folder contains another study.
        NoctuleError: Training or measuring failed; finished work is kept.
    """
    end_if_unguarded()
    spec = study if isinstance(study, Study) else load_study(study)
    folder = None if out is None else path_like(out, "out")
    prepared = prepare_study(spec, out=folder, execution=execution, trust=trust)
    only = () if execution is None else execution.only
    with notebook_work(on_advance, lambda: work_left(prepared.folder, only)) as advance:
        run_prepared(prepared, execution=execution, on_advance=advance)
    return prepared.folder


def prepare_study(
    study: Study,
    *,
    out: Path | None = None,
    execution: ExecutionConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    trust: bool = False,
    dry_run: bool = False,
) -> PreparedStudy:
    """Check a study and create or open its folder, without training anything.

    When a study starts for the first time, every image is decoded, which `progress` reports. If
    it is finished, no network is built. With `dry_run`, nothing is written.

    Raises:
        InputError: An input is unsuitable, the study names a function and `trust` is False, or
            the folder contains another study.
        OutputError: The folder cannot be written.
    """
    execution = execution or ExecutionConfig()
    devices = _devices(execution)
    _processes(execution, devices)
    _reject_unknown(study, execution.only)
    path = out or default_folder(study)
    is_begun = (path / STUDY_FILE).exists()
    is_finished = is_begun and not StudyFolder.open(path).missing()
    if not is_finished:
        _reject_untrusted(study, trust)
    train_set, test_set = open_dataset(study.train), open_dataset(study.test)
    if not is_finished:
        check_study(study, train_set, test_set)
    device_type = devices[0].type
    auto = study.precision == "auto"
    precision = default_precision(device_type) if auto else study.precision
    identity = study_identity(
        study, train_set, test_set, device_type=device_type, precision=precision
    )
    folder = StudyFolder.find(path, identity)
    if dry_run:
        refuse_unwritable(path)
    if folder is None:
        for dataset in (train_set, test_set):
            workers = workers_for(dataset, execution.workers)
            check_readable(dataset, study.images.preprocessing(), workers, progress)
        planned = StudyFolder(path, study, identity)
        folder = planned if dry_run else StudyFolder.create_or_resume(path, identity)
    return PreparedStudy(folder, train_set, test_set)


def _reject_untrusted(study: Study, trust: bool) -> None:
    name = study.architecture
    if ":" in name and runs_code(name) and not trust:
        raise InputError(
            f"its architecture is the function '{name}', which would be imported and run",
            where=study.name,
            remedy="If you trust its author, add --trust (in Python, trust=True).",
        )


def run_prepared(
    prepared: PreparedStudy,
    *,
    execution: ExecutionConfig | None = None,
    on_advance: Report = lambda advance: None,
) -> None:
    """Train and measure all networks that are not measured yet.

    Raises:
        InputError: The loss of a network was not finite; the others are trained.
        NoctuleError: Training or measuring failed; finished work is kept, and another call
            resumes it.
    """
    execution = execution or ExecutionConfig()
    folder = prepared.folder
    devices = _devices(execution)
    members = _unfinished(folder, execution.only)
    if not members:
        return
    processes = _processes(execution, devices)
    folder.record_start(
        provenance.collect(
            device=str(devices[0]),
            devices=[str(device) for device in devices],
            processes=processes,
            only=execution.only,
        )
    )
    diverged: list[str] = []

    def listen(content: Advance | Diverged) -> None:
        if isinstance(content, Diverged):
            diverged.append(content.name)
        else:
            on_advance(content)

    workers = execution.workers
    if workers is None and not prepared.train_set.in_memory:
        workers = workers_for(prepared.train_set, None, processes)
    jobs = [
        GroupJob(folder.folder, group, prepared.train_set, prepared.test_set, workers)
        for group in groups(members, processes, execution.models_at_once)
    ]
    run_jobs(
        train_and_measure,
        jobs,
        processes=processes,
        devices=devices,
        threads=folder.study.threads,
        on_report=listen,
    )
    if diverged:
        raise InputError(
            f"the loss of {', '.join(sorted(diverged))} is not finite; the others are trained",
            where=folder.folder,
            remedy="Start a new study with a lower learning rate, in float32, or without the "
            "candidate.",
        )


def groups(
    members: Sequence[Member], processes: int, models_at_once: int | None
) -> list[tuple[Member, ...]]:
    """Divide networks into groups that train together: of one seed, of nearly equal size.

    The number of groups is a multiple of the number of processes, because an idle process costs
    more than decoding the images again.

    >>> members = [Member(name, seed) for seed in (0, 1) for name in (None, "rain", "shear")]
    >>> [len(group) for group in groups(members, processes=4, models_at_once=None)]
    [2, 1, 2, 1]
    """
    seeds = sorted({member.seed for member in members})
    parts_per_seed = processes // math.gcd(processes, len(seeds))
    parts: list[tuple[Member, ...]] = []
    for seed in seeds:
        of_seed = [member for member in members if member.seed == seed]
        count = min(len(of_seed), parts_per_seed)
        if models_at_once is not None:
            count = max(count, -(-len(of_seed) // models_at_once))
        # Every `count`-th network, so that slow corruptions are spread evenly.
        parts += [tuple(of_seed[k::count]) for k in range(count)]
    return parts


def default_folder(study: Study) -> Path:
    """runs/study-NAME, so that the same command resumes the study."""
    return Path("runs") / f"study-{re.sub(r'[^A-Za-z0-9]+', '-', study.name).strip('-')}"


def work_left(folder: StudyFolder, only: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """(done, total) of "training" and "measuring", in the units of `Advance`."""
    study = folder.study
    statuses = [status for status in folder.status() if not only or str(status.member) in only]
    steps = steps_per_epoch(int(folder.identity["train"]["num_images"]), study.recipe, views=2)
    images = int(folder.identity["test"]["num_images"]) * len(study.benchmark.conditions)
    measured = sum(status.state == "measured" for status in statuses)
    return {
        "training": (
            steps * sum(status.epochs for status in statuses),
            steps * study.recipe.epochs * len(statuses),
        ),
        "measuring": (images * measured, images * len(statuses)),
    }


def _reject_unknown(study: Study, only: Sequence[str]) -> None:
    known = {str(member) for member in study.members}
    for name in only:
        if name not in known:
            raise unknown_name("network", name, known, where="--only")


def _unfinished(folder: StudyFolder, only: Sequence[str]) -> list[Member]:
    _reject_unknown(folder.study, only)
    return [member for member in folder.missing() if not only or str(member) in only]


def _devices(execution: ExecutionConfig) -> list[torch.device]:
    names = execution.devices or (None,)
    devices = [_numbered(Settings(device=name).resolved_device()) for name in names]
    if len({device.type for device in devices}) > 1:
        raise InputError(
            f"{', '.join(map(str, devices))} are of different types",
            where="--device",
            remedy="Use either CPUs or GPUs, because the last bits of their results differ.",
        )
    return devices


def _numbered(device: torch.device) -> torch.device:
    """The device with its index: "cuda" is the current device."""
    if str(device) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _processes(execution: ExecutionConfig, devices: Sequence[torch.device]) -> int:
    for flag, value in (
        ("--processes", execution.processes),
        ("--models-at-once", execution.models_at_once),
    ):
        if value is not None:
            whole_number(value, flag, low=1, high=MAX_PROCESSES)
    default = usable_cores() if devices[0].type == "cpu" else len(devices)
    return execution.processes or default
