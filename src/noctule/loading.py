"""Batches of decoded pictures, read by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from noctule.data import Dataset
from noctule.errors import InputError, NoctuleError, UnreadableImageError
from noctule.execution import end_with_parent
from noctule.models import Preprocessing


class Batch(NamedTuple):
    """Pictures as a corruption sees them, and the images that could not be read.

    Attributes:
        ids: of the images that could be read.
        labels: theirs, int64 (batch,).
        pictures: theirs, uint8 (batch, channels, height, width).
        unreadable: (id, reason) of the others.
    """

    ids: list[str]
    labels: Tensor
    pictures: Tensor
    unreadable: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.ids) + len(self.unreadable)


class _Batches(TorchDataset[Batch | NoctuleError]):
    """Item k is the k-th batch: a worker sends one tensor and not many."""

    def __init__(
        self, dataset: Dataset, preprocessing: Preprocessing, plan: Sequence[Sequence[int]]
    ) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> Batch | NoctuleError:
        try:
            return read_batch(self.dataset, self.preprocessing, self.plan[number])
        except NoctuleError as error:
            # Raised in a worker it would arrive as a traceback.
            return error


def in_order(dataset: Dataset, batch_size: int) -> list[range]:
    """A plan for `load_batches`: every image once, in order."""
    total = len(dataset)
    return [
        range(start, min(start + batch_size, total)) for start in range(0, total, batch_size)
    ]


def load_batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    plan: Sequence[Sequence[int]],
    workers: int,
) -> Iterator[Batch]:
    """Read batches in the order of `plan`, which names the images of each by index."""
    loader = DataLoader(
        _Batches(dataset, preprocessing, plan),
        batch_size=None,
        num_workers=min(workers, len(plan)),
        worker_init_fn=_prepare_worker,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    first: Batch | None = None
    for batch in loader:
        if isinstance(batch, NoctuleError):
            raise batch
        if batch.ids:
            first = first or batch
            if batch.pictures.shape[1:] != first.pictures.shape[1:]:
                pairs = ((one.ids[0], one.pictures[0]) for one in (first, batch))
                raise _differing(dataset, *pairs)
        yield batch


def _prepare_worker(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
    # PyTorch watches the parent too, but not if that dies while this process starts.
    end_with_parent()
    # Ctrl-C reaches workers too; the main process ends them, after it has said what is kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_batch(dataset: Dataset, preprocessing: Preprocessing, indices: Sequence[int]) -> Batch:
    """Decode, resize and crop the images with these indices.

    An image that cannot be read is data here, and not an exception: whether to stop is decided
    where the order of the images is known.

    Raises:
        InputError: the pictures differ in size.
    """
    ids: list[str] = []
    pictures: list[Tensor] = []
    kept: list[int] = []
    unreadable: list[tuple[str, str]] = []
    for index in indices:
        try:
            picture = preprocessing.picture(dataset.read(index))
        except UnreadableImageError as error:
            unreadable.append((dataset.ids[index], error.reason))
            continue
        if pictures and picture.shape != pictures[0].shape:
            raise _differing(dataset, (ids[0], pictures[0]), (dataset.ids[index], picture))
        ids.append(dataset.ids[index])
        pictures.append(picture)
        kept.append(index)
    stacked = torch.stack(pictures) if pictures else torch.empty(0, dtype=torch.uint8)
    return Batch(
        ids, torch.from_numpy(dataset.labels[np.asarray(kept, int)]), stacked, unreadable
    )


def _differing(
    dataset: Dataset, one: tuple[str, Tensor], other: tuple[str, Tensor]
) -> InputError:
    (id_a, a), (id_b, b) = one, other
    return InputError(
        f"'{id_a}' is {a.shape[1]} × {a.shape[2]} px and '{id_b}' "
        f"{b.shape[1]} × {b.shape[2]} px, "
        "and the model's preprocessing does not resize them",
        where=dataset.name,
        remedy="Give --resize and --crop, or a model that says its own preprocessing.",
    )
