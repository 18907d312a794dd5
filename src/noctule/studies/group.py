"""The work of one process: networks that train in lockstep, and are then measured."""

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
from noctule.models.load import build_untrained, runs_code
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
    """What there is to say of progress.

    Attributes:
        kind: "training" (counted in steps of a network) or "measuring" (in test images of a
            network, over all conditions).
        amount: How many more are done.
    """

    kind: Literal["training", "measuring"]
    amount: int


class Diverged(NamedTuple):
    """Says that a network cannot be trained, without stopping the others.

    Attributes:
        name: Of the network, whose loss was not finite.
    """

    name: str


@dataclass(frozen=True)
class GroupJob:
    """Networks of one seed that train in lockstep and are then measured; picklable."""

    folder: Path
    members: tuple[Member, ...]
    train: Dataset
    test: Dataset
    workers: int | None


def train_and_measure(job: GroupJob, device: torch.device, report: Report) -> None:
    """Bring the networks of one group to their end: weights, then rows.

    Args:
        job: The group.
        device: Where to.
        report: Called with `Advance` now and then, and with `Diverged`.
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
    """Train what is not trained yet; the names of networks whose loss is not finite."""
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
        place = folder.model_folder(member)
        remove_temporaries(place)
        if folder.weights(member).is_file():
            _check_weights(folder, member)
            remove(*checkpoints(place))  # a kill came between
        else:
            members[str(member)] = member
    runs = [_enrolled(folder, member, config) for member in members.values()]

    def keep(run: TrainingRun) -> None:
        member = members[run.name]
        if len(run.losses) < study.recipe.epochs:
            save_checkpoint(folder.model_folder(member), run, _network(folder, member))
        else:
            _save_weights(folder, member, run, config)

    diverged = train(
        runs,
        config,
        after_epoch=keep,
        after_step=lambda trained: report(Advance("training", trained)),
    )
    return [run.name for run in diverged]


def _check_weights(folder: StudyFolder, member: Member) -> None:
    """Refuse a weights file that this study has not written for this network."""
    path = folder.weights(member)
    remedy = "Delete it, and this network is trained again."
    try:
        record = training_record(path)
    except InputError as error:
        raise InputError(error.what, where=path, remedy=remedy) from error
    if (record.get("member"), record.get("study")) != (str(member), dict(folder.identity)):
        raise InputError("holds another network", where=path, remedy=remedy)


def _enrolled(folder: StudyFolder, member: Member, config: TrainingConfig) -> TrainingRun:
    study, classes = folder.study, len(config.dataset.class_names)
    run = init_run(
        str(member),
        member.views,
        lambda: build_untrained(study.architecture, classes, study.images.side_px),
        config,
    )
    load_checkpoint(folder.model_folder(member), run, _network(folder, member))
    return run


def _network(folder: StudyFolder, member: Member) -> str:
    """What makes a network this one and no other: its study, candidate and seed."""
    return json.dumps([str(member), folder.identity], sort_keys=True)


def _save_weights(
    folder: StudyFolder, member: Member, run: TrainingRun, config: TrainingConfig
) -> None:
    record: dict[str, Any] = {
        "architecture": folder.study.architecture,
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
        # A network near chance is a finding here, and no mistake of the user's.
        self_check=False,
    )
    source = LiveImages(classifier, job.test, folder.study.benchmark, settings)
    run_images(source, out=folder.run_folder(member), progress=advance)


def _locked(folder: StudyFolder, member: Member) -> FileLock:
    place = folder.model_folder(member)
    with output_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"another process is at work on '{member}'",
                where=folder.folder,
                remedy="Wait for it, or share the work with --only.",
            ) from error
    return lock
