"""One run in detail: losses by condition, calibration, and damage by class."""

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
from noctule.metrics.outcome_matrix import check_possible, places_of
from noctule.report.loading import Run
from noctule.report.run_groups import Summary

_COLUMNS = ("image_id", "condition", "label", "prediction", "label_rank", "confidence")


@dataclass(frozen=True)
class Outcomes:
    """What one model did on each image (row) under each condition (column).

    Attributes:
        image_ids: sorted.
        conditions: clean first, if it is there.
        label: (images,).
        prediction, wrong, confidence: (images, conditions).
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
        """Numbers of the conditions other than clean."""
        return [number for number, name in enumerate(self.conditions) if name != CLEAN]

    def of_class(self, label: int) -> NDArray[np.intp]:
        """Numbers of the images of a class."""
        return np.flatnonzero(self.label == label)


def outcomes_of(run: Run) -> Outcomes:
    """The rows of a run, joined by image id."""
    rows = run.store.rows(columns=_COLUMNS)
    places = places_of(rows, run.conditions)
    label, prediction, rank, confidence = (places.matrix(rows[name]) for name in _COLUMNS[2:])
    for possible, what in (
        ((rank == 1) == (prediction == label), "a rank that its prediction contradicts"),
        (label == label[:, :1], "another label than under the first condition"),
    ):
        check_possible(places.image_ids, run.conditions, possible, what)
    return Outcomes(
        places.image_ids, run.conditions, label[:, 0], prediction, rank > 1, confidence
    )


class Loss(NamedTuple):
    """What a condition costs: accuracy on clean images less accuracy under it, as fractions."""

    condition: str
    accuracy: Estimate
    loss: Estimate


def losses(summary: Summary) -> list[Loss]:
    """The corrupted conditions, the most damaging first.

    The interval of a loss is paired: both conditions are of the same images. Without clean
    images a loss is not defined, and the conditions are in the order of their accuracy.
    """
    scores = summary.scores
    found = [
        Loss(name, scores.of("accuracy", name), scores.of("error_rise", name))
        for name in summary.run.corrupted
    ]
    return sorted(found, key=lambda one: (one.accuracy.value or 0.0, one.condition))


class Bin(NamedTuple):
    """Outcomes whose confidence lies in (low, high]; means are None where there are none."""

    low: float
    high: float
    num_outcomes: int
    confidence: float | None
    accuracy: float | None


def reliability(outcomes: Outcomes, columns: Sequence[int]) -> list[Bin]:
    """Mean confidence and accuracy in the bins of the expected calibration error.

    Args:
        outcomes: of one run.
        columns: numbers of the conditions, whose outcomes are taken together.
    """
    # Edges in float32, as in `metrics.calibration.bin_gaps`.
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1).astype(np.float32)
    confidence = outcomes.confidence[:, columns].ravel()
    right = ~outcomes.wrong[:, columns].ravel()
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)
    counts = np.bincount(place, minlength=NUM_BINS)
    confidences = np.bincount(place, confidence.astype(np.float64), NUM_BINS)
    rights = np.bincount(place, right, NUM_BINS)
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
    """The class most often predicted in the place of another, and its share of outcomes."""

    label: int
    share: float


class ClassDamage(NamedTuple):
    """What the corruptions cost one class; fractions.

    Attributes:
        label: its index.
        num_images: how many of its images were evaluated.
        clean_accuracy: None where the clean images were not evaluated.
        accuracy: mean over the corrupted conditions.
        loss: the former less the latter; its interval is paired, over the images of the class.
        confusion: the most frequent wrong prediction under corruption, if there is any.
    """

    label: int
    num_images: int
    clean_accuracy: float | None
    accuracy: float
    loss: Estimate
    confusion: Confusion | None


def class_damage(outcomes: Outcomes, confidence: float) -> list[ClassDamage]:
    """Every class that has images, the one that loses most first; without clean images the
    least accurate first.
    """
    classes = np.unique(outcomes.label)
    estimates = _class_losses(outcomes, classes, confidence)
    found = [
        _damage(outcomes, int(label), estimate)
        for label, estimate in zip(classes, estimates, strict=True)
    ]
    return sorted(found, key=_order)


def _order(one: ClassDamage) -> tuple[float, int]:
    return (one.accuracy if one.loss.value is None else -one.loss.value), one.label


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
    found = []
    for label in classes:
        one = rises[outcomes.of_class(int(label))]
        mean, squares = one.mean(), one.var() * len(one)
        ends = difference_bounds(np.array([mean]), np.array([squares]), len(one), confidence)
        found.append(estimate_within(float(mean), ends.low.item(), ends.high.item()))
    return found


def class_name(names: Mapping[int, str], label: int) -> str:
    """A class by its name or, where that is not recorded, by its index."""
    return names.get(label, f"class {label}")
