"""Batches of decoded images, read by worker processes."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.data import Dataset
from noctule.data.dataset import WHITE
from noctule.data.decode import COMPOSITED
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError, machine_error
from noctule.models import Preprocessing
from noctule.processes import Alive, CannotStartError, Child, started


class Batch(NamedTuple):
    """Images as a corruption sees them, and the images that could not be read.

    Attributes:
        ids: of the images that could be read.
        labels: theirs, int64 (batch,).
        images: theirs, uint8 (batch, channels, height, width).
        unreadable: (id, reason) of the others.
        hashes: `image_hash` of each image that could be read.
        has_composited: Whether some were transparent and have a background now.
    """

    ids: list[str]
    labels: Tensor
    images: Tensor
    unreadable: list[tuple[str, str]]
    hashes: list[str]
    has_composited: bool = False

    def __len__(self) -> int:
        return len(self.ids) + len(self.unreadable)


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
    """Read batches in the order of `plan`, which names the images of each by index.

    Where worker processes cannot be started, the images are decoded in this process, and a
    NoctuleWarning says so.

    Raises:
        InputError: The images differ in size.
        MachineError: A worker process ended or does nothing, or the memory is exhausted.
    """
    first: Batch | None = None
    for batch in _loaded(dataset, preprocessing, plan, min(workers, len(plan))):
        if batch.has_composited:
            _say_composited(dataset)
        if batch.ids:
            first = first or batch
            if batch.images.shape[1:] != first.images.shape[1:]:
                pairs = ((one.ids[0], one.images[0]) for one in (first, batch))
                raise _differing(dataset, *pairs)
        yield batch


def _say_composited(dataset: Dataset) -> None:
    """Warn of transparent images; the same text is shown once a process."""
    warnings.warn(
        f"{dataset.name}: transparent images are shown on {dataset.background or WHITE}. "
        "Choose another colour with --background.",
        NoctuleWarning,
        stacklevel=2,
    )


def _loaded(
    dataset: Dataset,
    preprocessing: Preprocessing,
    plan: Sequence[Sequence[int]],
    workers: int,
) -> Iterator[Batch]:
    if workers:
        # Worker k reads batches k, k + workers, …: in this order they are asked for.
        jobs = [_Job(dataset, preprocessing, plan[k::workers]) for k in range(workers)]
        try:
            with started(_send_batches, jobs, daemon=True) as children:
                for number in range(len(plan)):
                    yield _received(children[number % workers])
                return
        except CannotStartError as error:
            warnings.warn(
                f"{workers} worker processes cannot be started: {error.what}. Images are "
                "decoded in this process; --workers 0 asks for that.",
                NoctuleWarning,
                stacklevel=2,
            )
    for indices in plan:
        yield read_batch(dataset, preprocessing, indices)


class _Job(NamedTuple):
    """What one worker process reads."""

    dataset: Dataset
    preprocessing: Preprocessing
    plan: Sequence[Sequence[int]]


def _send_batches(connection: Connection, job: _Job) -> None:
    """Send each batch but for its pixels, with their shape, and then the pixels."""
    torch.set_num_threads(1)
    last_sent = time.monotonic()

    def on_image() -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent > 1:
            connection.send(Alive())
            last_sent = time.monotonic()

    for indices in job.plan:
        batch = read_batch(job.dataset, job.preprocessing, indices, on_image)
        shape = tuple(batch.images.shape)
        rest = (batch.unreadable, batch.hashes, batch.has_composited)
        connection.send((batch.ids, batch.labels.numpy(), shape, *rest))
        if batch.ids:
            connection.send_bytes(_bytes_of(batch.images))


def _received(child: Child) -> Batch:
    while isinstance(message := child.receive(), Alive):
        pass
    ids, labels, shape, *rest = message
    images = torch.empty(shape, dtype=torch.uint8)
    if ids:
        child.receive_into(_bytes_of(images))
    return Batch(ids, torch.from_numpy(labels), images, *rest)


def _bytes_of(images: Tensor) -> memoryview:
    return images.numpy().reshape(-1).data


def read_batch(
    dataset: Dataset,
    preprocessing: Preprocessing,
    indices: Sequence[int],
    on_image: Callable[[], None] = lambda: None,
) -> Batch:
    """Decode, resize and crop the images with these indices; `on_image` is called before each.

    An image that cannot be read is data here, and not an exception: whether to stop is decided
    where the order of the images is known.

    Raises:
        InputError: the images differ in size.
        MachineError: The memory is exhausted, or too many files are open: no image's fault.
    """
    ids: list[str] = []
    images: list[Tensor] = []
    kept: list[int] = []
    hashes: list[str] = []
    unreadable: list[tuple[str, str]] = []
    has_composited = False
    for index in indices:
        on_image()
        try:
            decoded = dataset.read(index)
            image = preprocessing.prepare(decoded)
        except UnreadableImageError as error:
            if cause := machine_error(error):
                raise cause from error
            unreadable.append((dataset.ids[index], error.reason))
            continue
        if images and image.shape != images[0].shape:
            raise _differing(dataset, (ids[0], images[0]), (dataset.ids[index], image))
        has_composited |= COMPOSITED in decoded.info
        ids.append(dataset.ids[index])
        images.append(image)
        kept.append(index)
        hashes.append(image_hash(decoded))
    stacked = torch.stack(images) if images else torch.empty(0, dtype=torch.uint8)
    return Batch(
        ids,
        torch.from_numpy(dataset.labels[np.asarray(kept, int)]),
        stacked,
        unreadable,
        hashes,
        has_composited,
    )


def image_hash(image: Image.Image) -> str:
    """128 bits, as hex, of a decoded image: of its mode, size and pixels, before resizing.

    >>> image_hash(Image.new("L", (2, 1))) == image_hash(Image.new("L", (1, 2)))
    False
    """
    return chained_hash(f"{image.mode} {image.size}", image.tobytes())


def chained_hash(before: str, data: bytes) -> str:
    """128 bits, as hex, of a text and bytes after it."""
    digest = hashlib.blake2b(before.encode(), digest_size=16)
    digest.update(data)
    return digest.hexdigest()


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
