"""Where the images of a run come from: corrupted as the run proceeds, or read from disk."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from noctule.benchmarks import Benchmark, Condition
from noctule.corruptions.checks import MIN_SIDE_PX
from noctule.data import Dataset
from noctule.errors import InputError, UnreadableImageError
from noctule.evaluation.cache import CropCache
from noctule.evaluation.loading import Batch, Part, load_parts
from noctule.evaluation.protocols import Protocol, scored
from noctule.evaluation.settings import MAX_WORKERS, Settings, default_precision, workers_for
from noctule.models import Classifier, Preprocessing
from noctule.models.borrowed import input_dtype
from noctule.models.foreign import ForeignNetwork
from noctule.store import RunIdentity

MAX_SLICE_IMAGES = 256
MAX_SLICE_OUTCOMES = 9 * MAX_SLICE_IMAGES  # ImageNet-C's 76 conditions: 30 images
MAX_SLICES = 5000
TRIAL_IMAGES = 32
"""Enough for a corruption to draw each of its textures."""


class ImageSource(ABC):
    """The images that one classifier is shown under every condition of a benchmark.

    Attributes:
        classifier: The classifier.
        dataset: The images that the self-check looks at, with ids, labels and class names.
        protocol: How the model's classes are scored as those of the data, if they differ.
        preprocessing: How the images of `dataset` are prepared for the classifier.
        conditions: Every condition, in order.
        read_conditions: The conditions whose images are read. Images under the others are
            computed from these.
        settings: How to evaluate.
        identity: Everything that determines the rows.
    """

    classifier: Classifier
    dataset: Dataset
    protocol: Protocol | None
    preprocessing: Preprocessing
    conditions: tuple[Condition, ...]
    read_conditions: tuple[Condition, ...]
    settings: Settings
    identity: RunIdentity
    _batches: Generator[Batch, None, None]
    _device: torch.device

    @property
    def stream_key(self) -> str:
        """Equal for two sources of one command if their images are equal, bit by bit."""
        crops = self.classifier.preprocessing.crops.to_dict()
        return json.dumps([crops, self.identity.dataset["fingerprint"]])

    @abstractmethod
    def check(self) -> None:
        """Warn of, or refuse, what would spoil the run; called before it starts."""

    @abstractmethod
    def part(self, condition: Condition, indices: Sequence[int]) -> Part:
        """What to read for a batch under one of `read_conditions`."""

    @abstractmethod
    def images(self, condition: Condition, indices: Sequence[int]) -> Batch:
        """A batch under one condition, its images on the device.

        Call it within `reading`: batch by batch, and each under `read_conditions` in order.
        The hashes of the last condition of a batch identify everything that was read of it.
        """

    @contextmanager
    def reading(
        self,
        plan: Sequence[Sequence[int]],
        device: torch.device,
        order: Iterable[int] | None = None,
        ahead: int = MAX_WORKERS,
        *,
        cached: bool = True,
    ) -> Iterator[None]:
        """Have worker processes read ahead.

        Args:
            plan: The indices of the images of each batch.
            device: Where `images` puts them.
            order: Positions in the plan of the wanted batches, in the order in which they will
                be asked for; None for the whole plan.
            ahead: Number of batches that may be read ahead.
            cached: Whether images may come from the cache.
        """
        parts = [
            self.part(condition, batch) for batch in plan for condition in self.read_conditions
        ]
        if not cached:
            parts = [part._replace(cache=None) for part in parts]
        each = len(self.read_conditions)
        wanted = order and (n * each + k for n in order for k in range(each))
        workers = min(workers_for(self.dataset, self.settings.workers), ahead * each)
        self._batches, self._device = load_parts(parts, workers, wanted), device
        try:
            yield
        finally:
            self._batches.close()

    def unreadable_error(
        self, condition: Condition, image_id: str, reason: str
    ) -> UnreadableImageError:
        """The error for an image that cannot be decoded."""
        del condition
        return UnreadableImageError(image_id, reason)


class LiveImages(ImageSource):
    """Images of a dataset: each is decoded once and corrupted under every condition."""

    def __init__(
        self, classifier: Classifier, dataset: Dataset, benchmark: Benchmark, settings: Settings
    ) -> None:
        self.classifier = classifier
        self.dataset, self.protocol = scored(classifier, dataset, settings)
        self.preprocessing = classifier.preprocessing
        self.benchmark = benchmark
        self.conditions = benchmark.conditions
        self.read_conditions = benchmark.conditions[:1]  # clean
        self.settings = settings
        self.cache = None
        if settings.cache is not None:
            self.cache = CropCache.opened(settings.cache, self.dataset, self.preprocessing)
        self.identity = identify(classifier, self.dataset, benchmark, settings, self.protocol)

    def check(self) -> None:
        """Apply each corruption to small images: a missing texture shows now, not in hours."""
        channels = self.preprocessing.channels
        bound = self.benchmark.bound
        if other := [name for name in bound if bound[name].channels not in (None, channels)]:
            raise InputError(
                f"{', '.join(other)}: needs images with {bound[other[0]].channels} channels, "
                f"but {self.classifier.name} takes images with {channels}",
                where=self.benchmark.name,
                remedy=f"Leave them out: --skip {','.join(other)}; the table says so.",
            )
        images = torch.zeros(TRIAL_IMAGES, channels, MIN_SIDE_PX, MIN_SIDE_PX).byte()
        for condition in self.conditions:
            self.benchmark.corrupt(condition, images, ids=range(TRIAL_IMAGES), seed=0)
        if self.cache is not None:
            self.cache.verify(self.dataset, self.preprocessing)

    def part(self, condition: Condition, indices: Sequence[int]) -> Part:
        """See `ImageSource.part`."""
        del condition
        return Part(self.dataset, self.preprocessing, indices, self.cache)

    def images(self, condition: Condition, indices: Sequence[int]) -> Batch:
        """See `ImageSource.images`."""
        del indices
        if condition in self.read_conditions:
            batch = next(self._batches)
            self._clean = batch._replace(images=to_device(batch.images, self._device))
        clean = self._clean
        if condition in self.read_conditions or not clean.ids:
            return clean
        corrupted = self.benchmark.corrupt(
            condition, clean.images, ids=clean.ids, seed=self.identity.seed
        )
        return clean._replace(images=corrupted)


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Images on a device; a copy to a GPU does not wait for it."""
    if device.type == "cuda":
        images = images.pin_memory()
    return images.to(device, non_blocking=device.type == "cuda")


def identify(
    classifier: Classifier,
    dataset: Dataset,
    benchmark: Benchmark,
    settings: Settings,
    protocol: Protocol | None = None,
) -> RunIdentity:
    """Everything that determines the rows of a run."""
    device_type = settings.resolved_device().type
    batch_size = settings.batch_size or (32 if device_type == "cpu" else 256)
    return RunIdentity(
        model=classifier.to_dict(),
        benchmark=benchmark.to_dict(),
        dataset={
            "name": dataset.name if protocol is None else f"{dataset.name}, {protocol.title}",
            "domain": None if protocol and protocol.class_map else dataset.domain,
            "fingerprint": dataset.fingerprint(),
            "num_images": len(dataset),
            "num_classes": len(dataset.class_names),
            "background": dataset.background,
            **({} if dataset.subset is None else {"subset": dict(dataset.subset)}),
            **({} if dataset.right_labels is None else {"right_labels": True}),
            **({} if protocol is None else {"protocol": protocol.to_dict()}),
        },
        seed=settings.seed,
        batch_size=batch_size,
        slice_size=slice_size(batch_size, len(benchmark.conditions), len(dataset)),
        precision=_precision(classifier, settings, device_type),
        device_type=device_type,
        on_unreadable=settings.on_unreadable,
    )


def slice_size(batch_size: int, num_conditions: int, num_images: int) -> int:
    """Images per slice: whole batches, so few that an interruption loses little.

    >>> slice_size(32, 9, 50_000), slice_size(32, 76, 50_000), slice_size(256, 76, 50_000)
    (256, 32, 256)
    >>> slice_size(1, 76, 50_000), slice_size(1, 76, 1_000_000)  # at most 5000 slices
    (31, 200)
    """
    images = min(MAX_SLICE_IMAGES, -(-MAX_SLICE_OUTCOMES // num_conditions))
    images = max(images, -(-num_images // MAX_SLICES))
    return -(-images // batch_size) * batch_size


def _precision(classifier: Classifier, settings: Settings, device_type: str) -> str:
    """The precision that the network computes in, for the record.

    Raises:
        InputError: The settings ask for another precision than that of the network's weights.
    """
    module = classifier.module
    own = str(input_dtype(module)).removeprefix("torch.")
    if isinstance(module, ForeignNetwork):
        own = module.precision
    elif own == "float32":
        return settings.precision or default_precision(device_type)
    if settings.precision not in (None, own):
        raise InputError(
            f"is {settings.precision}, and the network's weights are {own}",
            where="precision",
            remedy="Convert the network with float(), or leave the precision out.",
        )
    return own
