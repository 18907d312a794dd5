"""The stream of images that networks in lockstep training share.

All random numbers are keyed by (seed, epoch, image id, view): the order of an epoch, flips,
shifts and corruptions. So the images that a network is shown do not depend on the networks that
train alongside it, on the number of decoding processes, or on interruptions.

A *view* is one presentation of an image in an epoch. In the NOC study, each image has two
views: clean and corrupted, or clean twice for the standard model. Here, both views are in the
same batch, so that an image is decoded once; whether they were in the original study is not
known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.corruptions import CORRUPTIONS
from noctule.sampling import Stream, bits_of, image_keys, integers, key_of
from noctule.studies.training.recipe import Recipe

Views = tuple[str | None, ...]
"""For each view of an image, the name of a corruption, or None for clean."""


class Augmentations(NamedTuple):
    """The augmentations of N images in one view; every tensor is int64 (N,).

    Attributes:
        flip: 1 to mirror the image, 0 otherwise.
        down_px: Shift downwards in pixels.
        right_px: Shift to the right in pixels.
    """

    flip: Tensor
    down_px: Tensor
    right_px: Tensor

    def of(self, indices: Tensor) -> Augmentations:
        """The augmentations of the images with these indices."""
        return Augmentations(*(values[indices] for values in self))


class Epoch(NamedTuple):
    """The random numbers of one epoch.

    Attributes:
        seed: Seed of the training.
        number: Number of the epoch, from 0.
        order: Indices of the N images in the order of presentation, int64 (N,).
        augmentations: Augmentations of every view.
    """

    seed: int
    number: int
    order: Tensor
    augmentations: tuple[Augmentations, ...]

    def batches(self, images_per_batch: int) -> list[Tensor]:
        """The order split into batches, without an incomplete last batch."""
        count = len(self.order) // images_per_batch
        return list(self.order[: count * images_per_batch].reshape(count, images_per_batch))


def draw_epoch(recipe: Recipe, seed: int, number: int, ids: Sequence[str], views: int) -> Epoch:
    """Draw the random numbers of one epoch over the images with these ids."""
    stream = Stream(image_keys(key_of("training", seed, number), ids))
    ranks, _ = stream.words(1)
    return Epoch(
        seed=seed,
        number=number,
        order=ranks.flatten().argsort(stable=True),
        augmentations=tuple(_draw_augmentations(recipe, stream, v) for v in range(views)),
    )


def _draw_augmentations(recipe: Recipe, stream: Stream, view: int) -> Augmentations:
    flips, _ = stream.words(1, lane=1 + 2 * view)
    down, right = stream.words(1, lane=2 + 2 * view)
    return Augmentations(
        flip=bits_of(flips).flatten() * int(recipe.flip),
        down_px=integers(down, -recipe.shift_px, recipe.shift_px).flatten(),
        right_px=integers(right, -recipe.shift_px, recipe.shift_px).flatten(),
    )


def augmented(images: Tensor, augmentations: Augmentations) -> Tensor:
    """Shift images, with reflected edges, and then mirror them.

    Args:
        images: uint8 (batch, channels, height, width), on any device.
        augmentations: Augmentations of these images.

    Returns:
        uint8, of the same shape and on the same device.
    """
    count, channels, height, width = images.shape
    flip, down, right = (values.to(images.device)[:, None] for values in augmentations)
    rows = _reflected(torch.arange(height, device=images.device) - down, height)
    columns = _reflected(torch.arange(width, device=images.device) - right, width)
    columns = torch.where(flip == 1, columns.flip(1), columns)
    return images[
        torch.arange(count, device=images.device)[:, None, None, None],
        torch.arange(channels, device=images.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _reflected(index: Tensor, length: int) -> Tensor:
    """Mirror indices outside [0, length) about the edge pixels."""
    index = index.abs()
    return torch.where(index < length, index, 2 * (length - 1) - index)


def corrupted(images: Tensor, name: str | None, epoch: Epoch, ids: Sequence[str]) -> Tensor:
    """Corrupt images for one view, with parameters that differ in every epoch."""
    if name is None:
        return images
    names = [f"epoch {epoch.number}/{image_id}" for image_id in ids]
    return CORRUPTIONS[name](images, ids=names, seed=epoch.seed)
