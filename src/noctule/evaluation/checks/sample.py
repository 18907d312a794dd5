"""The images that are checked, and the model's outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.data import Dataset
from noctule.errors import InputError, UnreadableImageError
from noctule.evaluation.checks.classes import check_classes
from noctule.evaluation.loading import Batch, read_batch
from noctule.models import Classifier, Preprocessing

LogitsOf = Callable[[Tensor, Preprocessing], Tensor]


class Answers(NamedTuple):
    """The model's outputs for some images.

    Attributes:
        indices: Index of each image in the data, (images,).
        labels: (images,).
        logits: float32 (images, classes).
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: Tensor

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(images,)."""
        predictions: NDArray[np.int64] = self.logits.argmax(dim=1).numpy()
        return predictions

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image is classified correctly, (images,)."""
        return np.asarray(self.predictions == self.labels)


@dataclass(frozen=True)
class Viewer:
    """Runs a model on images as the evaluation does.

    Attributes:
        classifier: The model.
        dataset: The data.
        logits_of: From uint8 images (batch, channels, height, width) and their normalisation
            to float32 logits (batch, classes) on the CPU.
        batch_size: Images per forward pass.
        on_unreadable: "stop" or "skip".
    """

    classifier: Classifier
    dataset: Dataset
    logits_of: LogitsOf
    batch_size: int
    on_unreadable: str

    def answers(self, indices: NDArray[np.int64]) -> Answers:
        """The model's outputs, whose shape and classes are checked."""
        logits, readable = [torch.empty(0, 0)], [np.empty(0, np.int64)]
        for part, batch in self.batches(indices):
            logits.append(self.logits(batch.images, self.classifier.preprocessing))
            readable.append(part)
        seen = np.concatenate(readable)
        return Answers(seen, self.dataset.labels[seen], torch.cat(logits[1:] or logits))

    def batches(self, indices: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """The readable images, and their indices."""
        for start in range(0, len(indices), self.batch_size):
            part = indices[start : start + self.batch_size]
            batch = read_batch(self.dataset, self.classifier.preprocessing, part.tolist())
            if batch.unreadable and self.on_unreadable == "stop":
                raise UnreadableImageError(*batch.unreadable[0])
            unreadable = {image_id for image_id, _ in batch.unreadable}
            if batch.ids:
                is_readable = [self.dataset.ids[index] not in unreadable for index in part]
                yield part[is_readable], batch

    def logits(self, images: Tensor, preprocessing: Preprocessing) -> Tensor:
        """The logits, if they can be scored against this data."""
        logits = self.logits_of(images, preprocessing)
        if logits.dim() != 2 or len(logits) != len(images):
            raise InputError(
                f"the model returned {tuple(logits.shape)} for {len(images)} images",
                where=self.classifier.name,
                remedy="It must return logits of shape (images, classes).",
            )
        check_classes(self.classifier, self.dataset, logits.shape[1])
        return logits

    def choose(self, count: int, also: Sequence[int] = ()) -> NDArray[np.int64]:
        """Images spread over the classes, in rounds of one image per class.

        Several images per class say more than one: with many classes, some classes are left
        out, unless there are images left to choose.

        Args:
            count: Number of images, at least a batch. Only full batches are chosen, unless
                these are all images.
            also: Classes to prefer, besides others.
        """
        count = max(count, self.batch_size)
        rounds = _rounds(self.dataset.labels, count, also)
        if len(rounds) < count:
            rest = np.setdiff1d(np.arange(len(self.dataset)), rounds)
            rounds = np.concatenate([rounds, _spread(rest, count - len(rounds))])
        full = count // self.batch_size * self.batch_size
        return rounds if len(rounds) == len(self.dataset) else rounds[:full]


MAX_CLASSES = 128
"""Number of classes chosen evenly, and of classes chosen on request."""


def _rounds(labels: NDArray[np.int64], count: int, also: Sequence[int]) -> NDArray[np.int64]:
    present = np.unique(labels)
    wanted = [label for label in also if label in present][:MAX_CLASSES]
    classes = np.union1d(_spread(present, MAX_CLASSES), np.asarray(wanted, np.int64))
    per_class = -(-count // len(classes))
    members = [_spread(np.flatnonzero(labels == label), per_class) for label in classes]
    rounds = [own[turn] for turn in range(per_class) for own in members if turn < len(own)]
    return np.asarray(rounds[:count], np.int64)


def _spread(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the values, evenly spaced."""
    count = min(count, len(values))
    return values[np.arange(count) * len(values) // max(count, 1)]
