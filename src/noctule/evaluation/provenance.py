"""The start of a run: what is compared before it, and recorded of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from noctule import provenance
from noctule.errors import InputError
from noctule.evaluation.sources import ImageSource
from noctule.models.fingerprint import architecture_fingerprint
from noctule.store import RunStore

MAX_IMAGES_COMPARED = 1024


def refuse_other_images(store: RunStore, source: ImageSource) -> None:
    """Refuse to resume a run whose images have been replaced.

    Of the images that were evaluated, up to `MAX_IMAGES_COMPARED` are read again, spread
    evenly; an image counts once for each condition that it is read under.

    Raises:
        InputError: An image has other pixels than when it was evaluated.
    """
    expected = store.image_hashes()
    ids = source.dataset.ids
    known = [index for index, image_id in enumerate(ids) if image_id in expected]
    if not known:
        return
    count = min(max(1, MAX_IMAGES_COMPARED // len(source.read_conditions)), len(known))
    positions = np.linspace(0, len(known) - 1, count).round().astype(int)
    chosen = [known[position] for position in positions.tolist()]
    hashes = _hashes_of(source, chosen)
    other = [ids[index] for index in chosen if hashes.get(ids[index]) != expected[ids[index]]]
    if other:
        raise InputError(
            f"{len(other):,} of {len(chosen):,} images compared have other pixels than those "
            f"that this run evaluated, first '{other[0]}'",
            where=store.folder,
            remedy="Restore the images, or evaluate the model again in a new folder.",
        )


def _hashes_of(source: ImageSource, indices: Sequence[int]) -> dict[str, str]:
    """Hash of each image that can be read, by its id."""
    plan = [indices[start : start + 32] for start in range(0, len(indices), 32)]
    hashes: dict[str, str] = {}
    with source.reading(plan, torch.device("cpu"), cached=False):
        for part in plan:
            for condition in source.read_conditions:
                batch = source.images(condition, part)
                hashes |= zip(batch.ids, batch.hashes, strict=True)
    return hashes


def record_start(
    store: RunStore, source: ImageSource, device: torch.device, behaviour: list[list[float]]
) -> None:
    """Record a start in the run folder.

    Besides `provenance.collect`: how to open the images again, the names of the classes that
    are predicted, the fingerprint of the network's architecture, and its answers to fixed
    images.
    """
    dataset = source.dataset
    store.record_start(
        provenance.collect(
            device=str(device),
            data=dict(dataset.source) if dataset.source else None,
            class_names=list((source.protocol or dataset).class_names),
            architecture_fingerprint=architecture_fingerprint(source.classifier.module),
            behaviour=behaviour,
        )
    )
