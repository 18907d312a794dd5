"""Running a study: what is missing is shared out among processes."""

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
from noctule.errors import InputError, machine_errors, unknown_name
from noctule.evaluation.execution import MAX_PROCESSES, Report, run_jobs, usable_cores
from noctule.evaluation.settings import Settings, default_precision, workers_for
from noctule.models.load import runs_code
from noctule.processes import end_if_unguarded
from noctule.studies.checks import check_readable, check_study
from noctule.studies.folder import STUDY_FILE, StudyFolder, study_identity
from noctule.studies.group import Advance, Diverged, GroupJob, train_and_measure
from noctule.studies.spec import Member, Study, load_study
from noctule.studies.training.trainer import steps_per_epoch


@dataclass(frozen=True)
class ExecutionConfig:
    """Where and how a study runs; nothing here changes its results.

    Attributes:
        devices: As torch names them; none takes a GPU if there is one, else the CPU.
        processes: How many work at once; None is one for each GPU, or for each CPU core.
        models_at_once: The most networks that train together in a process; None is no limit.
        workers: Processes that decode, for each process; None shares out the CPU cores, or
            is 0 for images in memory.
        only: Names of networks ("shear-seed0") to run, the others being run elsewhere; empty
            is all.
    """

    devices: tuple[str, ...] = ()
    processes: int | None = None
    models_at_once: int | None = None
    workers: int | None = None
    only: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """A study that is checked and has its folder."""

    folder: StudyFolder
    train_set: Dataset
    test_set: Dataset


@machine_errors()
def run_study(
    study: Study | str | Path,
    *,
    out: str | Path | None = None,
    where: ExecutionConfig | None = None,
    on_advance: Report = lambda advance: None,
    trust: bool = False,
) -> StudyFolder:
    """Train the networks of a study and measure each on every candidate.

    Call it again after an interruption to resume it. With several processes, a
    script whose own `Dataset` is used has to guard this call by `if __name__ == "__main__":`.

    Args:
        study: A `Study`, the name of one that comes with the package, or a TOML file.
        out: The study folder; by default one under runs/ named after the study.
        where: Devices and processes; nothing in it changes the results.
        on_advance: Called with an `Advance` now and then.
        trust: Whether a function that the study names as its architecture may be imported and
            run. A file that names code is no consent to run it.

    Returns:
        The folder; `noctule.overlap_of(folder.folder)` is its overlap matrix.

    Raises:
        InputError: Something cannot be used, which is said before anything is trained, or the
            folder holds another study.
        NoctuleError: Something failed on the way; what is finished is kept.
    """
    end_if_unguarded()
    spec = study if isinstance(study, Study) else load_study(study)
    place = None if out is None else path_like(out, "out")
    prepared = prepare_study(spec, out=place, where=where, trust=trust)
    run_prepared(prepared, where=where, on_advance=on_advance)
    return prepared.folder


def prepare_study(
    study: Study,
    *,
    out: Path | None = None,
    where: ExecutionConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    trust: bool = False,
) -> Prepared:
    """Check everything, and open or resume the study's folder: nothing is trained yet.

    At a study's first start every image is read, which `progress` is told of. Of a study that
    is finished no network is built.

    Raises:
        InputError: Something cannot be used, the study names a function and `trust` is False,
            or the folder holds another study.
        OutputError: The folder cannot be written.
    """
    where = where or ExecutionConfig()
    devices = _devices(where)
    _processes(where, devices)
    _refuse_unknown(study, where.only)
    place = out or default_folder(study)
    is_begun = (place / STUDY_FILE).exists()
    is_finished = is_begun and not StudyFolder.open(place).missing()
    if not is_finished:
        _refuse_untrusted(study, trust)
    train_set, test_set = open_dataset(study.train), open_dataset(study.test)
    if not is_finished:
        check_study(study, train_set, test_set)
    device_type = devices[0].type
    auto = study.precision == "auto"
    precision = default_precision(device_type) if auto else study.precision
    identity = study_identity(
        study, train_set, test_set, device_type=device_type, precision=precision
    )
    if not is_begun:
        for dataset in (train_set, test_set):
            workers = workers_for(dataset, where.workers)
            check_readable(dataset, study.images.preprocessing(), workers, progress)
    folder = StudyFolder.create_or_resume(place, identity)
    return Prepared(folder, train_set, test_set)


def _refuse_untrusted(study: Study, trust: bool) -> None:
    named = study.architecture
    if ":" in named and runs_code(named) and not trust:
        raise InputError(
            f"its architecture is the function '{named}', which would be imported and run",
            where=study.name,
            remedy="If you trust whoever wrote it, add --trust (in Python, trust=True).",
        )


def run_prepared(
    prepared: Prepared,
    *,
    where: ExecutionConfig | None = None,
    on_advance: Report = lambda advance: None,
) -> None:
    """Train and measure every network that is missing.

    Raises:
        InputError: The loss of some network was not finite; the others are trained.
        NoctuleError: Something failed; what is finished is kept, and the next call goes on.
    """
    where = where or ExecutionConfig()
    folder = prepared.folder
    devices = _devices(where)
    wanted = _wanted(folder, where.only)
    if not wanted:
        return
    processes = _processes(where, devices)
    folder.record_start(
        provenance.collect(
            device=str(devices[0]),
            devices=[str(device) for device in devices],
            processes=processes,
            only=where.only,
        )
    )
    diverged: list[str] = []

    def listen(content: Advance | Diverged) -> None:
        if isinstance(content, Diverged):
            diverged.append(content.name)
        else:
            on_advance(content)

    workers = where.workers
    if workers is None and not prepared.train_set.in_memory:
        workers = max(1, min(8, usable_cores() // processes))
    jobs = [
        GroupJob(
            folder.folder,
            members,
            prepared.train_set,
            prepared.test_set,
            workers,
        )
        for members in groups(wanted, processes, where.models_at_once)
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
            remedy="Lower the learning rate or train in float32, in a new study; or leave the "
            "candidate out.",
        )


def groups(
    members: Sequence[Member], processes: int, models_at_once: int | None
) -> list[tuple[Member, ...]]:
    """Networks that train together: of one seed, in parts of nearly equal size.

    Each seed makes so many parts that every process gets as many: a process without work
    costs more than decoding the images once more.

    >>> members = [Member(name, seed) for seed in (0, 1) for name in (None, "rain", "shear")]
    >>> [len(group) for group in groups(members, processes=4, models_at_once=None)]
    [2, 1, 2, 1]
    """
    seeds = sorted({member.seed for member in members})
    parts_per_seed = processes // math.gcd(processes, len(seeds))
    parts: list[tuple[Member, ...]] = []
    for seed in seeds:
        mine = [member for member in members if member.seed == seed]
        count = min(len(mine), parts_per_seed)
        if models_at_once is not None:
            count = max(count, -(-len(mine) // models_at_once))
        # The k-th of every `count`: dear corruptions are spread.
        parts += [tuple(mine[k::count]) for k in range(count)]
    return parts


def default_folder(study: Study) -> Path:
    """runs/study-NAME, so that the same command finds its own study again."""
    return Path("runs") / f"study-{re.sub(r'[^A-Za-z0-9]+', '-', study.name).strip('-')}"


def work_left(folder: StudyFolder, only: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """(done, all) of "training" and "measuring", in the units of `Advance`."""
    study = folder.study
    chosen = [one for one in folder.status() if not only or str(one.member) in only]
    steps = steps_per_epoch(int(folder.identity["train"]["num_images"]), study.recipe, views=2)
    images = int(folder.identity["test"]["num_images"]) * len(study.benchmark.conditions)
    measured = sum(one.state == "measured" for one in chosen)
    return {
        "training": (
            steps * sum(one.epochs for one in chosen),
            steps * study.recipe.epochs * len(chosen),
        ),
        "measuring": (images * measured, images * len(chosen)),
    }


def _refuse_unknown(study: Study, only: Sequence[str]) -> None:
    known = {str(member) for member in study.members}
    for name in only:
        if name not in known:
            raise unknown_name("network", name, known, where="--only")


def _wanted(folder: StudyFolder, only: Sequence[str]) -> list[Member]:
    _refuse_unknown(folder.study, only)
    return [one for one in folder.missing() if not only or str(one) in only]


def _devices(where: ExecutionConfig) -> list[torch.device]:
    names = where.devices or (None,)
    devices = [_numbered(Settings(device=name).resolved_device()) for name in names]
    if len({device.type for device in devices}) > 1:
        raise InputError(
            f"{', '.join(map(str, devices))} are of several kinds",
            where="--device",
            remedy="A study runs on CPUs or on GPUs: their results differ in the last bits.",
        )
    return devices


def _numbered(device: torch.device) -> torch.device:
    """The device with its number: "cuda" is the current one."""
    if str(device) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _processes(where: ExecutionConfig, devices: Sequence[torch.device]) -> int:
    for name, value in (
        ("processes", where.processes),
        ("models_at_once", where.models_at_once),
    ):
        if value is not None:
            flag = f"--{name.replace('_', '-')}"
            whole_number(value, flag, low=1, high=MAX_PROCESSES)
    default = usable_cores() if devices[0].type == "cpu" else len(devices)
    return where.processes or default
