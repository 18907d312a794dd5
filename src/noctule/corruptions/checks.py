"""What corruptions refuse: unsuitable images, ids, parameters and tables of severities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from noctule.arguments import image_ids, is_bool, real_number
from noctule.corruptions.draws import SEVERITIES, Choice, Integer, PerSeverity, Uniform
from noctule.errors import InputError
from noctule.sampling import content_ids

MIN_SIDE_PX = 16
MAX_SIDE_PX = 8192  # that resizing, cropping and tables may ask for: 200 MB as RGB
# Resizing and conversion leave values a few float32 roundings beyond black or white.
ROUNDING_EXCESS = 1e-6


def checked_images(images: Tensor, *, where: str, channels: int | None) -> Tensor:
    """The images, or an error for what a corruption is not defined on.

    Args:
        images: what is to be corrupted.
        where: name of the corruption.
        channels: the number of channels it needs, or None if any.

    Returns:
        The images themselves; a clamped copy where float32 values lie outside of [0, 1] by no
        more than `ROUNDING_EXCESS`.

    Raises:
        InputError: wrong type, rank, dtype, number of channels, size or range.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"images is a {type(images).__name__}", where=where, remedy="Pass a torch.Tensor."
        )
    if images.layout != torch.strided:
        raise InputError(
            f"images has layout {images.layout}", where=where, remedy="Use images.to_dense()."
        )
    if images.dtype not in (torch.uint8, torch.float32):
        raise InputError(
            f"images has dtype {images.dtype}",
            where=where,
            remedy="Use uint8, or float32 in [0, 1].",
        )
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"images has shape {tuple(images.shape)}",
            where=where,
            remedy="Use (batch, channels, height, width) with 1 or 3 channels.",
        )
    if channels is not None and images.shape[1] != channels:
        raise InputError(
            f"needs {channels} channels, the images have {images.shape[1]}",
            where=where,
            remedy="Convert grey images to RGB, or leave this corruption out.",
        )
    if min(images.shape[2:]) < MIN_SIDE_PX:
        raise InputError(
            f"images are {images.shape[2]} × {images.shape[3]} px",
            where=where,
            remedy=f"The shorter side must be at least {MIN_SIDE_PX} px.",
        )
    if images.dtype == torch.float32 and images.numel():
        low, high = (value.item() for value in torch.aminmax(images))
        if not (low >= -ROUNDING_EXCESS and high <= 1 + ROUNDING_EXCESS):  # also catches NaN
            raise InputError(
                f"pixel values run from {low:.9g} to {high:.9g}, outside [0, 1]",
                where=where,
                remedy="Corrupt before normalising; divide 0…255 by 255; clamp what a filter "
                "has driven beyond black and white.",
            )
        if low < 0 or high > 1:
            return images.detach().clamp(0, 1)
    return images


def as_ids(ids: Sequence[str | int] | Tensor | None, images: Tensor) -> Sequence[str | int]:
    """The ids as a sequence, one for each image; by default made from the images' content."""
    if ids is None:
        return content_ids(images)
    if not isinstance(ids, range):
        ids = image_ids(ids)
    if len(ids) != len(images):
        raise InputError(f"{len(ids)} ids for {len(images)} images", where="ids")
    return ids


def checked_values(
    where: str, draw: Uniform | Integer | PerSeverity | Choice, value: Any, count: int
) -> Tensor:
    """One number or `count` of them, float64 or int64, within the draw's limits."""
    if is_bool(value):
        raise InputError(f"{value!r} is not a number", where=where)
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{value!r} is not a number", where=where) from error
    if numbers.dim() > 1 or numbers.numel() not in (1, count):
        raise InputError(
            f"has shape {tuple(numbers.shape)} for {count} images",
            where=where,
            remedy="Give one number, or one for each image.",
        )
    low, high = draw.limits
    whole = draw.whole if isinstance(draw, PerSeverity) else not isinstance(draw, Uniform)
    good = torch.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    if whole:
        good &= numbers == numbers.round()
    if not bool(good.all()):
        wrong = numbers.flatten()[~good.flatten()][0].item()
        kind = "a whole number" if whole else "a number"
        raise InputError(
            f"is {wrong:g}", where=where, remedy=f"Use {kind} from {low:g} to {high:g}."
        )
    return numbers.to(torch.int64) if whole else numbers


def with_values(draw: PerSeverity, values: Sequence[float], where: str) -> PerSeverity:
    """The table with other values, within its limits."""
    low, high = draw.limits
    if len(values) != len(SEVERITIES):
        raise InputError(
            f"has {len(values)} values",
            where=where,
            remedy=f"Give {len(SEVERITIES)}, mild first.",
        )
    values = [
        value if type(value) in (int, float) else real_number(value, where, low=low, high=high)
        for value in values
    ]
    for value in values:
        if not low <= value <= high or (draw.whole and value != round(value)):
            kind = "whole numbers" if draw.whole else "numbers"
            raise InputError(
                f"is {value:g}", where=where, remedy=f"Use {kind} from {low:g} to {high:g}."
            )
    typed = map(int if draw.whole else float, values)
    return PerSeverity(*typed, lowest=draw.lowest, highest=draw.highest)
