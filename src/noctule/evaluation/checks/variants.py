"""Whether the network expects another form of images: normalisation, range, or BGR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from noctule.evaluation.checks.sample import Answers, Viewer
from noctule.evaluation.checks.statistics import at_least_p
from noctule.models import Preprocessing

ALPHA = 2.3e-5
"""For each of at most 17 variants, so that all together stay below 4 of 10,000."""

MIN_GAIN = 0.02
MIN_ERRORS_REMOVED = 0.15
"""Share of errors that a variant must remove."""

WEAK_ACCURACY = 0.5
MIN_ERRORS_REMOVED_IF_WEAK = 0.4
"""For an accuracy below `WEAK_ACCURACY`: a hardly trained network may gain from more contrast
or another mean, but not that much."""

SCREENED_IMAGES = 64

COLOUR = {
    "without normalisation, in [0, 1]": ((0.0,) * 3, (1.0,) * 3),
    "in [-1, 1]": ((0.5,) * 3, (0.5,) * 3),
    "in [-2, 2], as noctule's own networks take them": ((0.5,) * 3, (0.25,) * 3),
    "in 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
    "with ImageNet's mean and standard deviation": (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225),
    ),
    "with CLIP's mean and standard deviation": (
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),
    ),
    "with CIFAR-10's mean and standard deviation": (
        (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
    ),
    "in 0 to 255 less the mean, as Caffe's networks take them": (
        tuple(value / 255 for value in (123.68, 116.779, 103.939)), (1 / 255,) * 3,
    ),
}  # fmt: skip
"""Mean and standard deviation, of red, green and blue."""

GREY = {
    "without normalisation, in [0, 1]": ((0.0,), (1.0,)),
    "in [-1, 1]": ((0.5,), (0.5,)),
    "in 0 to 255": ((0.0,), (1 / 255,)),
    "with MNIST's mean and standard deviation": ((0.1307,), (0.3081,)),
}


class Variant(NamedTuple):
    """A form in which images may reach the network.

    Attributes:
        description: Completes "if the images arrive …".
        preprocessing: Its mean and standard deviation.
        reverses: Whether the channels are blue, green, red.
    """

    description: str
    preprocessing: Preprocessing
    reverses: bool

    @property
    def remedy(self) -> str:
        """The change to make."""
        mean, std = (
            ",".join(f"{value:.6g}" for value in values)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        set_them = f"Set --mean {mean} --std {std} (in Python, the preprocessing's)"
        if not self.reverses:
            return f"{set_them}, or take a second normalisation out of the network."
        return f"Flip the channels at the network's input (images.flip(1)). {set_them}."


class VariantComparison(NamedTuple):
    """A variant and the given preprocessing, on the same images.

    Attributes:
        variant: The variant.
        given_accuracy: Accuracy with the given preprocessing.
        accuracy: Accuracy with the variant.
        p_value: P-value of a one-sided exact McNemar test of whether the variant is better.
        fits_better: Whether the variant's cross-entropy is lower, too. More contrast alone
            makes a network more confident, and its errors costlier.
        images: Number of images.
    """

    variant: Variant
    given_accuracy: float
    accuracy: float
    p_value: float
    fits_better: bool
    images: int

    @property
    def is_clear(self) -> bool:
        """Whether the variant is better by a relevant and significant amount."""
        gain, errors = self.accuracy - self.given_accuracy, 1 - self.given_accuracy
        is_weak = self.given_accuracy < WEAK_ACCURACY
        share = MIN_ERRORS_REMOVED_IF_WEAK if is_weak else MIN_ERRORS_REMOVED
        is_large = gain >= max(MIN_GAIN, share * errors)
        return self.p_value <= ALPHA and is_large and self.fits_better


def variants_of(given: Preprocessing) -> list[Variant]:
    """The forms to try: usual normalisations as RGB and, for colour images, as BGR."""
    usual = COLOUR if given.channels == 3 else GREY
    variants = []
    for description, (mean, std) in usual.items():
        preprocessing = replace(given, mean=mean, std=std)
        if (mean, std) != (given.mean, given.std):
            variants.append(Variant(description, preprocessing, reverses=False))
        if given.channels == 3 and (mean, std) != (given.mean, given.std):
            flipped = replace(given, mean=mean[::-1], std=std[::-1])
            variants.append(Variant(f"as BGR, {description}", flipped, reverses=True))
    if given.channels == 3:
        flipped = replace(given, mean=given.mean[::-1], std=given.std[::-1])
        variants.append(Variant("as BGR", flipped, reverses=True))
    return variants


def best_variant(viewer: Viewer, answers: Answers) -> VariantComparison | None:
    """The variant that is best on a few images, compared on all; None if none is better."""
    variants = variants_of(viewer.classifier.preprocessing)
    count = min(len(answers.labels), max(SCREENED_IMAGES, viewer.batch_size))
    correct = _scores(viewer, answers.indices[:count], variants).correct
    best = correct.sum(axis=1).argmax()
    if correct[best].sum() <= answers.correct[:count].sum():
        return None
    return compare(viewer, answers, variants[best])


def compare(viewer: Viewer, answers: Answers, variant: Variant) -> VariantComparison:
    """The variant on the images of `answers`."""
    scores = _scores(viewer, answers.indices, [variant])
    correct = scores.correct[0]
    given_losses = cross_entropy(answers.logits, torch.from_numpy(answers.labels))
    better = int((correct & ~answers.correct).sum())
    worse = int((~correct & answers.correct).sum())
    return VariantComparison(
        variant,
        float(answers.correct.mean()),
        float(correct.mean()),
        at_least_p(better, better + worse, 0.5),
        scores.mean_losses[0] < float(given_losses),
        len(answers.labels),
    )


class _Scores(NamedTuple):
    """Results of several variants.

    Attributes:
        correct: Whether each image is classified correctly, (variants, images).
        mean_losses: Mean cross-entropy of each variant.
    """

    correct: NDArray[np.bool_]
    mean_losses: list[float]


def _scores(viewer: Viewer, indices: NDArray[np.int64], variants: Sequence[Variant]) -> _Scores:
    parts, losses = [], []
    for readable, batch in viewer.batches(indices):
        labels = torch.from_numpy(viewer.dataset.labels[readable])
        rows, sums = [], []
        for variant in variants:
            images = batch.images.flip(1) if variant.reverses else batch.images
            logits = viewer.logits(images, variant.preprocessing)
            rows.append(logits.argmax(dim=1) == labels)
            sums.append(float(cross_entropy(logits, labels, reduction="sum")))
        parts.append(torch.stack(rows))
        losses.append(sums)
    correct = torch.cat(parts, dim=1).numpy()
    return _Scores(correct, (np.sum(losses, axis=0) / correct.shape[1]).tolist())
