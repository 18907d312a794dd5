"""The work of one process: train networks in lockstep, then measure them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from filelock import FileLock, Timeout

from noctule._version import __version__
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.execution import Report
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings, workers_for
from noctule.evaluation.sources import LiveImages
from noctule.models.load import runs_code
from noctule.models.sources.trained import load_trained, trained_bytes, training_record
from noctule.store.disk import output_errors, remove_temporaries, write_atomically
from noctule.studies.folder import TEST_SEED, StudyFolder
from noctule.studies.spec import Member
from noctule.studies.training.checkpoint import (
    checkpoints,
    load_checkpoint,
    remove,
    save_checkpoint,
)
from noctule.studies.training.trainer import TrainingConfig, TrainingRun, init_run, train


class Advance(NamedTuple):
    """A progress report.

    Attributes:
        kind: "training" or "measuring".
        amount: Number of steps (training) of a network, or number of test images times
            conditions (measuring), that were done since the last report.
    """

    kind: Literal["training", "measuring"]
    amount: int


class Diverged(NamedTuple):
    """The report that a network has diverged; the others continue.

    Attributes:
        name: Name of the network, whose loss was not finite.
    """

    name: str


@dataclass(frozen=True)
class GroupJob:
    """Networks of one seed that train in lockstep and are then measured.

    Attributes:
        folder: Folder of the study.
        members: Networks.
        train: Training images.
        test: Test images.
        workers: Number of decoding processes; None for the default.
    """

    folder: Path
    members: tuple[Member, ...]
    train: Dataset
    test: Dataset
    workers: int | None


def train_and_measure(job: GroupJob, device: torch.device, report: Report) -> None:
    """Train the networks of a group, write their weights, and measure them.

    Args:
        job: Group of networks.
        device: Device on which to run.
        report: Called with `Advance` repeatedly, and with `Diverged`.
    """
    folder = StudyFolder.open(job.folder)
    with ExitStack() as locks:
        for member in job.members:
            locks.callback(_locked(folder, member).release)
        diverged = _train_group(folder, job, device, report)
        for member in job.members:
            if str(member) in diverged:
                report(Diverged(str(member)))
            else:
                _measure(folder, member, job, device, report)


def _train_group(
    folder: StudyFolder, job: GroupJob, device: torch.device, report: Report
) -> list[str]:
    """Train networks that are not trained yet; return the names of those that diverged."""
    study = folder.study
    config = TrainingConfig(
        dataset=job.train,
        preprocessing=study.images.preprocessing(),
        recipe=study.recipe,
        seed=job.members[0].seed,
        device=device,
        precision=folder.identity["precision"],
        workers=workers_for(job.train, job.workers),
        compiled=study.compiled,
        channels_last=not runs_code(study.architecture),
    )
    members: dict[str, Member] = {}
    for member in job.members:
        path = folder.model_folder(member)
        remove_temporaries(path)
        if folder.weights(member).is_file():
            _check_weights(folder, member)
            remove(*checkpoints(path))  # left if killed after writing the weights
        else:
            members[str(member)] = member
    runs = [_resumed(folder, member, config) for member in members.values()]

    def save(run: TrainingRun) -> None:
        member = members[run.name]
        if len(run.losses) < study.recipe.epochs:
            save_checkpoint(folder.model_folder(member), run, _network(folder, member))
        else:
            _save_weights(folder, member, run, config)

    diverged = train(
        runs,
        config,
        after_epoch=save,
        after_step=lambda trained: report(Advance("training", trained)),
    )
    return [run.name for run in diverged]


def _check_weights(folder: StudyFolder, member: Member) -> None:
    """Reject a weights file that does not belong to this study and network."""
    path = folder.weights(member)
    remedy = "Delete it to train this network again."
    try:
        record = training_record(path)
    except InputError as error:
        raise InputError(error.what, where=path, remedy=remedy) from error
    if (record.get("member"), record.get("study")) != (str(member), dict(folder.identity)):
        raise InputError("contains another network", where=path, remedy=remedy)


def _resumed(folder: StudyFolder, member: Member, config: TrainingConfig) -> TrainingRun:
    study, classes = folder.study, len(config.dataset.class_names)
    run = init_run(
        str(member),
        member.views,
        lambda: study.untrained(classes),
        config,
    )
    load_checkpoint(folder.model_folder(member), run, _network(folder, member))
    return run


def _network(folder: StudyFolder, member: Member) -> str:
    """The identity of a network, for its checkpoints: its study, candidate and seed."""
    return json.dumps([str(member), folder.identity], sort_keys=True)


def _save_weights(
    folder: StudyFolder, member: Member, run: TrainingRun, config: TrainingConfig
) -> None:
    record: dict[str, Any] = {
        "architecture": folder.study.architecture,
        "model_args": folder.study.model_args,
        "class_names": list(config.dataset.class_names),
        "preprocessing": config.preprocessing.to_dict(),
        "member": str(member),
        "losses": run.losses,
        "noctule_version": __version__,
        "study": dict(folder.identity),
    }
    path = folder.weights(member)
    with output_errors(path):
        write_atomically(path, trained_bytes(run.module, record))
    remove(*checkpoints(folder.model_folder(member)))


def _measure(
    folder: StudyFolder, member: Member, job: GroupJob, device: torch.device, report: Report
) -> None:
    classifier = load_trained(
        folder.weights(member), name=str(member), architecture=folder.study.architecture
    )
    done = 0

    def advance(images: int, total: int) -> None:
        nonlocal done
        report(Advance("measuring", images - done))
        done = images

    settings = Settings(
        seed=TEST_SEED,
        device=str(device),
        workers=job.workers,
        precision=folder.identity["precision"],
        # In a study, accuracy near chance is a result and not a mistake.
        self_check=False,
    )
    source = LiveImages(classifier, job.test, folder.study.benchmark, settings)
    run_images(source, out=folder.run_folder(member), progress=advance)


def _locked(folder: StudyFolder, member: Member) -> FileLock:
    path = folder.model_folder(member)
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"another process is working on '{member}'",
                where=folder.folder,
                remedy="Wait until it ends, or divide the work with --only.",
            ) from error
    return lock
