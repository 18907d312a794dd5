"""Images in the containers that people hold them in: tensors, arrays and PIL images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from noctule.errors import InputError

_PIL_MODES = ("RGB", "L")


class Unwrapped(NamedTuple):
    """Images as a batch.

    Attributes:
        images: (batch, channels, height, width); may share its memory with the container.
        restore: Puts corrupted images into a container like the one they came in.
    """

    images: Tensor
    restore: Callable[[Tensor], Any]


def as_batch(images: Any, where: str) -> Unwrapped:
    """Take images out of their container.

    Args:
        images: A tensor (…, channels, height, width), also a `tv_tensors.Image` or `Video`; a
            NumPy array (height, width), (height, width, channels) or (batch, height, width,
            channels); or a PIL image of mode RGB or L.
        where: Name of the corruption, for errors.

    Raises:
        InputError: It is another container, or has another shape or mode.

    >>> batch = as_batch(np.zeros((32, 40, 3), np.uint8), "shear")
    >>> batch.images.shape, batch.restore(batch.images).shape
    (torch.Size([1, 3, 32, 40]), (32, 40, 3))
    """
    if isinstance(images, Tensor):
        return _of_tensor(images, where)
    if isinstance(images, np.ndarray):
        return _of_array(images, where)
    if isinstance(images, Image.Image):
        if images.mode not in _PIL_MODES:
            raise InputError(
                f"the image has mode {images.mode}",
                where=where,
                remedy="Use image.convert('RGB') or image.convert('L').",
            )
        batch = _of_array(np.array(images), where)
        return Unwrapped(batch.images, lambda result: Image.fromarray(batch.restore(result)))
    raise InputError(
        f"images is of type {type(images).__name__}",
        where=where,
        remedy="Pass a torch.Tensor, a NumPy array or a PIL image.",
    )


def _of_tensor(images: Tensor, where: str) -> Unwrapped:
    if images.ndim < 3:
        raise InputError(
            f"images has shape {tuple(images.shape)}",
            where=where,
            remedy="Use (batch, channels, height, width) with 1 or 3 channels.",
        )
    plain = images if type(images) is Tensor else images.as_subclass(Tensor)

    def restore(result: Tensor) -> Tensor:
        if images.ndim == 3:
            result = result[0]  # `view` takes longer than brightness does for a small image
        elif images.ndim > 4:
            result = result.reshape(images.shape)
        if type(images) in (Tensor, torch.nn.Parameter):
            return result
        from torchvision import tv_tensors  # which made the other kinds of tensors

        wrapped: Tensor = tv_tensors.wrap(result, like=images)
        return wrapped

    if images.ndim == 4:
        return Unwrapped(plain, restore)
    return Unwrapped(plain[None] if images.ndim == 3 else plain.flatten(0, -4), restore)


def _of_array(images: NDArray[Any], where: str) -> Unwrapped:
    pixels = images[:, :, None] if images.ndim == 2 else images
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3):
        raise InputError(
            f"images has shape {images.shape}",
            where=where,
            remedy="Use (height, width), (height, width, 1 or 3) or (batch, height, width, "
            "1 or 3) for arrays; tensors have the channels first.",
        )
    if images.dtype not in (np.uint8, np.float32):
        raise InputError(
            f"images has dtype {images.dtype}",
            where=where,
            remedy="Use uint8, or float32 in [0, 1].",
        )
    if not pixels.flags.writeable or min(pixels.strides) < 0:  # which PyTorch does not take
        pixels = pixels.copy()
    batch = torch.from_numpy(pixels if pixels.ndim == 4 else pixels[None]).permute(0, 3, 1, 2)

    def restore(result: Tensor) -> NDArray[Any]:
        array: NDArray[Any] = result.permute(0, 2, 3, 1).numpy()
        return np.ascontiguousarray(array.reshape(images.shape))

    return Unwrapped(batch, restore)
