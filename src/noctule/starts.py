"""What a run notes of each start: everything a report or a check may need later."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from noctule import provenance
from noctule.data import Dataset
from noctule.models.fingerprint import architecture_fingerprint
from noctule.store import RunStore


def record_start(
    store: RunStore,
    module: nn.Module,
    dataset: Dataset,
    device: torch.device,
    argv: Sequence[str] | None,
) -> None:
    """Note a start in the run folder.

    Beside `provenance.collect`: how to open the images again, what the classes are called, and
    the fingerprint of the evaluated network's architecture.
    """
    store.record_start(
        provenance.collect(
            argv,
            device=str(device),
            data=dict(dataset.source) if dataset.source else None,
            class_names=list(dataset.class_names),
            architecture_fingerprint=architecture_fingerprint(module),
        )
    )
