"""Corruptions in pipelines of albumentations (version 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import albumentations as A
import numpy as np
import torch
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

from noctule.corruptions.containers import as_batch
from noctule.errors import InputError
from noctule.transforms.choosing import AppliedCorruption, CorruptionChoice
from noctule.transforms.torchvision import Corrupt, RandomCorruption
from noctule.transforms.warp import Origins, move_boxes, move_mask, move_points

Array = NDArray[Any]


@dataclass(frozen=True)
class Movement:
    """What a transform did to an image, and where its pixels come from.

    Attributes:
        chooser: The arguments of the transform.
        applied: What it did.
        size: Height and width of the image.
    """

    chooser: CorruptionChoice
    applied: AppliedCorruption
    size: tuple[int, int]

    @cached_property
    def origins(self) -> Origins | None:
        """Computed when a mask, box or key point needs it; see `CorruptionChoice.origins`."""
        return self.chooser.origins(self.applied, self.size)


class ForAlbumentations(A.DualTransform):  # type: ignore[misc]  # albumentations has no types
    """A transform of noctule for `albumentations.Compose`.

    Random numbers come from the pipeline, whose `seed` is respected, unless the transform has a
    seed of its own. Masks, boxes and key points follow geometric corruptions, as in `Corrupt`;
    boxes of which nothing is left are removed, and key points that left the image are put
    outside it, where `remove_invisible` removes them. The angle and scale of a key point stay.

    Args:
        transform: A `Corrupt` or a `RandomCorruption`.
        p: Probability that it is applied.

    Raises:
        InputError: The transform is another one.

    >>> pipeline = A.Compose([ForAlbumentations(Corrupt("shear", severity=3))], seed=0)
    >>> pipeline(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
    (32, 32, 3)
    """

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES, Targets.KEYPOINTS)

    def __init__(self, transform: Corrupt | RandomCorruption, p: float = 1.0) -> None:
        super().__init__(p=p)
        if not isinstance(transform, Corrupt | RandomCorruption):
            raise InputError(
                f"is of type {type(transform).__name__}",
                where="transform",
                remedy="Pass a Corrupt or a RandomCorruption of noctule.transforms.",
            )
        self.transform = transform

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Choose the corruption, the same for all images."""
        chooser = self.transform.chooser
        first = data.get("image", next(iter(data.get("images", ())), None))
        images = as_batch(first, "image").images
        if chooser.seed is None:
            seed = self.py_random.randrange(2**63 - 1)
            applied = replace(chooser, seed=seed).decide(images, [0])
        else:
            applied = chooser.decide(images, None)
        height, width = images.shape[2:]
        return {"movement": Movement(chooser, applied, (height, width))}

    def apply(self, img: Array, movement: Movement, **params: Any) -> Array:
        """Corrupt an image (height, width[, channels]), uint8 or float32 in [0, 1]."""
        images, restore = as_batch(img, "image")
        result: Array = restore(self.transform.chooser.apply(images, movement.applied))
        return result

    def apply_to_mask(self, mask: Array, movement: Movement, **params: Any) -> Array:
        """Move a mask (height, width[, channels])."""
        origins = movement.origins
        if origins is None:
            return mask
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.atleast_3d(mask), 2, 0)))
        moved = move_mask(planes, origins).numpy()
        return np.ascontiguousarray(np.moveaxis(moved, 0, 2).reshape(mask.shape))

    def apply_to_bboxes(self, bboxes: Array, movement: Movement, **params: Any) -> Array:
        """Move boxes, whose edges are in shares of the sides, (boxes, 4 and more)."""
        origins = movement.origins if len(bboxes) else None
        if origins is None:
            return bboxes
        height, width = origins.size
        sides = np.array([width, height, width, height])
        moved = move_boxes(bboxes[:, :4].astype(np.float64) * sides, origins) / sides
        result: Array = np.concatenate([moved, bboxes[:, 4:]], 1)[moved[:, 2] > 0]
        return result.astype(bboxes.dtype)

    def apply_to_keypoints(self, keypoints: Array, movement: Movement, **params: Any) -> Array:
        """Move key points, whose x and y are in px, (points, 2 and more)."""
        origins = movement.origins if len(keypoints) else None
        if origins is None:
            return keypoints
        moved = keypoints.copy()
        moved[:, :2] = np.nan_to_num(
            move_points(keypoints[:, :2].astype(np.float64), origins), nan=-1
        )
        return moved
