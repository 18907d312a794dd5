"""Validation of images, ids, parameters and tables that are passed to a corruption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.arguments import image_ids, is_sequence, real_number, short_repr
from noctule.corruptions.content import content_ids
from noctule.corruptions.draws import SEVERITIES, Choice, Integer, PerSeverity, Uniform
from noctule.errors import InputError

MIN_SIDE_PX = 16
MAX_SIDE_PX = 8192  # of resizing, cropping and tables: 200 MB as RGB
# Resizing and conversion leave values a few float32 roundings below black or above white.
ROUNDING_EXCESS = 1e-6


def checked_images(images: Tensor, *, where: str, channels: int | None) -> Tensor:
    """Check that a corruption is defined on these images.

    Args:
        images: Images to corrupt.
        where: Name of the corruption.
        channels: Number of channels it requires, or None for any.

    Returns:
        The images, or a clamped copy if float32 values are outside [0, 1] by at most
        `ROUNDING_EXCESS`.

    Raises:
        InputError: The type, rank, dtype, number of channels, size or range is wrong.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"images is of type {type(images).__name__}",
            where=where,
            remedy="Pass a torch.Tensor.",
        )
    if images.layout != torch.strided:
        raise InputError(
            f"images has layout {images.layout}", where=where, remedy="Use images.to_dense()."
        )
    if images.is_meta:
        raise InputError(
            "images has no values, only a shape",
            where=where,
            remedy="Pass a tensor on a CPU or a GPU, not on the device 'meta'.",
        )
    if images.is_neg():  # as of the imaginary part of a conjugate
        images = images.resolve_neg()
    dtype, shape = images.dtype, images.shape
    if dtype not in (torch.uint8, torch.float32):
        raise InputError(
            f"images has dtype {dtype}", where=where, remedy="Use uint8, or float32 in [0, 1]."
        )
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise InputError(
            f"images has shape {tuple(shape)}",
            where=where,
            remedy="Use (batch, channels, height, width) with 1 or 3 channels.",
        )
    if channels is not None and shape[1] != channels:
        raise InputError(
            f"needs images with {channels} channels, but they have {shape[1]}",
            where=where,
            remedy="Convert grey images to RGB, or leave this corruption out.",
        )
    check_size(shape[2], shape[3], where)
    if dtype == torch.float32 and images.numel() and not _is_in_unit_interval(images):
        low, high = (value.item() for value in torch.aminmax(images))
        if not (low >= -ROUNDING_EXCESS and high <= 1 + ROUNDING_EXCESS):  # also catches NaN
            raise InputError(
                f"pixel values range from {low:.9g} to {high:.9g}, outside [0, 1]",
                where=where,
                remedy="Corrupt images before normalising them, divide values in [0, 255] by "
                "255, and clamp after filters that overshoot.",
            )
        if low < 0 or high > 1:
            return images.detach().clamp(0, 1)
    return images


def _is_in_unit_interval(images: Tensor) -> bool:
    """Whether float32 values are known to be in [0, 1], as found in a third of the time."""
    if not (images.is_cpu and images.is_contiguous()):
        return False
    from noctule.corruptions.loops import driver  # imports Numba

    return driver.are_in_unit_interval(images.numpy(force=True))


def check_size(height: int, width: int, where: str) -> None:
    """Check that images are large enough.

    Raises:
        InputError: A side is too short.
    """
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(
            f"images are {height} × {width} px",
            where=where,
            remedy=f"The shorter side must be at least {MIN_SIDE_PX} px.",
        )


def as_ids(ids: Sequence[str | int] | Tensor | None, images: Tensor) -> Sequence[str | int]:
    """The ids as a sequence, one for each image; by default, hashes of the images."""
    if ids is None:
        return content_ids(images)
    if not isinstance(ids, range):
        ids = image_ids(ids)
    if len(ids) != len(images):
        raise InputError(f"{len(ids)} ids for {len(images)} images", where="ids")
    return ids


def checked_values(
    where: str, draw: Uniform | Integer | PerSeverity | Choice, value: Any, count: int
) -> NDArray[np.float64]:
    """Check values that a user sets: one number, or one for each of `count` images.

    Returns:
        float64; () or (count,).

    Raises:
        InputError: A value is not a number, or is outside the draw's limits.
    """
    low, high = draw.limits
    plain = type(value) is (int if draw.whole else float)
    if plain and low <= value <= high and math.isfinite(value):
        return np.array(value, np.float64)  # without the tests below, for callers in a hurry
    remedy = "Pass one number, or one for each image."
    try:
        if isinstance(value, Tensor) and value.dtype.is_floating_point:
            value = value.to(torch.float64)  # NumPy has no bfloat16
        array = value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # such as lists of unequal lengths
        raise InputError(
            f"{short_repr(value)} is not a number", where=where, remedy=remedy
        ) from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{short_repr(value)} is not a number", where=where, remedy=remedy)
    numbers = array.astype(np.float64)
    if numbers.ndim > 1 or numbers.size not in (1, count):
        raise InputError(
            f"has shape {numbers.shape} for {count} images",
            where=where,
            remedy=remedy,
        )
    for number in numbers.flat:
        finite = low <= number <= high and math.isfinite(number)
        if not finite or (draw.whole and number != round(number)):
            kind = "a whole number" if draw.whole else "a number"
            raise InputError(
                f"is {number:g}", where=where, remedy=f"Use {kind} from {low:g} to {high:g}."
            )
    return numbers


def checked_tables(tables: Any, where: str) -> Mapping[str, Any]:
    """Check that tables for `Corruption.with_tables` are a dictionary.

    Raises:
        InputError: They are not.
    """
    if not isinstance(tables, Mapping):
        remedy = "Pass a dictionary of five values for each parameter."
        raise InputError(
            f"{short_repr(tables)} is not a dictionary", where=where, remedy=remedy
        )
    return tables


def with_values(draw: PerSeverity, values: Sequence[float], where: str) -> PerSeverity:
    """Return the table with other values.

    Raises:
        InputError: There are not five values, or one is outside the table's limits.
    """
    low, high = draw.limits
    remedy = f"Use {len(SEVERITIES)} values, from mild to severe."
    if not is_sequence(values):
        raise InputError(f"{short_repr(values)} is not a sequence", where=where, remedy=remedy)
    if len(values) != len(SEVERITIES):
        raise InputError(f"has {len(values)} values", where=where, remedy=remedy)
    values = [real_number(value, where, low=low, high=high) for value in values]
    for value in values if draw.whole else ():
        if value != round(value):
            remedy = f"Use whole numbers from {low:g} to {high:g}."
            raise InputError(f"{value:g} is not a whole number", where=where, remedy=remedy)
    typed = map(int if draw.whole else float, values)
    return PerSeverity(*typed, lowest=draw.lowest, highest=draw.highest)
