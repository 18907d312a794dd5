"""A network in training on disk: replaced whole after every epoch, so a kill loses only one."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noctule.errors import InputError
from noctule.store.disk import output_errors, write_atomically
from noctule.studies.training.trainer import TrainingRun

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


def save_checkpoint(folder: Path, run: TrainingRun, network: str) -> None:
    """Write a checkpoint of everything that training goes on from, then remove older ones.

    Args:
        folder: Where the network's checkpoints are.
        run: The network in training.
        network: What makes it this network and no other; compared when it is loaded.

    Raises:
        OutputError: It cannot be written; the older one is kept.
    """
    older = checkpoints(folder)
    path = folder / f"epoch-{len(run.losses):04d}.pt"
    buffer = io.BytesIO()
    content = {
        "network": network,
        "losses": run.losses,
        "module": run.module.state_dict(),
        "optimiser": run.optimiser.state_dict(),
    }
    torch.save(content | {"sha256": content_sha256(content)}, buffer)
    remedy = "Mend this and give the same command again: it goes on from the last epoch kept."
    with output_errors(path, remedy):
        write_atomically(path, buffer.getvalue())
        remove(*(one for one in older if one != path))


def load_checkpoint(folder: Path, run: TrainingRun, network: str) -> None:
    """Bring a network to where its newest checkpoint is, if there is one.

    Args:
        folder: Where the network's checkpoints are.
        run: The network before its first epoch.
        network: As it was given to `save_checkpoint`.

    Raises:
        InputError: The checkpoint is damaged, or of another network.
    """
    found = checkpoints(folder)
    if not found:
        return
    try:
        # weights_only: a checkpoint holds numbers, and nothing in it is executed. To the CPU
        # first: what belongs on the network's device is copied there, an optimiser's step
        # counts stay where it keeps them.
        kept: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
        # PyTorch reads changed bytes without complaint.
        if kept.pop("sha256") != content_sha256(kept):
            raise ValueError("its content has another SHA-256 hash than when it was written")
        if kept["network"] != network:
            raise ValueError("it was written for another network")
        run.module.load_state_dict(kept["module"])
        run.optimiser.load_state_dict(kept["optimiser"])
        losses = [float(loss) for loss in kept["losses"]]
        if len(losses) != _epoch(found[-1]):
            raise ValueError(f"it has the losses of {len(losses)} epochs")
        run.losses[:] = losses
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError,
            pickle.UnpicklingError) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"is damaged, or of another network: {reason}",
            where=found[-1],
            remedy="Delete it, and this network is trained from its start.",
        ) from error


def content_sha256(content: Any) -> str:
    """SHA-256 (hex) of tensors, numbers and texts in tables and lists.

    >>> content_sha256({"a": [1, torch.zeros(2)]}) == content_sha256({"a": [1, torch.zeros(3)]})
    False
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest: Any, content: Any) -> None:
    if isinstance(content, torch.Tensor):
        digest.update(repr((str(content.dtype), tuple(content.shape))).encode())
        flat = content.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(content, Mapping):
        digest.update(f"table of {len(content)}".encode())
        for key, value in content.items():
            digest.update(repr(key).encode())
            _add(digest, value)
    elif isinstance(content, list | tuple):
        digest.update(f"list of {len(content)}".encode())
        for value in content:
            _add(digest, value)
    else:
        digest.update(repr(content).encode())


def remove(*paths: Path) -> None:
    """Delete files that may be gone already."""
    for path in paths:
        path.unlink(missing_ok=True)
