"""A small trainer for small networks on pictures that fit in memory.

Everything drawn is keyed: the order of an epoch, flips and shifts depend on the seed, the epoch
and the image's number only, and initial weights on the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from noctule.errors import InputError
from noctule.models.preprocessing import Preprocessing
from noctule.sampling import Stream, bits_of, image_keys, integers, key_of


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, learning rate rising for a fifth, then falling to 0.

    Args:
        architecture: a name in `noctule.models.small_nets.ARCHITECTURES`.
        epochs: passes over the images; fixed, nothing stops early.
        batch_size: images per step; the incomplete last batch of an epoch is left out.
        learning_rate: at its peak.
        weight_decay: of AdamW.
        shift_px: each image is shifted by up to this much both ways, edges reflected.
        seed: of initial weights, order, flips and shifts.
    """

    architecture: str
    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    shift_px: int = 4
    seed: int = 0


class Epoch(NamedTuple):
    """What one pass draws: (N,) int64 each, by the image's number; `flip` is 0 or 1."""

    order: torch.Tensor
    flip: torch.Tensor
    down_px: torch.Tensor
    right_px: torch.Tensor


def initialised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A freshly built module whose initial weights depend on `seed` only."""
    with _torch_seeded(seed):
        return build()


def train(
    module: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    recipe: Recipe,
    preprocessing: Preprocessing,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> list[float]:
    """Trains `module` in place.

    Args:
        module: takes normalised images.
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        recipe: see there.
        preprocessing: only its normalisation is used.
        on_epoch: called after each epoch with its number and mean loss.

    Returns:
        The mean cross-entropy of each epoch, in nats.

    Raises:
        InputError: fewer images than a batch holds.
    """
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    if steps == 0:
        raise InputError(f"{len(images)} images do not fill a batch of {recipe.batch_size}")
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2
    )

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> float:
        loss = F.cross_entropy(module(inputs), targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        return loss.item()

    losses = []
    module.train().to(memory_format=torch.channels_last)  # a third faster on CPUs
    with _torch_seeded(recipe.seed):  # for dropout
        for epoch in range(recipe.epochs):
            draws = draw_epoch(recipe, epoch, len(images))
            batches = _full_batches(draws.order, recipe.batch_size)
            pictures = (augment(images, batch, draws) for batch in batches)
            terms = [
                step(preprocessing.normalise(inputs), labels[batch])
                for inputs, batch in zip(pictures, batches, strict=True)
            ]
            losses.append(math.fsum(terms) / len(terms))
            on_epoch(epoch, losses[-1])
    module.eval().to(memory_format=torch.contiguous_format)
    return losses


@contextmanager
def _torch_seeded(seed: int) -> Iterator[None]:
    """PyTorch's own generator with a seed, for what takes no other; then as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _full_batches(order: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """`order` in parts of `batch_size`, without the incomplete last one."""
    count = len(order) // batch_size
    return list(order[: count * batch_size].reshape(count, batch_size))


def draw_epoch(recipe: Recipe, epoch: int, count: int) -> Epoch:
    """The order, flips and shifts of one epoch over `count` images."""
    stream = Stream(image_keys(key_of("training", recipe.seed, epoch), range(count)))
    places, flips = stream.words(1)
    down, right = stream.words(1, lane=1)
    return Epoch(
        order=places.flatten().argsort(stable=True),
        flip=bits_of(flips).flatten(),
        down_px=integers(down, -recipe.shift_px, recipe.shift_px).flatten(),
        right_px=integers(right, -recipe.shift_px, recipe.shift_px).flatten(),
    )


def augment(images: torch.Tensor, batch: torch.Tensor, draws: Epoch) -> torch.Tensor:
    """The images `batch`, shifted with their edges reflected, then mirrored where drawn.

    Args:
        images: uint8 (N, C, H, W).
        batch: (B,) the numbers of the images wanted.
        draws: of this epoch.

    Returns:
        uint8 (B, C, H, W).
    """
    height, width = images.shape[2:]
    rows = _reflect(torch.arange(height) - draws.down_px[batch, None], height)
    columns = _reflect(torch.arange(width) - draws.right_px[batch, None], width)
    columns = torch.where(draws.flip[batch, None] == 1, columns.flip(1), columns)
    channels = torch.arange(images.shape[1])
    return images[
        batch[:, None, None, None],
        channels[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _reflect(index: torch.Tensor, length: int) -> torch.Tensor:
    """Indices outside [0, length) mirrored at the edge pixels' centres, which do not repeat."""
    index = index.abs()
    return torch.where(index < length, index, 2 * (length - 1) - index)


@torch.inference_mode()
def accuracy(
    module: nn.Module, images: torch.Tensor, labels: torch.Tensor, preprocessing: Preprocessing
) -> float:
    """The fraction of uint8 `images` (N, C, H, W) whose largest logit is their label's."""
    right = 0
    for start in range(0, len(images), 256):
        part = slice(start, start + 256)
        logits = module(preprocessing.normalise(images[part]))
        right += int((logits.argmax(dim=1) == labels[part]).sum())
    return right / len(images)
