"""Checks of a study before any network is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing, weights_sha256
from noctule.models.classifier import refuse_unready
from noctule.studies.spec import Study
from noctule.studies.training.initial import initialised, trial_output
from noctule.studies.training.trainer import reject_unreadable, steps_per_epoch


def check_study(study: Study, train: Dataset, test: Dataset) -> None:
    """Check that a study can be trained and measured.

    Raises:
        InputError: The two datasets have different classes, a single class, or a class without
            images; the images do not fill a batch; shifts are as long as the image; or the
            architecture is unknown, does not accept such images, or returns another number of
            logits.
    """
    check_classes(train, test)
    steps_per_epoch(len(train), study.recipe, views=2)
    if study.recipe.shift_px >= study.images.side_px:
        raise InputError(
            f"shift_px is {study.recipe.shift_px}, but images have a side of "
            f"{study.images.side_px} px",
            where=f"{study.name}: recipe.shift_px",
        )
    check_architecture(study, len(train.class_names))


def check_classes(train: Dataset, test: Dataset) -> None:
    """Check that datasets have the same classes, and images of every class."""
    if len(train.class_names) < 2:
        raise InputError(
            f"has a single class, '{train.class_names[0]}'",
            where=train.name,
            remedy="Use a dataset with at least two classes.",
        )
    if train.class_names != test.class_names:
        ours, theirs = set(train.class_names), set(test.class_names)
        differing = sorted(ours ^ theirs)
        what = "are in another order" if not differing else (
            f"differ, first in '{differing[0]}', which only "
            f"{train.name if differing[0] in ours else test.name} has"
        )  # fmt: skip
        raise InputError(
            f"the classes of {train.name} and {test.name} {what}",
            where=test.name,
            remedy="Train and test images need the same class folders.",
        )
    for dataset in (train, test):
        counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
        if empty := [dataset.class_names[i] for i in np.flatnonzero(counts == 0)]:
            raise InputError(
                f"{len(empty)} of {len(counts)} classes have no image, first '{empty[0]}'",
                where=dataset.name,
                remedy="Add images of these classes, or remove the classes from both datasets.",
            )


def check_readable(
    dataset: Dataset,
    preprocessing: Preprocessing,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Decode every image once, so that unreadable images are found before training.

    Args:
        dataset: Images to check.
        preprocessing: Preprocessing that the study uses.
        workers: Number of decoding processes.
        progress: Called with (number of images done, number of all images).

    Raises:
        InputError: An image cannot be decoded.
    """
    done = 0
    for batch in load_batches(dataset, preprocessing, in_order(dataset, 64), workers):
        reject_unreadable(dataset, batch)
        done += len(batch.ids) + len(batch.unreadable)
        progress(done, len(dataset))


def check_architecture(study: Study, num_classes: int) -> None:
    """Build the network and check its logits, in training and in evaluation mode.

    Raises:
        InputError: The architecture is unknown, fails, or returns other shapes.
    """
    side_px = study.images.side_px

    def unsuitable(what: str) -> InputError:
        return InputError(
            what,
            where=study.architecture,
            remedy=f"It must map images (batch, 3, {side_px}, {side_px}) to logits "
            f"(batch, {num_classes}).",
        )

    first, second = (
        initialised(
            lambda: study.untrained(num_classes),
            study.seeds[0],
            study.recipe.initial_weights,
        )
        for _ in range(2)
    )
    _check_builds(first, second, study.architecture)
    for mode, training in (("in training", True), ("in evaluation", False)):
        try:
            logits = trial_output(first.train(training), torch.zeros(2, 3, side_px, side_px))
        except Exception as error:  # the user's code may raise anything
            message = str(error).splitlines()[0] if str(error) else ""
            raise unsuitable(
                f"it fails on an image {mode}: {type(error).__name__}: {message}"
            ) from error
        shape = (
            tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        )
        if shape != (2, num_classes):
            raise unsuitable(f"it returned {shape} for two images {mode}")


def _check_builds(first: nn.Module, second: nn.Module, where: str) -> None:
    """Check that networks built with one seed are equal, trainable and distinct objects."""
    refuse_unready(first, where)
    parameters = list(first.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise InputError("this network has no trainable parameters", where=where)
    if {id(weight) for weight in parameters} & {id(weight) for weight in second.parameters()}:
        raise InputError(
            "it returns the same network, or parts of it, every time",
            where=where,
            remedy="Build a new network in every call.",
        )
    if weights_sha256(first.state_dict()) != weights_sha256(second.state_dict()):
        raise InputError(
            "its initial weights differ from call to call, although PyTorch is seeded",
            where=where,
            remedy="Draw initial weights only with PyTorch's generator.",
        )
