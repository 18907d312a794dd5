"""What would spoil a study is said before its first step, not after its last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing, build_untrained, weights_sha256
from noctule.models.classifier import refuse_unready
from noctule.studies.spec import Study
from noctule.studies.training.initial import initialised, thrown_away
from noctule.studies.training.trainer import refuse_unreadable, steps_per_epoch


def check_study(study: Study, train: Dataset, test: Dataset) -> None:
    """Refuse what cannot be trained or measured.

    Raises:
        InputError: The two sets have other classes, a single one, or a class without images;
            the images do not fill a batch; shifts are as long as the image; the architecture
            is unknown, does not take such images, or has another number of logits.
    """
    check_classes(train, test)
    steps_per_epoch(len(train), study.recipe, views=2)
    if study.recipe.shift_px >= study.images.side_px:
        raise InputError(
            f"shift_px is {study.recipe.shift_px}, and an image has a side of "
            f"{study.images.side_px} px",
            where=f"{study.name}: recipe.shift_px",
        )
    check_architecture(study, len(train.class_names))


def check_classes(train: Dataset, test: Dataset) -> None:
    """Refuse sets that do not share their classes, or have a class without an image."""
    if len(train.class_names) < 2:
        raise InputError(
            f"has a single class, '{train.class_names[0]}'",
            where=train.name,
            remedy="Nothing can be learned from one class: give two or more.",
        )
    if train.class_names != test.class_names:
        ours, theirs = set(train.class_names), set(test.class_names)
        differing = sorted(ours ^ theirs)
        what = "are in another order" if not differing else (
            f"differ, first in '{differing[0]}', which "
            f"{train.name if differing[0] in ours else test.name} alone has"
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
                remedy="Add images of them, or leave the class out of both sets.",
            )


def check_readable(
    dataset: Dataset,
    preprocessing: Preprocessing,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Decode every image once: a torn one is better found now than after days.

    Args:
        dataset: The images.
        preprocessing: As they are to be used.
        workers: Processes that decode.
        progress: Called with (images done, images in all).

    Raises:
        InputError: An image cannot be decoded.
    """
    done = 0
    for batch in load_batches(dataset, preprocessing, in_order(dataset, 64), workers):
        refuse_unreadable(dataset, batch)
        done += len(batch.ids) + len(batch.unreadable)
        progress(done, len(dataset))


def check_architecture(study: Study, num_classes: int) -> None:
    """Build the network, take a step with it that is thrown away, and ask it for logits."""
    side_px = study.images.side_px

    def refuse(what: str) -> InputError:
        return InputError(
            what,
            where=study.architecture,
            remedy=f"It has to turn images (batch, 3, {side_px}, {side_px}) into logits "
            f"(batch, {num_classes}).",
        )

    first, second = (
        initialised(
            lambda: build_untrained(study.architecture, num_classes, side_px),
            study.seeds[0],
            study.recipe.initial_weights,
        )
        for _ in range(2)
    )
    _refuse_unsuitable(first, second, study.architecture)
    for how, training in (("in training", True), ("in evaluation", False)):
        try:
            logits = thrown_away(first.train(training), torch.zeros(2, 3, side_px, side_px))
        except Exception as error:  # the user's code may raise anything
            message = str(error).splitlines()[0] if str(error) else ""
            raise refuse(
                f"it fails on an image {how}: {type(error).__name__}: {message}"
            ) from error
        shape = (
            tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        )
        if shape != (2, num_classes):
            raise refuse(f"it returned {shape} for two images {how}")


def _refuse_unsuitable(first: nn.Module, second: nn.Module, where: str) -> None:
    """Two networks built with one seed have to be alike, trainable, and not the same one."""
    refuse_unready(first, where)
    parameters = list(first.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise InputError("this network has nothing to train", where=where)
    if {id(one) for one in parameters} & {id(one) for one in second.parameters()}:
        raise InputError(
            "it returns the same network, or parts of it, every time",
            where=where,
            remedy="Every call has to build a new one.",
        )
    if weights_sha256(first.state_dict()) != weights_sha256(second.state_dict()):
        raise InputError(
            "its initial weights do not come from PyTorch's generator: they differ from call "
            "to call",
            where=where,
            remedy="Draw them with PyTorch, which is seeded here.",
        )
