"""One run in detail: calibration, and accuracy lost by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import CLEAN
from noctule.metrics.calibration import NUM_BINS
from noctule.metrics.estimates import Estimate, estimate_within
from noctule.metrics.intervals import difference_bounds
from noctule.metrics.outcome_matrix import check_possible, row_positions
from noctule.report.loading import Run

_COLUMNS = ("image_id", "condition", "label", "prediction", "label_rank", "confidence")


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one model on each image (row) under each condition (column).

    Attributes:
        image_ids: Ids of the images, sorted.
        conditions: Names of the conditions, clean first if it was evaluated.
        label: Classes of the images, of shape (images,); of several right ones that under the
            first condition.
        prediction, wrong, confidence: Arrays of shape (images, conditions).
    """

    image_ids: pa.StringArray
    conditions: tuple[str, ...]
    label: NDArray[np.int32]
    prediction: NDArray[np.int32]
    wrong: NDArray[np.bool_]
    confidence: NDArray[np.float32]

    @property
    def has_clean(self) -> bool:
        """Whether the uncorrupted images are among the conditions."""
        return CLEAN in self.conditions

    @cached_property
    def corrupted(self) -> list[int]:
        """Indices of the conditions other than clean."""
        return [index for index, name in enumerate(self.conditions) if name != CLEAN]

    def of_class(self, label: int) -> NDArray[np.intp]:
        """Indices of the images of a class."""
        return np.flatnonzero(self.label == label)


def outcomes_of(run: Run) -> Outcomes:
    """The rows of a run, joined by image id."""
    rows = run.store.rows(columns=_COLUMNS)
    positions = row_positions(rows, run.conditions)
    label, prediction, rank, confidence = (
        positions.matrix(rows[name]) for name in _COLUMNS[2:]
    )
    several = bool(run.store.identity.dataset.get("right_labels"))
    for possible, what in (
        ((rank == 1) == (prediction == label), "a rank that its prediction contradicts"),
        (several | (label == label[:, :1]), "another label than under the first condition"),
    ):
        check_possible(positions.image_ids, run.conditions, possible, what)
    return Outcomes(
        positions.image_ids, run.conditions, label[:, 0], prediction, rank > 1, confidence
    )


class Bin(NamedTuple):
    """The outcomes whose confidence lies in (low, high], and their means, None without any."""

    low: float
    high: float
    num_outcomes: int
    confidence: float | None
    accuracy: float | None


def reliability(outcomes: Outcomes, columns: Sequence[int]) -> list[Bin]:
    """Mean confidence and accuracy in the bins of the expected calibration error.

    Args:
        outcomes: Outcomes of one run.
        columns: Indices of the conditions, whose outcomes are pooled.
    """
    # Edges in float32, as in `metrics.calibration.bin_gaps`.
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1).astype(np.float32)
    confidence = outcomes.confidence[:, columns].ravel()
    right = ~outcomes.wrong[:, columns].ravel()
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)
    counts = np.bincount(index, minlength=NUM_BINS)
    confidences = np.bincount(index, confidence.astype(np.float64), NUM_BINS)
    rights = np.bincount(index, right, NUM_BINS)
    return [
        Bin(
            number / NUM_BINS,
            (number + 1) / NUM_BINS,
            int(counts[number]),
            float(confidences[number] / counts[number]) if counts[number] else None,
            float(rights[number] / counts[number]) if counts[number] else None,
        )
        for number in range(NUM_BINS)
    ]


class Confusion(NamedTuple):
    """The class most often predicted instead of another, and its share of the outcomes."""

    label: int
    share: float


class ClassDamage(NamedTuple):
    """Accuracy that the corruptions cost one class, as fractions.

    Attributes:
        label: Index of the class.
        num_images: Number of its images that were evaluated.
        clean_accuracy: Accuracy on clean images; None where they were not evaluated.
        accuracy: Mean accuracy over the corrupted conditions.
        loss: The former minus the latter, with a paired interval over the class's images.
        confusion: The most frequent wrong prediction under corruption, if there is any.
    """

    label: int
    num_images: int
    clean_accuracy: float | None
    accuracy: float
    loss: Estimate
    confusion: Confusion | None


def class_damage(outcomes: Outcomes, confidence: float) -> list[ClassDamage]:
    """Every class that has images, the largest loss first.

    Without clean images there are no losses, and the least accurate class comes first.
    """
    classes = np.unique(outcomes.label)
    losses = _class_losses(outcomes, classes, confidence)
    damages = [
        _damage(outcomes, int(label), loss) for label, loss in zip(classes, losses, strict=True)
    ]

    def key(one: ClassDamage) -> tuple[float, int]:
        return (one.accuracy if one.loss.value is None else -one.loss.value), one.label

    return sorted(damages, key=key)


def _damage(outcomes: Outcomes, label: int, loss: Estimate) -> ClassDamage:
    images = outcomes.of_class(label)
    wrong = outcomes.wrong[images]
    clean = float(1 - wrong[:, 0].mean()) if outcomes.has_clean else None
    corrupted = wrong[:, outcomes.corrupted]
    predictions = outcomes.prediction[images][:, outcomes.corrupted]
    return ClassDamage(
        label,
        len(images),
        clean,
        float(1 - corrupted.mean()),
        loss,
        _confusion(predictions[corrupted], corrupted.size),
    )


def _confusion(wrong_predictions: NDArray[np.int32], num_outcomes: int) -> Confusion | None:
    if not len(wrong_predictions):
        return None
    labels, counts = np.unique(wrong_predictions, return_counts=True)
    most = int(counts.argmax())  # the first of equals, and so the lowest index
    return Confusion(int(labels[most]), float(counts[most] / num_outcomes))


def _class_losses(
    outcomes: Outcomes, classes: NDArray[np.int32], confidence: float
) -> list[Estimate]:
    if not outcomes.has_clean:
        return [Estimate(None, None, None, "the clean images were not evaluated")] * len(
            classes
        )
    rises = outcomes.wrong[:, outcomes.corrupted].mean(axis=1) - outcomes.wrong[:, 0]
    losses = []
    for label in classes:
        one = rises[outcomes.of_class(int(label))]
        mean, squares = one.mean(), one.var() * len(one)
        ends = difference_bounds(np.array([mean]), np.array([squares]), len(one), confidence)
        losses.append(estimate_within(float(mean), ends.low.item(), ends.high.item()))
    return losses


def class_name(names: Mapping[int, str], label: int) -> str:
    """The name of a class or, where it is not recorded, its index."""
    return names.get(label, f"class {label}")
