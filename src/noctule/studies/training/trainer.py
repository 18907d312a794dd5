"""Lockstep training: networks that share one stream of images, each with its own corruption.

A batch is read, decoded and augmented once; then every network takes its own step on it. The
weights of a network depend only on its recipe, seed and views, not on the networks that train
alongside it or on interruptions. On a CPU, results are bit-identical for a fixed number of
threads, on which the order of sums in convolutions depends; on a GPU, sums are not
reproducible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noctule.data import Dataset
from noctule.errors import InputError, MachineError
from noctule.evaluation.loading import Batch, load_batches
from noctule.models import Preprocessing
from noctule.models.classifier import set_channels_last
from noctule.studies.training.initial import initialised, torch_seed
from noctule.studies.training.recipe import Recipe
from noctule.studies.training.stream import Views, augmented, corrupted, draw_epoch

CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class TrainingConfig:
    """The settings that all networks in lockstep training share.

    Attributes:
        dataset: Labelled images.
        preprocessing: Resizing before corruption, and normalisation after it.
        recipe: Training recipe.
        seed: Seed of initial weights, order, augmentations, corruptions and dropout.
        device: Device of the networks.
        precision: Precision of the forward and backward passes; weights are float32.
        workers: Number of decoding processes.
        compiled: Whether to compile the networks with `torch.compile`.
        channels_last: Whether to use this memory format, in which convolutions are a third
            faster, on CPUs as well; networks that flatten with `view` do not support it.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    recipe: Recipe
    seed: int = 0
    device: torch.device = CPU
    precision: Literal["float32", "bfloat16"] = "float32"
    workers: int = 0
    compiled: bool = False
    channels_last: bool = True


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A network in training.

    Attributes:
        name: Name in messages.
        views: Views of each image in an epoch.
        module: Network, in training mode, on the device of the config.
        optimiser: Optimiser of its weights.
        forward: The network, or its compiled form.
        losses: Mean cross-entropy of each finished epoch, in nats.
    """

    name: str
    views: Views
    module: nn.Module
    optimiser: torch.optim.Optimizer
    forward: Callable[[Tensor], Tensor]
    losses: list[float] = field(default_factory=list)


def init_run(
    name: str, views: Views, build: Callable[[], nn.Module], config: TrainingConfig
) -> TrainingRun:
    """Build a network for training.

    Raises:
        MachineError: The memory of the device does not suffice.
    """
    module = initialised(build, config.seed, config.recipe.initial_weights)
    with _memory_errors(config.device):
        module = module.to(config.device).train()
        if config.channels_last:
            set_channels_last(module)
    forward = torch.compile(module) if config.compiled else module
    return TrainingRun(name, views, module, config.recipe.optimiser.build(module), forward)


def steps_per_epoch(images: int, recipe: Recipe, views: int) -> int:
    """Number of full batches in an epoch.

    Raises:
        InputError: There is no full batch, or the batch size is not a multiple of the views.
    """
    if recipe.batch_size % views:
        raise InputError(
            f"{recipe.batch_size} is not a multiple of the {views} views of each image",
            where="recipe.batch_size",
            remedy=f"Use a multiple of {views}.",
        )
    steps = images // (recipe.batch_size // views)
    if steps == 0:
        raise InputError(
            f"{images} images with {views} views each do not fill a batch of "
            f"{recipe.batch_size}",
            where="recipe.batch_size",
            remedy="Use smaller batches, or more images.",
        )
    return steps


def reject_unreadable(dataset: Dataset, batch: Batch) -> None:
    """Check that all images of a batch were decoded.

    Raises:
        InputError: An image could not be decoded.
    """
    for image_id, reason in batch.unreadable:
        raise InputError(
            f"cannot read the image '{image_id}': {reason}",
            where=dataset.name,
            remedy="Repair or remove the file.",
        )


def train(
    runs: Sequence[TrainingRun],
    config: TrainingConfig,
    *,
    after_epoch: Callable[[TrainingRun], None] = lambda run: None,
    after_step: Callable[[int], None] = lambda trained: None,
) -> list[TrainingRun]:
    """Train networks in place to the end of their recipe, each from its current epoch.

    A network whose loss is not finite is stopped; the others continue.

    Args:
        runs: Networks with the same number of views.
        config: Settings that they share.
        after_epoch: Called with each network after every epoch, such as to write a checkpoint.
        after_step: Called after each batch with the number of networks that were trained on it.

    Returns:
        The networks that were stopped because their loss was not finite.

    Raises:
        InputError: The images do not fill a batch, or an image cannot be decoded.
        MachineError: The memory of the device does not suffice.
    """
    diverged: list[TrainingRun] = []
    for number in range(config.recipe.epochs):
        finite = [run for run in runs if run not in diverged]
        if group := [run for run in finite if len(run.losses) == number]:
            with _memory_errors(config.device):
                losses = _train_epoch(group, config, number, after_step)
            for run, loss in zip(group, losses, strict=True):
                if math.isfinite(loss):
                    run.losses.append(loss)
                    after_epoch(run)
                else:
                    diverged.append(run)
    return diverged


def _train_epoch(
    runs: Sequence[TrainingRun],
    config: TrainingConfig,
    number: int,
    after_step: Callable[[int], None],
) -> list[float]:
    """Train networks for one epoch; return the mean loss of each."""
    views = len(runs[0].views)
    epoch = draw_epoch(config.recipe, config.seed, number, config.dataset.ids, views)
    steps = steps_per_epoch(len(config.dataset), config.recipe, views)
    plan = epoch.batches(config.recipe.batch_size // views)
    loaded = load_batches(
        config.dataset,
        config.preprocessing,
        [indices.tolist() for indices in plan],
        config.workers,
    )
    totals = torch.zeros(len(runs), device=config.device)
    # Not torch.manual_seed, which would also seed all other GPUs without restoring them.
    cuda = [config.device] if config.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        for step, (indices, batch) in enumerate(zip(plan, loaded, strict=True)):
            reject_unreadable(config.dataset, batch)
            images = batch.images.to(config.device, non_blocking=True)
            views_of_images = [
                augmented(images, augmentations.of(indices))
                for augmentations in epoch.augmentations
            ]
            labels = batch.labels.to(config.device, non_blocking=True).repeat(views)
            # At the middle of the step, so that the rate of the first and the last is not 0.
            rate = config.recipe.learning_rate_at(number + (step + 0.5) / steps)
            for index, run in enumerate(runs):
                # For dropout, which must not depend on other networks and interruptions.
                seed = torch_seed("step", config.seed, number, step)
                torch.default_generator.manual_seed(seed)
                for device in cuda:
                    torch.cuda.default_generators[device.index].manual_seed(seed)
                inputs = [
                    corrupted(view, name, epoch, batch.ids)
                    for view, name in zip(views_of_images, run.views, strict=True)
                ]
                totals[index] += _step(run, torch.cat(inputs), labels, rate, config)
            after_step(len(runs))
    return [total / steps for total in totals.tolist()]


def _step(
    run: TrainingRun,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    config: TrainingConfig,
) -> Tensor:
    """Take one step of one network on uint8 images; return its loss, a scalar on the device."""
    inputs = config.preprocessing.normalise(images)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    inputs = inputs.contiguous(memory_format=layout)
    low = config.precision == "bfloat16"
    with torch.autocast(config.device.type, dtype=torch.bfloat16, enabled=low):
        loss = F.cross_entropy(
            run.forward(inputs), labels, label_smoothing=config.recipe.label_smoothing
        )
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate
    run.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimiser.step()
    return loss.detach()


@contextmanager
def _memory_errors(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MachineError(
            "the memory does not suffice for all networks that train together",
            where=str(device),
            remedy="Use a smaller --models-at-once or a smaller batch_size.",
        ) from error
