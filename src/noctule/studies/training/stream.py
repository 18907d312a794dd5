"""The one stream of images that networks trained together share.

Everything drawn is keyed by (seed, epoch, image id, view): the order of an epoch, flips, shifts
and corruptions. So what a network is shown does not depend on which others train beside it, on
how many processes decode, or on where a training was interrupted.

A *view* is one showing of an image in an epoch. The NOC study shows each image twice: once
clean and once corrupted; its standard model sees it clean twice. Both views of an image are in
the same batch here, so that it is decoded once; whether the original had them so is not known.
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
"""How a network sees each image: the name of a corruption, or None for clean, for each view."""


class Augmentations(NamedTuple):
    """How the images are moved in one view: (N,) int64 each; `flip` is 0 or 1."""

    flip: Tensor
    down_px: Tensor
    right_px: Tensor

    def of(self, images: Tensor) -> Augmentations:
        """Those of some images, by their numbers."""
        return Augmentations(*(values[images] for values in self))


class Epoch(NamedTuple):
    """What one epoch draws.

    Attributes:
        seed: Of the training.
        number: Of the epoch, from 0.
        order: (N,) int64, the images' numbers in the order they are shown.
        moves: Of every view.
    """

    seed: int
    number: int
    order: Tensor
    augmentations: tuple[Augmentations, ...]

    def batches(self, images_per_batch: int) -> list[Tensor]:
        """The order in parts, without the incomplete last one."""
        count = len(self.order) // images_per_batch
        return list(self.order[: count * images_per_batch].reshape(count, images_per_batch))


def draw_epoch(recipe: Recipe, seed: int, number: int, ids: Sequence[str], views: int) -> Epoch:
    """The draws of one epoch over the images with these ids."""
    stream = Stream(image_keys(key_of("training", seed, number), ids))
    places, _ = stream.words(1)
    return Epoch(
        seed=seed,
        number=number,
        order=places.flatten().argsort(stable=True),
        augmentations=tuple(_draw_moves(recipe, stream, view) for view in range(views)),
    )


def _draw_moves(recipe: Recipe, stream: Stream, view: int) -> Augmentations:
    flips, _ = stream.words(1, lane=1 + 2 * view)
    down, right = stream.words(1, lane=2 + 2 * view)
    return Augmentations(
        flip=bits_of(flips).flatten() * int(recipe.flip),
        down_px=integers(down, -recipe.shift_px, recipe.shift_px).flatten(),
        right_px=integers(right, -recipe.shift_px, recipe.shift_px).flatten(),
    )


def moved(images: Tensor, augmentations: Augmentations) -> Tensor:
    """The images, shifted with their edges reflected, then mirrored where drawn.

    Args:
        images: uint8 (B, C, H, W), on any device.
        moves: Of these images.

    Returns:
        uint8 (B, C, H, W).
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
    """Indices outside [0, length) mirrored at the edge pixels' centres, which do not repeat."""
    index = index.abs()
    return torch.where(index < length, index, 2 * (length - 1) - index)


def corrupted(images: Tensor, name: str | None, epoch: Epoch, ids: Sequence[str]) -> Tensor:
    """The images as one view shows them; parameters are drawn anew for image and epoch."""
    if name is None:
        return images
    names = [f"epoch {epoch.number}/{image_id}" for image_id in ids]
    return CORRUPTIONS[name](images, ids=names, seed=epoch.seed)
