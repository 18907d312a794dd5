"""Batches of decoded images, read by worker processes."""

from __future__ import annotations

import hashlib
import itertools
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
from noctule.evaluation.cache import Crop, CropCache
from noctule.models import Preprocessing
from noctule.processes import Alive, CannotStartError, Child, started


class Batch(NamedTuple):
    """Resized and cropped images, and those that could not be read.

    Attributes:
        ids: Ids of the readable images.
        labels: Labels of the readable images, int64 (batch,).
        images: The readable images, uint8 (batch, channels, height, width).
        unreadable: (id, reason) of the unreadable images.
        hashes: `image_hash` of each readable image.
        has_composited: Whether some images were transparent and have been given a background.
        trouble: What is wrong with the cache, empty if nothing is.
    """

    ids: list[str]
    labels: Tensor
    images: Tensor
    unreadable: list[tuple[str, str]]
    hashes: list[str]
    has_composited: bool = False
    trouble: str = ""


class Part(NamedTuple):
    """The images of one batch, to be read.

    Attributes:
        dataset: The images.
        preprocessing: How they are resized and cropped.
        indices: Index of each image in the dataset.
        cache: Crops that are known already.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    indices: Sequence[int]
    cache: CropCache | None = None


def in_order(dataset: Dataset, batch_size: int) -> list[range]:
    """A plan for `load_batches`: every image once, in order."""
    return split(range(len(dataset)), batch_size)


def split(indices: range, batch_size: int) -> list[range]:
    """Consecutive parts of a range.

    >>> split(range(2, 7), 3)
    [range(2, 5), range(5, 7)]
    """
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def load_batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    plan: Sequence[Sequence[int]],
    workers: int,
) -> Iterator[Batch]:
    """Read batches in the order of `plan`, which lists the indices of the images of each.

    See `load_parts`.
    """
    return load_parts([Part(dataset, preprocessing, indices) for indices in plan], workers)


def load_parts(
    parts: Sequence[Part], workers: int, order: Iterable[int] | None = None
) -> Generator[Batch, None, None]:
    """Read batches in order.

    Args:
        parts: The images of each batch.
        workers: Number of worker processes, each of which reads one batch ahead.
        order: Positions of the wanted batches, asked for when a worker is free; None for all.

    If worker processes cannot be started, the images are decoded in this process, with a
    NoctuleWarning.

    Raises:
        InputError: The images differ in size.
        MachineError: A worker process ended or hangs, or the memory is exhausted.
    """
    first: Batch | None = None
    wanted = iter(range(len(parts)) if order is None else order)
    for position, batch in _loaded(parts, min(workers, len(parts)), wanted):
        part = parts[position]
        if batch.has_composited:
            _warn_of_composited(part.dataset)
        if batch.trouble:  # Python shows the same text once
            warnings.warn(batch.trouble, NoctuleWarning, stacklevel=2)
        if batch.ids:
            first = first or batch
            if batch.images.shape[1:] != first.images.shape[1:]:
                pairs = ((each.ids[0], each.images[0]) for each in (first, batch))
                raise _differing(part.dataset, *pairs)
        yield batch


def _warn_of_composited(dataset: Dataset) -> None:
    """Warn of transparent images; Python shows the same text once per process."""
    warnings.warn(
        f"{dataset.name}: transparent images are shown on {dataset.background or WHITE}. "
        "Choose another colour with --background.",
        NoctuleWarning,
        stacklevel=2,
    )


def _loaded(
    parts: Sequence[Part], workers: int, wanted: Iterator[int]
) -> Iterator[tuple[int, Batch]]:
    """(position, batch) of the wanted batches."""
    if workers:
        try:
            with started(_send_batches, [parts] * workers, daemon=True) as children:
                asked = deque(zip(children, wanted, strict=False))
                for child, position in asked:
                    child.send(position)
                while asked:
                    child, position = asked.popleft()
                    batch = _received(child)
                    for following in itertools.islice(wanted, 1):
                        child.send(following)
                        asked.append((child, following))
                    yield position, batch
                return
        except CannotStartError as error:
            warnings.warn(
                f"{workers} worker processes cannot be started: {error.what}. Images are "
                "decoded in this process; --workers 0 asks for that.",
                NoctuleWarning,
                stacklevel=2,
            )
    for position in wanted:
        yield position, read_batch(*parts[position])


def _send_batches(connection: Connection, parts: Sequence[Part]) -> None:
    """Send each batch that is asked for: all but its pixels, with their shape, then these."""
    torch.set_num_threads(1)
    last_sent = time.monotonic()

    def on_image() -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent > 1:
            connection.send(Alive())
            last_sent = time.monotonic()

    while True:
        position: int = connection.recv()
        batch = read_batch(*parts[position], on_image=on_image)
        shape = tuple(batch.images.shape)
        rest = (batch.unreadable, batch.hashes, batch.has_composited, batch.trouble)
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
    cache: CropCache | None = None,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Batch:
    """Decode, resize and crop the images with these indices; `on_image` is called before each.

    An unreadable image is data here, not an exception: the caller decides whether to stop.
    Images that are in the cache are not decoded, and the others are added to it.

    Raises:
        InputError: The images differ in size.
        MachineError: The memory is exhausted, or too many files are open.
    """
    crops: dict[int, Crop] = {}
    unreadable: list[tuple[str, str]] = []
    known, trouble = ({}, "") if cache is None else cache.read(indices)
    for index in indices:
        on_image()
        if index in known:
            crops[index] = known[index]
            continue
        try:
            decoded = dataset.read(index)
            image = preprocessing.prepare(decoded)
        except UnreadableImageError as error:
            if cause := machine_error(error):
                raise cause from error
            unreadable.append((dataset.ids[index], error.reason))
            continue
        crops[index] = Crop(image, image_hash(decoded), COMPOSITED in decoded.info)
        first, crop = next(iter(crops.items()))
        if image.shape != crop.pixels.shape:
            pairs = (dataset.ids[first], crop.pixels), (dataset.ids[index], image)
            raise _differing(dataset, *pairs)
    if cache is not None:
        new = {index: crop for index, crop in crops.items() if index not in known}
        trouble = cache.write(new) or trouble
    readable = list(crops)
    images = [crop.pixels for crop in crops.values()]
    return Batch(
        [dataset.ids[index] for index in readable],
        torch.from_numpy(dataset.labels[np.asarray(readable, int)]),
        torch.stack(images) if images else torch.empty(0, dtype=torch.uint8),
        unreadable,
        [crop.image_hash for crop in crops.values()],
        any(crop.is_composited for crop in crops.values()),
        trouble,
    )


def image_hash(image: Image.Image) -> str:
    """128-bit hash, as hex, of a decoded image's mode, size and pixels, before resizing.

    >>> image_hash(Image.new("L", (2, 1))) == image_hash(Image.new("L", (1, 2)))
    False
    """
    digest = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()


def _differing(
    dataset: Dataset, first: tuple[str, Tensor], second: tuple[str, Tensor]
) -> InputError:
    (id_a, a), (id_b, b) = first, second
    return InputError(
        f"'{id_a}' is {a.shape[1]} × {a.shape[2]} px and '{id_b}' "
        f"{b.shape[1]} × {b.shape[2]} px, "
        "and the model's preprocessing does not resize them",
        where=dataset.name,
        remedy="Pass --resize and --crop, or use a model with its own preprocessing.",
    )
