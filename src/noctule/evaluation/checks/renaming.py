"""Whether predictions match the labels better after classes are renamed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noctule.evaluation.checks.sample import Answers
from noctule.evaluation.checks.statistics import at_least_p

Labels = NDArray[np.int64]

ALPHA = 1e-4
"""Of each of the three tests."""

ODDS = 2 / 3
"""An honest model may confuse two classes as often as it is right, or somewhat more. So in the
classes of a fitted renaming, the new names must be right significantly more than twice as often
as the given ones."""

MIN_GAIN = 0.02
MIN_ERRORS_REMOVED = 0.15
"""Share of errors that a renaming must remove. Weak models that favour a few classes gain
less."""

FEW_IMAGES = 100
FEW_IMAGES_EVIDENCE = 64
SURE = np.log(1000)
MIN_IMAGES_PER_CLASS = 3


SUSPICION = 0.01
EAGER, CAUTIOUS = 0.5, 1.5
"""Number of images that must support another name of a class: one, or two."""


class Votes(NamedTuple):
    """Numbers of images that are correct under only one of two namings of the classes.

    Attributes:
        better: Images that are correct only under the new names.
        worse: Images that are correct only under the given names.
    """

    better: int
    worse: int

    def are_clear(self, share: float, alpha: float, images: int) -> bool:
        """Whether significantly more than `share` are better, by enough images."""
        p_value = at_least_p(self.better, self.better + self.worse, share)
        return p_value <= alpha and self.better - self.worse >= MIN_GAIN * images


class Renaming(NamedTuple):
    """Other names for classes.

    Attributes:
        target: The model's class index by the label in the data; other labels keep theirs.
        cause: The explanation and the remedy; None if unknown.
    """

    target: Mapping[int, int]
    cause: str | None = None

    def apply(self, labels: Labels) -> Labels:
        """The labels, renamed."""
        return np.array([self.target.get(label, label) for label in labels.tolist()], np.int64)

    def correct(self, labels: Labels, predictions: Labels) -> int:
        """Number of predictions that are the renamed label."""
        return int((self.apply(labels) == predictions).sum())


def is_suspicious(answers: Answers, class_names: Sequence[str]) -> bool:
    """Whether a renaming looks better, so that more images should be checked."""
    labels, predictions = answers.labels, answers.predictions
    votes = _votes(labels, predictions, _best(labels, predictions, CAUTIOUS))
    if votes.better - votes.worse >= MIN_GAIN * len(labels):
        return True
    known = [_votes(labels, predictions, renaming) for renaming in known_renamings(class_names)]
    return any(at_least_p(votes.better, sum(votes), 0.5) <= SUSPICION for votes in known)


def find_renaming(answers: Answers, class_names: Sequence[str]) -> Renaming | None:
    """A renaming that is significantly better than the given names, if there is one.

    An honest model may confuse classes as long as a wrong class is at most twice as frequent as
    the right one. There are three tests, each with a false-alarm rate below 1 in 10,000:

    - Orders that occur in practice (numeric instead of alphabetic, indices from 1): an exact
      sign test over all images that are correct under only one of the two orders.
    - The best one-to-one renaming, fitted on one half of the images of each class and tested
      on the other half, and vice versa, so that fitting noise gains nothing.
    - For fewer than 100 images: the best renaming of all of them, if every image of the renamed
      classes supports it with high confidence.
    """
    labels, predictions = answers.labels, answers.predictions
    known = known_renamings(class_names)
    tested = [
        (renaming, _votes(labels, predictions, renaming), 0.5, ALPHA / len(known))
        for renaming in known
    ]
    for reluctance in (EAGER, CAUTIOUS):
        votes = _cross_votes(labels, predictions, reluctance)
        best = _best(labels, predictions, reluctance)
        tested.append((best, votes, ODDS, ALPHA / 2))
    least_gain = MIN_ERRORS_REMOVED * (labels != predictions).sum()
    better = [
        renaming
        for renaming, votes, share, alpha in tested
        if votes.better - votes.worse >= least_gain
        and votes.are_clear(share, alpha, len(labels))
    ]
    if few := _convincing_few(answers):
        better.append(few)
    return max(better, key=lambda one: one.correct(labels, predictions), default=None)


def known_renamings(class_names: Sequence[str]) -> list[Renaming]:
    """The class orders that are often confused.

    >>> known_renamings(["1", "10", "9"])[0].target  # 9 would come before 10
    {2: 1, 1: 2}
    """
    count = len(class_names)
    found = []
    for key, cause in (
        (_numeric_key, "The classes are sorted as text ({}); the model has them in numeric "
         "order. Write the numbers with leading zeros in the names of the folders, or as plain "
         "class indices in the labels file."),
        (str.casefold, "The classes are sorted with capitals first ({}); the model has them "
         "in alphabetical order. Write their names in lower case."),
    ):  # fmt: skip
        keys = [key(name) for name in class_names]
        order = sorted(range(count), key=keys.__getitem__)
        moved = {old: new for new, old in enumerate(order) if old != new}
        if moved:
            some = ", ".join(class_names[:4])
            found.append(Renaming(moved, cause.format(f"{some}, …" if count > 4 else some)))
    if count == 2:
        found.append(Renaming({0: 1, 1: 0}))
    else:
        found.append(Renaming({one: one - 1 for one in range(1, count)}, _SHIFTED))
        found.append(Renaming({one: one + 1 for one in range(count)}, _SHIFTED))
    return found


_SHIFTED = "The labels are off by one: the model and the data count classes from 0 and from 1."


def _numeric_key(name: str) -> list[str | int]:
    pieces = re.split(r"(\d{1,30})", name)  # texts and numbers in turn
    return [int(piece) if turn % 2 else piece for turn, piece in enumerate(pieces)]


def _votes(labels: Labels, predictions: Labels, renaming: Renaming) -> Votes:
    renamed = renaming.apply(labels)
    moved = renamed != labels
    better = int((moved & (predictions == renamed)).sum())
    worse = int((moved & (predictions == labels)).sum())
    return Votes(better, worse)


def _cross_votes(labels: Labels, predictions: Labels, reluctance: float) -> Votes:
    """Votes of each half of the images for the best renaming of the other half."""
    half = _turns(labels) % 2
    better = worse = 0
    for fitted, tested in ((0, 1), (1, 0)):
        renaming = _best(labels[half == fitted], predictions[half == fitted], reluctance)
        votes = _votes(labels[half == tested], predictions[half == tested], renaming)
        if votes.better <= votes.worse:
            return Votes(0, 0)
        better, worse = better + votes.better, worse + votes.worse
    return Votes(better, worse)


def _turns(labels: Labels) -> Labels:
    """For each image, the number of earlier images of its class.

    >>> _turns(np.array([5, 7, 5, 5])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    turns = np.empty(len(labels), np.int64)
    turns[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return turns


def _best(labels: Labels, predictions: Labels, reluctance: float) -> Renaming:
    """The one-to-one renaming with the most correct predictions.

    A class that keeps its name counts as if `reluctance` more of its images were correct. Only
    classes that occur are considered, so that memory does not grow with their number.
    """
    from scipy.optimize import linear_sum_assignment

    used = np.union1d(labels, predictions)
    counts = np.diag(np.isin(used, labels) * reluctance)
    where = np.searchsorted(used, labels), np.searchsorted(used, predictions)
    np.add.at(counts, where, 1)
    old, new = linear_sum_assignment(counts, maximize=True)
    occurring = np.isin(used[old], labels)
    pairs = zip(used[old][occurring].tolist(), used[new][occurring].tolist(), strict=True)
    return Renaming({a: b for a, b in pairs if a != b})


def _convincing_few(answers: Answers) -> Renaming | None:
    """The best renaming, if each image of the renamed classes supports it with confidence.

    A model that cannot distinguish two classes prefers the wrong one for all of n images in
    fewer than 1 of 2^n cases, and hardly ever with odds of 1000 to 1 each time, unless it
    learned these images under another name.
    """
    labels, predictions = answers.labels, answers.predictions
    renaming = _best(labels, predictions, EAGER)
    renamed = renaming.apply(labels)
    moved = np.flatnonzero(renamed != labels)
    if len(labels) >= FEW_IMAGES or not len(moved):
        return None
    if len(moved) < MIN_IMAGES_PER_CLASS * len(np.unique(labels[moved])):
        return None
    if not (predictions[moved] == renamed[moved]).all():
        return None
    margin = _logits_at(answers.logits, moved, renamed) - _logits_at(
        answers.logits, moved, labels
    )
    telling = 2.0 ** len(moved) >= FEW_IMAGES_EVIDENCE * len(np.unique(labels))
    return renaming if telling and margin.min() >= SURE else None


def _logits_at(logits: Tensor, rows: Labels, classes: Labels) -> NDArray[np.float64]:
    values: NDArray[np.float64] = logits.double().numpy()[rows, classes[rows]]
    return values
