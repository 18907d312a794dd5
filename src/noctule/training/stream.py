"""The one stream of pictures that networks trained together share.

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
from noctule.training.recipe import Recipe

Views = tuple[str | None, ...]
"""How a network sees each image: the name of a corruption, or None for clean, for each view."""


class Moves(NamedTuple):
    """How the images are moved in one view: (N,) int64 each; `flip` is 0 or 1."""

    flip: Tensor
    down_px: Tensor
    right_px: Tensor

    def of(self, images: Tensor) -> Moves:
        """Those of some images, by their numbers."""
        return Moves(*(values[images] for values in self))


class Epoch(NamedTuple):
    """What one epoch draws.

    Attributes:
        seed: of the training.
        number: of the epoch, from 0.
        order: (N,) int64, the images' numbers in the order they are shown.
        moves: of every view.
    """

    seed: int
    number: int
    order: Tensor
    moves: tuple[Moves, ...]

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
        moves=tuple(_draw_moves(recipe, stream, view) for view in range(views)),
    )


def _draw_moves(recipe: Recipe, stream: Stream, view: int) -> Moves:
    flips, _ = stream.words(1, lane=1 + 2 * view)
    down, right = stream.words(1, lane=2 + 2 * view)
    return Moves(
        flip=bits_of(flips).flatten() * int(recipe.flip),
        down_px=integers(down, -recipe.shift_px, recipe.shift_px).flatten(),
        right_px=integers(right, -recipe.shift_px, recipe.shift_px).flatten(),
    )


def moved(pictures: Tensor, moves: Moves) -> Tensor:
    """The pictures, shifted with their edges reflected, then mirrored where drawn.

    Args:
        pictures: uint8 (B, C, H, W), on any device.
        moves: of these pictures.

    Returns:
        uint8 (B, C, H, W).
    """
    count, channels, height, width = pictures.shape
    flip, down, right = (values.to(pictures.device)[:, None] for values in moves)
    rows = _reflected(torch.arange(height, device=pictures.device) - down, height)
    columns = _reflected(torch.arange(width, device=pictures.device) - right, width)
    columns = torch.where(flip == 1, columns.flip(1), columns)
    return pictures[
        torch.arange(count, device=pictures.device)[:, None, None, None],
        torch.arange(channels, device=pictures.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _reflected(index: Tensor, length: int) -> Tensor:
    """Indices outside [0, length) mirrored at the edge pixels' centres, which do not repeat."""
    index = index.abs()
    return torch.where(index < length, index, 2 * (length - 1) - index)


def corrupted(pictures: Tensor, name: str | None, epoch: Epoch, ids: Sequence[str]) -> Tensor:
    """The pictures as one view shows them; parameters are drawn anew for image and epoch."""
    if name is None:
        return pictures
    names = [f"epoch {epoch.number}/{image_id}" for image_id in ids]
    return CORRUPTIONS[name](pictures, ids=names, seed=epoch.seed)
