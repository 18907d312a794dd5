"""The start of a run: what is checked before it, kept of it, and removed if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from noctule import provenance
from noctule.data import Dataset
from noctule.errors import InputError, NoctuleError
from noctule.models.fingerprint import architecture_fingerprint
from noctule.store import RunIdentity, RunStore, writing

MOST_IMAGES_COMPARED = 1024


@contextmanager
def started_run(folder: Path, identity: RunIdentity) -> Iterator[RunStore]:
    """A run folder to write into, kept from other processes; a failed start leaves none.

    Raises:
        InputError: another process writes there, or the folder holds something else.
        OutputError: the folder cannot be written.
    """
    with writing(folder):
        store = RunStore.create_or_resume(folder, identity)
        try:
            yield store
        except NoctuleError:
            store.discard()  # does nothing once a slice is finished
            raise


def refuse_other_images(
    store: RunStore,
    ids: Sequence[str],
    hashes_of: Callable[[list[int]], Mapping[str, str]],
    *,
    most: int = MOST_IMAGES_COMPARED,
) -> None:
    """Refuse to go on with a run if its images have been replaced.

    Of the images that were evaluated, up to `most` are decoded again, spread evenly.

    Args:
        store: the run.
        ids: of all images, in the dataset's order.
        hashes_of: from indices of images to the hash of each that can be read, by its id.
        most: how many images to compare.

    Raises:
        InputError: an image has other pixels than those that were evaluated.
    """
    expected = store.image_hashes()
    known = [index for index, image_id in enumerate(ids) if image_id in expected]
    if not known:
        return
    places = np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int)
    chosen = [known[place] for place in places.tolist()]
    found = hashes_of(chosen)
    other = [ids[one] for one in chosen if found.get(ids[one]) != expected[ids[one]]]
    if other:
        raise InputError(
            f"{len(other):,} of {len(chosen):,} images compared have other pixels than those "
            f"that this run evaluated, first '{other[0]}'",
            where=store.folder,
            remedy="Restore the images, or evaluate the model again in a new folder.",
        )


def record_start(
    store: RunStore,
    module: nn.Module,
    dataset: Dataset,
    device: torch.device,
    argv: Sequence[str] | None,
    behaviour: list[list[float]],
) -> None:
    """Note a start in the run folder.

    Beside `provenance.collect`: how to open the images again, what the classes are called, the
    fingerprint of the evaluated network's architecture, and its answers to fixed images.
    """
    store.record_start(
        provenance.collect(
            argv,
            device=str(device),
            data=dict(dataset.source) if dataset.source else None,
            class_names=list(dataset.class_names),
            architecture_fingerprint=architecture_fingerprint(module),
            behaviour=behaviour,
        )
    )
