"""Lockstep training: networks that share one stream of images, each with its own corruption.

A batch is read, decoded and moved once; then every network takes its own step on it. The
weights of a network depend on its recipe, seed and views only: not on the networks beside it,
nor on an interruption. On a CPU that holds to the bit, for a fixed number of threads, on which
the order of a convolution's sums depends; GPUs do not promise the bits of a sum.
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
from noctule.studies.training.stream import Views, corrupted, draw_epoch, moved

CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class TrainingConfig:
    """What networks in training have in common.

    Attributes:
        dataset: The labelled images.
        preprocessing: From an image to the image a corruption sees, and its normalisation.
        recipe: How each network is trained.
        seed: Of initial weights, order, moves, corruptions and dropout.
        device: Where it happens.
        precision: Of the forward and backward passes; weights are float32 throughout.
        workers: Processes that decode.
        compiled: Whether to compile the networks with `torch.compile`.
        channels_last: Whether to train in this memory layout, in which convolutions are a third
            faster, on CPUs as well; networks that flatten with `view` do not work in it.
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
        name: What messages call it.
        views: How it sees each image in an epoch.
        module: The network, in training mode, on the config's device.
        optimiser: Of its weights.
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
    """A network before its first epoch; MachineError if the device lacks memory for it."""
    module = initialised(build, config.seed, config.recipe.initial_weights)
    with _memory_is_enough(config.device):
        module = module.to(config.device).train()
        if config.channels_last:
            set_channels_last(module)
    forward = torch.compile(module) if config.compiled else module
    return TrainingRun(name, views, module, config.recipe.optimiser.build(module), forward)


def steps_per_epoch(images: int, recipe: Recipe, views: int) -> int:
    """How many full batches there are.

    Raises:
        InputError: There is none, or a batch is not a whole number of images.
    """
    if recipe.batch_size % views:
        raise InputError(
            f"{recipe.batch_size} images are no whole number of images, each shown {views} "
            "times",
            where="recipe.batch_size",
            remedy=f"Use a multiple of {views}.",
        )
    steps = images // (recipe.batch_size // views)
    if steps == 0:
        raise InputError(
            f"{images} images, each shown {views} times, do not fill a batch of "
            f"{recipe.batch_size}",
            where="recipe.batch_size",
            remedy="Use smaller batches, or more images.",
        )
    return steps


def refuse_unreadable(dataset: Dataset, batch: Batch) -> None:
    """Raise InputError if an image of a batch could not be decoded: none is left out here."""
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
    """Train networks to the end of their recipe, in place; each goes on where it stands.

    A network whose loss is not finite any more stops there, and the others go on.

    Args:
        runs: Networks with as many views each.
        config: What they have in common.
        after_epoch: Called with each network when it has finished an epoch: a checkpoint.
        after_step: Called after each batch with the number of networks it trained.

    Returns:
        The networks that stopped because their loss was not finite.

    Raises:
        InputError: The images do not fill a batch, or one cannot be decoded.
        MachineError: The device's memory does not hold the networks.
    """
    diverged: list[TrainingRun] = []
    for number in range(config.recipe.epochs):
        waiting = [run for run in runs if run not in diverged]
        if behind := [run for run in waiting if len(run.losses) == number]:
            with _memory_is_enough(config.device):
                losses = _train_epoch(behind, config, number, after_step)
            for run, loss in zip(behind, losses, strict=True):
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
    """One epoch of networks that stand at the same one; the mean loss of each."""
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
    # torch.manual_seed would seed every GPU there is, and no fork would put them back.
    cuda = [config.device] if config.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        for step, (indices, batch) in enumerate(zip(plan, loaded, strict=True)):
            refuse_unreadable(config.dataset, batch)
            images = batch.images.to(config.device, non_blocking=True)
            shown = [
                moved(images, augmentations.of(indices))
                for augmentations in epoch.augmentations
            ]
            labels = batch.labels.to(config.device, non_blocking=True).repeat(views)
            # In the middle of the step, so that neither the first nor the last is of rate 0.
            rate = config.recipe.learning_rate_at(number + (step + 0.5) / steps)
            for place, run in enumerate(runs):
                # Dropout: the same whoever trains beside it, and after a resumption.
                seed = torch_seed("step", config.seed, number, step)
                torch.default_generator.manual_seed(seed)
                for device in cuda:
                    torch.cuda.default_generators[device.index].manual_seed(seed)
                seen = [
                    corrupted(base, name, epoch, batch.ids)
                    for base, name in zip(shown, run.views, strict=True)
                ]
                totals[place] += _step(run, torch.cat(seen), labels, rate, config)
            after_step(len(runs))
    return [total / steps for total in totals.tolist()]


def _step(
    run: TrainingRun,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    config: TrainingConfig,
) -> Tensor:
    """One step of one network on uint8 images; its loss, a scalar on the device."""
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
def _memory_is_enough(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MachineError(
            "the device's memory does not hold all networks that train together",
            where=str(device),
            remedy="Give --models-at-once with a smaller number, or a smaller batch_size.",
        ) from error
