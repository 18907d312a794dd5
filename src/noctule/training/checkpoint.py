"""A network in training on disk: replaced whole after every epoch, so a kill loses only one."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from noctule.errors import InputError
from noctule.store.disk import output_errors, write_atomically
from noctule.training.trainer import Trainee

_PATTERN = re.compile(r"epoch-(\d{4,})\.pt")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest last."""
    found = (path for path in folder.glob("epoch-*.pt") if _PATTERN.fullmatch(path.name))
    return sorted(found, key=_epoch)


def epochs_kept(folder: Path) -> int:
    """How many epochs the newest checkpoint has behind it; 0 if there is none."""
    found = checkpoints(folder)
    return _epoch(found[-1]) if found else 0


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def save_checkpoint(folder: Path, trainee: Trainee) -> None:
    """Write a checkpoint of everything that training goes on from, then remove older ones.

    Raises:
        OutputError: it cannot be written; the older one is kept.
    """
    older = checkpoints(folder)
    path = folder / f"epoch-{len(trainee.losses):04d}.pt"
    buffer = io.BytesIO()
    torch.save(
        {
            "losses": trainee.losses,
            "module": trainee.module.state_dict(),
            "optimiser": trainee.optimiser.state_dict(),
        },
        buffer,
    )
    remedy = "Mend this and give the same command again: it goes on from the last epoch kept."
    with output_errors(path, remedy):
        write_atomically(path, buffer.getvalue())
        remove(*(one for one in older if one != path))


def load_checkpoint(folder: Path, trainee: Trainee) -> None:
    """Bring a network to where its newest checkpoint is, if there is one.

    Raises:
        InputError: the checkpoint is damaged, or of another network.
    """
    found = checkpoints(folder)
    if not found:
        return
    try:
        # weights_only: a checkpoint holds numbers, and nothing in it is executed. To the CPU
        # first: what belongs on the network's device is copied there, an optimiser's step
        # counts stay where it keeps them.
        kept: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
        trainee.module.load_state_dict(kept["module"])
        trainee.optimiser.load_state_dict(kept["optimiser"])
        losses = [float(loss) for loss in kept["losses"]]
        if len(losses) != _epoch(found[-1]):
            raise ValueError(f"it has the losses of {len(losses)} epochs")
        trainee.losses[:] = losses
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError,
            pickle.UnpicklingError) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"is damaged, or of another network: {reason}",
            where=found[-1],
            remedy="Delete it, and this network is trained from its start.",
        ) from error


def remove(*paths: Path) -> None:
    """Delete files that may be gone already."""
    for path in paths:
        path.unlink(missing_ok=True)
