"""A look at a part of the data before the run: what would spoil a night is found at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.data import Dataset
from noctule.errors import InputError, UnreadableImageError
from noctule.loading import read_batch
from noctule.models import Classifier
from noctule.sampling import image_words, key_of

MAX_IMAGES = 256
BATCH_SIZE = 32
MIN_IMAGES_FOR_CHANCE = 32
CHANCE_P_VALUE = 0.01
REMEDY_OFF = "If this is intended, pass --no-self-check."
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Logits = Callable[[Tensor], Tensor]


def check_run(
    classifier: Classifier, dataset: Dataset, logits_of: Logits, on_unreadable: str
) -> None:
    """Show the model some clean images, evenly spread over the data.

    Args:
        classifier: the model.
        dataset: the data.
        logits_of: uint8 pictures (batch, channels, height, width) to logits (batch, classes).
        on_unreadable: "stop" or "skip".

    Raises:
        InputError: a wrong number of classes, another class order, NaN logits, or an accuracy
            that cannot be told from chance, with the likeliest cause.
        UnreadableImageError: an image cannot be decoded, and `on_unreadable` is "stop".
    """
    check_class_names(classifier, dataset)
    pictures, labels = _sample(classifier, dataset, on_unreadable)
    if not len(labels):
        return
    logits = torch.cat([_checked(logits_of(part), dataset) for part in pictures])
    predictions = logits.argmax(dim=1).numpy()
    num_classes = logits.shape[1]
    if not near_chance(int((predictions == labels).sum()), len(labels), num_classes):
        return
    raise _explained(predictions, labels, num_classes, classifier, pictures)


def check_class_names(classifier: Classifier, dataset: Dataset) -> None:
    """Refuse a model whose classes are known and are the data's in another order."""
    ours = [name.casefold() for name in dataset.class_names]
    theirs = [name.casefold() for name in classifier.class_names or ()]
    if ours != theirs and sorted(ours) == sorted(theirs):
        first = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        raise InputError(
            f"class {first} is '{dataset.class_names[first]}' in the data and "
            f"'{(classifier.class_names or ())[first]}' in {classifier.name}",
            where=dataset.name,
            remedy="Bring the classes into the model's order.",
        )


def near_chance(correct: int, images: int, num_classes: int) -> bool:
    """Whether guessing would do as well in more than 1 of 100 tries; False for few images.

    >>> near_chance(10, 100, 10), near_chance(30, 100, 10), near_chance(0, 8, 10)
    (True, False, False)
    """
    from scipy.stats import binom

    if images < MIN_IMAGES_FOR_CHANCE or num_classes < 2:
        return False
    return bool(binom.sf(correct - 1, images, 1 / num_classes) > CHANCE_P_VALUE)


def _sample(
    classifier: Classifier, dataset: Dataset, on_unreadable: str
) -> tuple[list[Tensor], NDArray[np.int64]]:
    count = min(MAX_IMAGES, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    pictures, labels = [], []
    for start in range(0, count, BATCH_SIZE):
        batch = read_batch(
            dataset, classifier.preprocessing, chosen[start : start + BATCH_SIZE]
        )
        if batch.unreadable and on_unreadable == "stop":
            raise UnreadableImageError(*batch.unreadable[0])
        if batch.ids:
            pictures.append(batch.pictures)
            labels.append(batch.labels.numpy())
    return pictures, np.concatenate(labels) if labels else np.empty(0, np.int64)


def _checked(logits: object, dataset: Dataset) -> Tensor:
    """The logits, if they can be scored against this data."""
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"the model returned {shape}",
            remedy="It must return logits of shape (batch, classes).",
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError(
            "the model returned NaN or infinite logits on clean images",
            remedy="Check the weights and the normalisation, or use --precision float32.",
        )
    classes, wanted = logits.shape[1], len(dataset.class_names)
    unnamed = list(dataset.class_names) == [str(number) for number in range(wanted)]
    if classes != wanted and not (unnamed and wanted <= classes):
        raise InputError(
            f"the model has {classes} classes, the data {wanted}",
            where=dataset.name,
            remedy="Evaluate a model trained on these classes, or the data it was trained for.",
        )
    return logits


def _explained(
    predictions: NDArray[np.int64],
    labels: NDArray[np.int64],
    num_classes: int,
    classifier: Classifier,
    pictures: Sequence[Tensor],
) -> InputError:
    accuracy = float((predictions == labels).mean())
    found = (
        f"the accuracy is {100 * accuracy:.1f} % on {len(labels)} images, which guessing "
        f"among {num_classes} classes would reach"
    )
    if len(np.unique(predictions)) == 1:
        always = f"The model always says class {predictions[0]}"
        cause = f"{always}: check its weights and normalisation."
    elif _is_permuted(predictions, labels, num_classes):
        cause = (
            "Its predictions fit the labels after renaming the classes: the label order of the "
            "data is not the model's. Check the labels file, or the sorting of the folders."
        )
    else:
        cause = _normalisation(classifier, pictures, labels, num_classes)
    return InputError(found, where=classifier.name, remedy=f"{cause} {REMEDY_OFF}")


def _is_permuted(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> bool:
    """Whether one-to-one renaming of classes explains most predictions, as chance would not."""
    from scipy.optimize import linear_sum_assignment

    def matched(pairs: NDArray[np.int64]) -> float:
        table = np.zeros((num_classes, num_classes), dtype=np.int64)
        np.add.at(table, (pairs, labels), 1)
        return float(table[linear_sum_assignment(-table)].sum() / len(labels))

    # The same predictions in another order fit no labels but by chance.
    ((words, _),) = image_words([key_of("selfcheck")], range(len(labels)))
    by_chance = matched(predictions[words.argsort().numpy()])
    return matched(predictions) > max(0.3, by_chance + 0.2)


def _normalisation(
    classifier: Classifier,
    pictures: Sequence[Tensor],
    labels: NDArray[np.int64],
    num_classes: int,
) -> str:
    """The likeliest cause when the class order is not: try the usual normalisations."""
    from dataclasses import replace

    now = classifier.preprocessing
    usual = [((0.0,) * now.channels, (1.0,) * now.channels, "none")]
    if now.channels == 3:
        usual.append((IMAGENET_MEAN, IMAGENET_STD, "ImageNet's mean and standard deviation"))
    for mean, std, name in usual:
        other = replace(now, mean=mean, std=std)
        predictions = torch.cat(
            [_module_logits(classifier, other.normalise(part)) for part in pictures]
        ).argmax(dim=1)
        correct = int((predictions.numpy() == labels).sum())
        if not near_chance(correct, len(labels), num_classes):
            return (
                f"With another normalisation ({name}) it is "
                f"{100 * correct / len(labels):.1f} %: the images seem to arrive normalised "
                "twice, or not at all. Set --mean and --std."
            )
    return "Check the weights, the class order, the preprocessing, and that this is its data."


@torch.no_grad()
def _module_logits(classifier: Classifier, inputs: Tensor) -> Tensor:
    device = next((p.device for p in classifier.module.parameters()), torch.device("cpu"))
    logits: Tensor = classifier.module(inputs.to(device))
    return logits.float().cpu()
