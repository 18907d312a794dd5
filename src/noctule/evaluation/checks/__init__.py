"""Sanity checks on a sample of the data before a run, so that mistakes show at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from noctule.data import Dataset
from noctule.errors import InputError, shown
from noctule.evaluation.checks.classes import check_classes
from noctule.evaluation.checks.outputs import check_outputs
from noctule.evaluation.checks.renaming import Renaming, find_renaming, is_suspicious
from noctule.evaluation.checks.sample import Answers, LogitsOf, Viewer
from noctule.evaluation.checks.statistics import at_most_p, percent
from noctule.evaluation.checks.variants import best_variant, compare
from noctule.models import Classifier

__all__ = ["check_classes", "check_run"]

IMAGES = 256
IMAGES_IN_DOUBT = 1024
LEAST_ERRORS = 16
SUSPICION = 0.05
EXAMPLES = 2
GUESSING_ALPHA = 2e-4
REMEDY_OFF = "If this is intended, pass --no-self-check."


def check_run(
    classifier: Classifier,
    dataset: Dataset,
    logits_of: LogitsOf,
    *,
    batch_size: int,
    on_unreadable: str,
    thorough: bool = True,
) -> None:
    """Run the model on some clean images, evenly spread over the classes.

    The tests together stop fewer than 1 in 1,000 honest models: those with an accuracy of at
    least `least_accuracy` that do not prefer a wrong class to the right one by 2 to 1.
    scripts/self_check.py simulates how often honest models are stopped.

    Args:
        classifier: The model.
        dataset: The data.
        logits_of: See `Viewer`.
        batch_size: Images per forward pass.
        on_unreadable: "stop" or "skip".
        thorough: Whether to run all checks. If not, only the classes and the shape of the
            logits are checked, on one batch.

    Raises:
        InputError: The classes differ; the logits have the wrong shape, are not finite, or are
            probabilities; another class order or preprocessing is clearly better; or the
            accuracy is that of guessing. The message gives the likeliest cause.
        UnreadableImageError: An image cannot be decoded, and `on_unreadable` is "stop".
    """
    check_classes(classifier, dataset)
    viewer = Viewer(classifier, dataset, logits_of, batch_size, on_unreadable)
    if not thorough:
        viewer.answers(np.arange(min(batch_size, len(dataset))))
    else:
        check_answers(viewer)


def check_answers(viewer: Viewer) -> None:
    """Every check of the model's outputs for clean images; see `check_run`."""
    classifier = viewer.classifier
    answers = viewer.answers(viewer.choose(IMAGES))
    if not len(answers.labels):
        return
    _check_finite(answers, classifier)
    _refuse_what_fits_better(viewer, answers)
    _check_not_constant(answers, classifier)
    check_outputs(answers, classifier.name, REMEDY_OFF)
    _check_above_guessing(viewer, answers)


def least_accuracy(num_classes: int) -> float:
    """The accuracy above which a model counts as better than guessing.

    >>> [round(least_accuracy(classes), 3) for classes in (2, 10, 1000)]
    [0.6, 0.2, 0.051]
    """
    chance = 1 / num_classes
    return chance + min(max(chance, 0.05), 0.1)


def _check_finite(answers: Answers, classifier: Classifier) -> None:
    if not bool(torch.isfinite(answers.logits).all()):
        raise InputError(
            "the model returned NaN or infinite logits on clean images",
            where=classifier.name,
            remedy="Check the weights and the normalisation, or use --precision float32.",
        )


def _more(viewer: Viewer, answers: Answers) -> Answers:
    """Outputs for more images, also of the classes that the model predicts most often."""
    if len(answers.labels) == len(viewer.dataset):
        return answers
    frequent = [label for label, _ in Counter(answers.predictions.tolist()).most_common()]
    return viewer.answers(viewer.choose(IMAGES_IN_DOUBT, frequent))


class _Finding(NamedTuple):
    """A class order or preprocessing that is better.

    Attributes:
        accuracy: The accuracy it would reach.
        what: Both accuracies, for the message.
        remedy: How to apply it.
    """

    accuracy: float
    what: str
    remedy: str


def _refuse_what_fits_better(viewer: Viewer, answers: Answers) -> None:
    """Raise the finding of the highest accuracy, if there is one."""
    both = (_another_order(viewer, answers), _another_form(viewer, answers))
    if findings := [finding for finding in both if finding is not None]:
        best = max(findings, key=lambda finding: finding.accuracy)
        raise InputError(
            best.what, where=viewer.classifier.name, remedy=f"{best.remedy} {REMEDY_OFF}"
        )


def _another_form(viewer: Viewer, answers: Answers) -> _Finding | None:
    most = min(IMAGES_IN_DOUBT, len(viewer.dataset))
    if (1 - answers.correct.mean()) * most < LEAST_ERRORS:
        return None
    best = best_variant(viewer, answers)
    if best is None or best.p_value > SUSPICION:
        return None
    best = compare(viewer, _more(viewer, answers), best.variant)
    if not best.is_clear:
        return None
    what = (
        f"the accuracy is {percent(best.given_accuracy)} on {best.images} images, and "
        f"{percent(best.accuracy)} if they reach the network {best.variant.description}"
    )
    return _Finding(best.accuracy, what, best.variant.remedy)


def _another_order(viewer: Viewer, answers: Answers) -> _Finding | None:
    class_names = viewer.dataset.class_names
    if len(np.unique(answers.predictions)) == 1 < len(np.unique(answers.labels)):
        return None  # no order explains a constant prediction
    if not is_suspicious(answers, class_names):
        return None
    answers = _more(viewer, answers)
    renaming = find_renaming(answers, class_names)
    if renaming is None:
        return None
    renamed = float((answers.predictions == renaming.apply(answers.labels)).mean())
    what = (
        f"the accuracy is {percent(answers.correct.mean())} on {len(answers.labels)} images, "
        f"and {percent(renamed)} if {_in_words(renaming, class_names)}"
    )
    remedy = renaming.cause or (
        "The order of the data's classes is not the model's: check the labels file, or the "
        "names of the class folders."
    )
    return _Finding(renamed, what, remedy)


def _in_words(renaming: Renaming, class_names: Sequence[str]) -> str:
    """The classes that are moved, for the message."""
    moved = list(renaming.target.items())
    some = ", ".join(
        f"'{shown(class_names[old])}' has index {old} in the data and {new} in the model"
        for old, new in moved[:EXAMPLES]
    )
    return f"{len(moved)} classes are moved: {some}{', …' * (len(moved) > EXAMPLES)}"


def _check_not_constant(answers: Answers, classifier: Classifier) -> None:
    predicted = answers.predictions[0]
    others = int((answers.labels != predicted).sum())
    least = least_accuracy(answers.logits.shape[1])
    constant = bool((answers.predictions == predicted).all())
    if constant and at_most_p(0, others, least) <= GUESSING_ALPHA:
        raise InputError(
            f"the model predicts class {predicted} for each of {len(answers.labels)} images, "
            f"of which {others} have another label",
            where=classifier.name,
            remedy=f"Check its weights and normalisation. {REMEDY_OFF}",
        )


def _check_above_guessing(viewer: Viewer, answers: Answers) -> None:
    """Refuse the accuracy of guessing; in doubt, more images show whether it is twice that."""
    num_classes = answers.logits.shape[1]
    least = least_accuracy(num_classes)
    if GUESSING_ALPHA < _p_of_accuracy(answers, least) <= SUSPICION:
        answers, least = _more(viewer, answers), min(least, 2 / num_classes)
    if _p_of_accuracy(answers, least) <= GUESSING_ALPHA:
        correct, images = int(answers.correct.sum()), len(answers.labels)
        raise InputError(
            f"the accuracy is {percent(correct / images)} on {images} images, hardly above the "
            f"{percent(1 / num_classes)} of guessing among {num_classes} classes",
            where=viewer.classifier.name,
            remedy="Check the weights, the class order, the preprocessing, and that this is "
            f"the model's data. {REMEDY_OFF}",
        )


def _p_of_accuracy(answers: Answers, accuracy: float) -> float:
    """Probability of at most this number of correct predictions at that accuracy."""
    return at_most_p(int(answers.correct.sum()), len(answers.labels), accuracy)
