"""Checkpoints of a network, replaced atomically after every epoch: a kill loses at most one."""

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
    paths = (path for path in folder.glob("epoch-*.pt") if _PATTERN.fullmatch(path.name))
    return sorted(paths, key=_epoch)


def epochs_saved(folder: Path) -> int:
    """Number of epochs before the newest checkpoint; 0 if there is none."""
    paths = checkpoints(folder)
    return _epoch(paths[-1]) if paths else 0


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def save_checkpoint(folder: Path, run: TrainingRun, network: str) -> None:
    """Write a checkpoint from which training can be resumed, then remove older ones.

    Args:
        folder: Folder of the network's checkpoints.
        run: Network in training.
        network: Identity of the network, which is compared when the checkpoint is loaded.

    Raises:
        OutputError: The checkpoint cannot be written; the older one is kept.
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
    remedy = "Fix this and rerun the same command: it resumes from the last saved epoch."
    with output_errors(path, remedy):
        write_atomically(path, buffer.getvalue())
        remove(*(checkpoint for checkpoint in older if checkpoint != path))


def load_checkpoint(folder: Path, run: TrainingRun, network: str) -> None:
    """Restore a network from its newest checkpoint, if there is one.

    Args:
        folder: Folder of the network's checkpoints.
        run: Network before its first epoch.
        network: Identity of the network, as passed to `save_checkpoint`.

    Raises:
        InputError: The checkpoint is damaged, or belongs to another network.
    """
    paths = checkpoints(folder)
    if not paths:
        return
    try:
        # weights_only: nothing in a checkpoint is executed. Loaded to the CPU, from which
        # weights are copied to the network's device, while the optimiser's step counts stay
        # there.
        state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
        # PyTorch does not detect changed bytes.
        if state.pop("sha256") != content_sha256(state):
            raise ValueError("its SHA-256 hash has changed since it was written")
        if state["network"] != network:
            raise ValueError("it was written for another network")
        run.module.load_state_dict(state["module"])
        run.optimiser.load_state_dict(state["optimiser"])
        losses = [float(loss) for loss in state["losses"]]
        if len(losses) != _epoch(paths[-1]):
            raise ValueError(f"it has the losses of {len(losses)} epochs")
        run.losses[:] = losses
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError,
            pickle.UnpicklingError) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"is damaged or belongs to another network: {reason}",
            where=paths[-1],
            remedy="Delete it to train this network from the start.",
        ) from error


def content_sha256(content: Any) -> str:
    """SHA-256, in hexadecimal, of nested dictionaries and lists of tensors, numbers and text.

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
    """Delete files, which need not exist."""
    for path in paths:
        path.unlink(missing_ok=True)
