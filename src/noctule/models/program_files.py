"""Networks in files that contain a program: the images that they take, and how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noctule.errors import InputError
from noctule.input_files import reject_beyond_memory, reject_special_files
from noctule.models.foreign import Layout
from noctule.models.outputs import output_tensor
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest

REMEDY = "Use --resize, --crop, --interpolation, --mean and --std if the network expects others"


def file_of(request: ModelRequest) -> Path:
    """The file named by a request.

    Raises:
        InputError: It does not exist, is not a regular file or exceeds the memory; or other
            weights are to be loaded.
    """
    path = Path(request.name).expanduser()
    reject_special_files(path)
    if not path.is_file():
        raise InputError("there is no such file", where=request.spec)
    if request.weights is not None:
        raise InputError(
            "has its own weights, and other weights cannot be loaded into it",
            where=request.spec,
            remedy="Omit --weights.",
        )
    reject_beyond_memory(path.stat().st_size, path)
    return path


def agreed_classes(request: ModelRequest, found: int | None) -> int | None:
    """The number of classes; InputError if the request and the file disagree."""
    if None not in (request.num_classes, found) and request.num_classes != found:
        raise InputError(f"has {found} classes, not {request.num_classes}", where=request.spec)
    return request.num_classes if found is None else found


class ImageInput(NamedTuple):
    """The input of a network.

    Attributes:
        layout: "NCHW" or "NHWC".
        mode: "RGB" or "L".
        height: Pixels; None for any.
        width: Pixels; None for any.
        batch: Number of images; None for any.
    """

    layout: Layout
    mode: str
    height: int | None
    width: int | None
    batch: int | None

    @property
    def preprocessing(self) -> Preprocessing:
        """Images in [0, 1], resized to cover the input, whose centre is cropped."""
        channels = 3 if self.mode == "RGB" else 1
        sides = (self.height, self.width)
        size = None if None in sides else sides
        return Preprocessing(
            resize_px=size,  # type: ignore[arg-type]
            crop_px=size,  # type: ignore[arg-type]
            fit="cover",
            mean=(0,) * channels,
            std=(1,) * channels,
            mode=self.mode,  # type: ignore[arg-type]
        )


def image_input(shape: Sequence[Any], where: str) -> ImageInput:
    """The input with this shape.

    Args:
        shape: Four lengths; anything but an integer above 0 stands for any length. The channels
            are second or last, 3 or 1.
        where: Name of the model, for the message.

    Raises:
        InputError: It is not the shape of a batch of images.

    >>> image_input(["batch", 3, 224, 224], "model")
    ImageInput(layout='NCHW', mode='RGB', height=224, width=224, batch=None)
    >>> image_input([1, 28, 28, 1], "model")
    ImageInput(layout='NHWC', mode='L', height=28, width=28, batch=1)
    """
    dims = [side if isinstance(side, int) and side > 0 else None for side in shape]
    text = " × ".join("?" if side is None else str(side) for side in dims)
    if len(dims) == 4:
        batch, second, third, last = dims
        if second in (1, 3):
            return ImageInput("NCHW", "L" if second == 1 else "RGB", third, last, batch)
        if last in (1, 3):
            return ImageInput("NHWC", "L" if last == 1 else "RGB", second, third, batch)
        if second is None:
            return ImageInput("NCHW", "RGB", third, last, batch)
    raise InputError(
        f"its input has the shape {text or '()'}, which is not a batch of images",
        where=where,
        remedy="It must take 3 or 1 channels: (batch, channels, height, width) or "
        "(batch, height, width, channels).",
    )


def in_batches(
    network: Callable[[Tensor], object], images: Tensor, size: int | None, where: object
) -> Tensor:
    """The outputs, from a network that takes exactly `size` images at a time.

    Args:
        network: From `size` images to outputs; see `output_tensor`.
        images: (batch, ...).
        size: None for a network that takes any number.
        where: Name of the model, for messages.

    >>> sizes = []
    >>> def network(images):
    ...     sizes.append(len(images))
    ...     return images
    >>> in_batches(network, torch.arange(5.0), 2, "model"), sizes
    (tensor([0., 1., 2., 3., 4.]), [2, 2, 2])
    """
    if size is None:
        return output_tensor(network(images), where)
    parts = []
    for part in torch.split(images, size):
        missing = size - len(part)
        full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
        parts.append(output_tensor(network(full), where)[: len(part)])
    return torch.cat(parts)


class ShapedNetwork(nn.Module):
    """A network that receives images in its own layout and number."""

    def __init__(self, network: nn.Module, given: ImageInput, name: str) -> None:
        super().__init__()
        self.network = network
        self.given, self.name = given, name
        self.training = False  # exported programs have no modes

    def forward(self, images: Tensor) -> Tensor:
        """Outputs of normalised images (batch, channels, height, width)."""
        if self.given.layout == "NHWC":
            images = images.permute(0, 2, 3, 1).contiguous()
        return in_batches(self.network, images, self.given.batch, self.name)
