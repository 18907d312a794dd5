"""Transforms of torchvision v2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from noctule.corruptions import Mode
from noctule.corruptions.containers import as_batch
from noctule.errors import InputError
from noctule.transforms.choosing import AppliedCorruption, CorruptionChoice, Ids
from noctule.transforms.warp import (
    Origins,
    check_size,
    move_boxes,
    move_mask,
    move_points,
)

T = TypeVar("T")
_IMAGES = (tv_tensors.Image, tv_tensors.Video, PIL.Image.Image)
# torchvision 0.23 is the first with key points.
_POINTS = getattr(tv_tensors, "KeyPoints", ())
_FOLLOWERS = (tv_tensors.Mask, tv_tensors.BoundingBoxes, *([_POINTS] if _POINTS else []))
_PLAIN_FORMATS = ("XYXY", "XYWH", "CXCYWH")


class _Transform(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """What both transforms have in common.

    Attributes:
        chooser: The checked arguments.
        applied: What the latest call did; None before the first.
    """

    def __init__(self, chooser: CorruptionChoice) -> None:
        super().__init__()
        self.chooser = chooser
        self.applied: AppliedCorruption | None = None

    def forward(self, *inputs: Any, id: Ids = None) -> Any:
        """Corrupt the image of a sample; its masks, boxes and key points follow.

        Args:
            *inputs: A sample of any structure: images, and whatever else. Images are PIL
                images, `tv_tensors.Image` and `Video`; if there are none, the first tensor
                (…, channels, height, width) or NumPy array (height, width, channels). All of
                them get the same random numbers. Labels and the like pass through.
            id: An integer or string; the same id gives the same image in any process. For a
                batch, one for each image.

        Returns:
            A sample of the same structure, types, dtypes and devices.

        Raises:
            InputError: There is no image, or one is unsuitable; boxes, masks or key points
                cannot follow.
        """
        flat, structure = tree_flatten(inputs[0] if len(inputs) == 1 else inputs)
        which = _images_among(flat)
        batches = {index: as_batch(flat[index], self._name) for index in which}
        frames = {
            index: flat[index].shape[-4] or 1
            if isinstance(flat[index], tv_tensors.Video)
            else 1
            for index in which
        }
        first = which[0]
        applied = self.chooser.decide(batches[first].images[:: frames[first]], id)
        for index, (images, restore) in batches.items():
            if len(images) != len(applied.ids) * frames[index]:
                raise InputError(
                    "the images of a sample are batches of different sizes", where=self._name
                )
            chosen = _repeated(applied, frames[index])
            flat[index] = restore(self.chooser.apply(images, chosen))
        followers = [i for i, item in enumerate(flat) if isinstance(item, _FOLLOWERS)]
        height, width = batches[first].images.shape[2:]
        if followers and (origins := self.chooser.origins(applied, (height, width))):
            for index in followers:
                flat[index] = _follow(flat[index], origins)
        self.applied = applied
        return tree_unflatten(flat, structure)

    @property
    def _name(self) -> str:
        return type(self).__name__


class Corrupt(_Transform):
    """One corruption, as a torchvision transform.

    Without `seed`, every call draws new random numbers from PyTorch's generator, which
    DataLoader seeds differently in each worker and epoch; `torch.manual_seed` repeats them.
    With `seed`, they depend on the seed and the content of each image. With the `id` of an
    image, `transform(image, id="4711")`, they are those of an evaluation: exactly
    `noctule.corrupt(…, ids=["4711"], seed=seed)`, with 0 in place of no seed.

    It acts in training and evaluation alike, and gradients do not pass. A corruption of the
    family `geometry` moves masks, boxes and key points as it moves pixels, or raises an error:
    boxes become the tightest ones around what is left of them, and have four zeros if nothing
    is; key points that left the image become NaN (−1 if they are integers).

    Args:
        name: A name in `noctule.CORRUPTIONS`.
        severity: 1 (mild) to 5 (severe), or None for the full published range; a pair is a
            range to choose from.
        seed: Seed, or None for new random numbers in each call.
        mode: "paper" or "released", see `noctule.corrupt`.
        per: Whether each "image" of a batch has its own random numbers, or all images of a
            "batch" share those of its first.
        **fixed: Parameters to set instead of drawing them.

    Raises:
        InputError: An argument is unknown or out of range.

    >>> transform = Corrupt("brightness", change=0.2)
    >>> transform(torch.full((3, 32, 32), 100, dtype=torch.uint8)).unique().item()
    151
    >>> transform
    Corrupt('brightness', change=0.2)
    """

    def __init__(
        self,
        name: str,
        severity: int | tuple[int, int] | None = None,
        *,
        seed: int | None = None,
        mode: Mode = "paper",
        per: str = "image",
        **fixed: float | int | str,
    ) -> None:
        super().__init__(
            CorruptionChoice.checked([name], 1.0, severity, seed, mode, per, fixed)
        )
        self._shown = f"{name!r}" + _shown(severity, seed, mode, per, fixed)

    def __repr__(self) -> str:
        return f"Corrupt({self._shown})"


class RandomCorruption(_Transform):
    """One of several corruptions, chosen for each image, with a probability.

    Random numbers, masks, boxes and key points are as in `Corrupt`; the choice of the
    corruption and its severity is random in the same way.

    Args:
        names: Names in `noctule.CORRUPTIONS`, equally likely.
        p: Probability that an image is corrupted.
        severity: A pair, (lowest, highest), equally likely; one number; or None for the full
            published range.
        seed, mode, per: As of `Corrupt`.

    Raises:
        InputError: An argument is unknown or out of range.

    >>> transform = RandomCorruption(["blur", "rain"], p=0.5, severity=(1, 5))
    >>> image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    >>> transform(image, id="cat.jpg").equal(transform(image, id="cat.jpg"))
    True
    """

    def __init__(
        self,
        names: Sequence[str],
        p: float = 0.5,
        severity: int | tuple[int, int] | None = (1, 5),
        *,
        seed: int | None = None,
        mode: Mode = "paper",
        per: str = "image",
    ) -> None:
        super().__init__(CorruptionChoice.checked(names, p, severity, seed, mode, per, {}))
        self._shown = f"{[*names]!r}, p={p}" + _shown(severity, seed, mode, per, {})

    def __repr__(self) -> str:
        return f"RandomCorruption({self._shown})"


def _shown(severity: Any, seed: Any, mode: str, per: str, fixed: dict[str, Any]) -> str:
    """The arguments that are not the default."""
    usual = {"severity": None, "seed": None, "mode": "paper", "per": "image"}
    given = {"severity": severity, "seed": seed, "mode": mode, "per": per} | fixed
    return "".join(
        f", {key}={value!r}" for key, value in given.items() if value != usual.get(key)
    )


def _images_among(flat: Sequence[Any]) -> list[int]:
    """The positions of the images of a sample, by the rule of torchvision."""
    images = [index for index, item in enumerate(flat) if isinstance(item, _IMAGES)]
    if images:
        return images
    for index, item in enumerate(flat):
        plain = isinstance(item, Tensor) and not isinstance(item, tv_tensors.TVTensor)
        if (plain and item.ndim > 2) or (isinstance(item, np.ndarray) and item.ndim > 1):
            return [index]
    kinds = ", ".join(type(item).__name__ for item in flat) or "nothing"
    raise InputError(
        f"there is no image among the inputs, which are: {kinds}",
        remedy="Pass a PIL image, a tensor (channels, height, width) or an array (height, "
        "width, channels).",
    )


def _repeated(applied: AppliedCorruption, frames: int) -> AppliedCorruption:
    """The same for each frame of a video."""

    def each(values: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(value for value in values for _ in range(frames))

    seed, ids, names, severities = applied
    return (
        AppliedCorruption(seed, each(ids), each(names), each(severities))
        if frames > 1
        else applied
    )


def _follow(item: Any, origins: Origins) -> Any:
    if isinstance(item, tv_tensors.Mask):
        return tv_tensors.wrap(move_mask(item.as_subclass(Tensor), origins), like=item)
    check_size(tuple(item.canvas_size), origins, type(item).__name__)
    if isinstance(item, tv_tensors.BoundingBoxes):
        if item.format.value not in _PLAIN_FORMATS:
            raise InputError(
                f"boxes of the format {item.format.value} cannot follow a corruption",
                remedy=f"Use one of {', '.join(_PLAIN_FORMATS)}.",
            )
        edges = v2.functional.convert_bounding_box_format(
            item.to(torch.float64), new_format=tv_tensors.BoundingBoxFormat.XYXY
        )
        moved = move_boxes(edges.as_subclass(Tensor).numpy(force=True).reshape(-1, 4), origins)
        boxes = v2.functional.convert_bounding_box_format(
            torch.from_numpy(moved).to(item.device),
            old_format=tv_tensors.BoundingBoxFormat.XYXY,
            new_format=item.format,
        )
        return tv_tensors.wrap(boxes.to(item.dtype).view(item.shape), like=item)
    points = item.as_subclass(Tensor)
    moved = move_points(points.to(torch.float64).numpy(force=True).reshape(-1, 2), origins)
    if not points.is_floating_point():
        moved = np.nan_to_num(np.floor(moved), nan=-1)
    result = torch.from_numpy(moved).to(points.device, points.dtype).view(points.shape)
    return tv_tensors.wrap(result, like=item)
