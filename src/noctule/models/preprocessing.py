"""Preprocessing from an image to a model's input.

Corruptions are applied between the two steps: `prepare` resizes and crops to an 8-bit image,
and `normalise` converts the (corrupted) image to the network's input. Together they exactly
equal torchvision's `weights.transforms()` and timm's evaluation transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image

from noctule.arguments import real_number, whole_number
from noctule.corruptions.checks import MAX_SIDE_PX
from noctule.data.decode import LARGEST_PX
from noctule.errors import InputError, unknown_name

INTERPOLATIONS: Mapping[str, Image.Resampling] = {
    filter_.name.lower(): filter_ for filter_ in Image.Resampling
}
_CHANNELS = {"RGB": 3, "L": 1}
_Number = TypeVar("_Number", int, float)

# Above this size only the crop is computed: a strip of 1 × 5000 px, resized to a short side of
# 256 px, would take a gigabyte.
_MAX_RESIZED_PIXELS = 1 << 25


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalise; by default only scale to [0, 1].

    Args:
        resize_px: Short side after resizing, or (height, width), or None to keep the size.
        crop_px: Size of the centre crop as (height, width), or None. Smaller images are padded
            with `fill`.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming", as in
            Pillow (antialiased when shrinking, except "nearest").
        mean: Mean of each channel, where white is 1.
        std: Standard deviation of each channel, where white is 1; positive.
        mode: Colour mode of the network's input, "RGB" or "L".
        fit: Method for resizing to (height, width): "stretch" matches it exactly; "cover" keeps
            the aspect ratio and covers it; "contain" keeps the aspect ratio and fits into it.
        fill: Padding value of each channel, 0 to 255; None is black.

    Raises:
        InputError: A value is out of range; lengths are at most `MAX_SIDE_PX`.

    >>> preprocessing = Preprocessing(resize_px=256, crop_px=(224, 224))
    >>> preprocessing.prepare(Image.new("RGB", (640, 480))).shape
    torch.Size([3, 224, 224])
    """

    resize_px: int | tuple[int, int] | None = None
    crop_px: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    mode: Literal["RGB", "L"] = "RGB"
    fit: Literal["stretch", "cover", "contain"] = "stretch"
    fill: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def channels(self) -> int:
        """Number of channels of the image: 3 or 1."""
        return _CHANNELS[self.mode]

    @property
    def crops(self) -> Preprocessing:
        """What `prepare` depends on: the same without normalisation."""
        return replace(self, mean=(0.0,) * self.channels, std=(1.0,) * self.channels)

    def prepare(self, source: Image.Image) -> torch.Tensor:
        """The input of corruptions: uint8 (C, H, W), resized and cropped, not normalised."""
        if source.mode != self.mode:
            source = source.convert(self.mode)
        source = self._crop(self._resize(source))
        pixels = np.array(source, dtype=np.uint8).reshape(source.height, source.width, -1)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(image − mean) / std as float32, in the same shape; the input is not modified.

        Args:
            images: Images (B, C, H, W) or (C, H, W); uint8, or floats in [0, 1].
        """
        if images.dtype == torch.uint8:
            scaled = images.to(torch.float32).div_(255)
        else:
            scaled = images.to(torch.float32)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=images.device)
        std = torch.tensor(self.std, dtype=torch.float32, device=images.device)
        return scaled.sub(mean[:, None, None]).div_(std[:, None, None])

    def describe(self) -> str:
        """A description for people.

        >>> Preprocessing(resize_px=256, crop_px=(224, 224)).describe()
        'resized to 256 px (bilinear), cropped to 224 × 224 px, mean 0, 0, 0, std 1, 1, 1'
        """
        parts = ["grey"] if self.mode == "L" else []
        if self.resize_px is not None:
            sides = self.resize_px if isinstance(self.resize_px, tuple) else (self.resize_px,)
            size = " × ".join(map(str, sides))
            parts.append(f"resized to {size} px ({self.interpolation})")
        if self.crop_px is not None:
            parts.append(f"cropped to {self.crop_px[0]} × {self.crop_px[1]} px")
        for name in ("mean", "std"):
            parts.append(f"{name} {', '.join(f'{value:.4g}' for value in getattr(self, name))}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """All fields as JSON values (lists for tuples)."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object], *, where: object) -> Preprocessing:
        """The inverse of `to_dict`; an InputError names `where`."""
        try:
            return cls(**{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in data.items()
            })  # type: ignore[arg-type]  # fmt: skip
        except (TypeError, AttributeError) as error:
            raise InputError(
                f"its preprocessing cannot be read: {error}", where=where
            ) from error

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        if self.resize_px is None:
            return width, height
        if isinstance(self.resize_px, int):
            short, long = sorted((width, height))
            new_long = int(self.resize_px * long / short)  # rounded down, as torchvision does
            portrait = width <= height
            return (self.resize_px, new_long) if portrait else (new_long, self.resize_px)
        to_height, to_width = self.resize_px
        if self.fit == "stretch":
            return to_width, to_height
        pick = min if self.fit == "cover" else max
        shrink = pick(height / to_height, width / to_width)
        # At least one pixel, where timm's rounding fails for very narrow images.
        return max(1, round(width / shrink)), max(1, round(height / shrink))

    def _resize(self, image: Image.Image) -> Image.Image:
        size = self._resized_size(image.width, image.height)
        if size == image.size:
            return image
        resample = INTERPOLATIONS[self.interpolation]
        if size[0] * size[1] <= _MAX_RESIZED_PIXELS:
            return image.resize(size, resample)
        if self.crop_px is None and size[0] * size[1] > LARGEST_PX:
            raise InputError(
                f"an image of {image.width} × {image.height} px would be resized to "
                f"{size[0]:,} × {size[1]:,} px, more than {LARGEST_PX:,} pixels",
                where="preprocessing",
                remedy="Use a smaller --resize, or a --crop.",
            )
        if self.crop_px is None:
            return image.resize(size, resample)
        return _resize_centre(image, size, self.crop_px, resample)

    def _crop(self, image: Image.Image) -> Image.Image:
        if self.crop_px is None or (image.height, image.width) == self.crop_px:
            return image
        height, width = self.crop_px
        top, left = _offset(image.height, height), _offset(image.width, width)
        if top >= 0 and left >= 0:
            return image.crop((left, top, left + width, top + height))
        canvas = Image.new(self.mode, (width, height), self.fill or 0)
        canvas.paste(image, (-left, -top))
        return canvas


def _offset(length_px: int, crop_px: int) -> int:
    """Start of a centre crop, rounded as in torchvision; negative if padding is needed."""
    if crop_px > length_px:
        return -((crop_px - length_px) // 2)
    return round((length_px - crop_px) / 2)


def _resize_centre(
    image: Image.Image,
    size: tuple[int, int],
    crop_px: tuple[int, int],
    resample: Image.Resampling,
) -> Image.Image:
    """The crop from the centre of `image.resize(size)`, without computing the rest."""
    keep = tuple(min(full, crop) for full, crop in zip(size, crop_px[::-1], strict=True))
    start = tuple(_offset(full, part) for full, part in zip(size, keep, strict=True))
    scale = tuple(before / after for before, after in zip(image.size, size, strict=True))
    box = (
        start[0] * scale[0],
        start[1] * scale[1],
        (start[0] + keep[0]) * scale[0],
        (start[1] + keep[1]) * scale[1],
    )
    return image.resize((keep[0], keep[1]), resample, box=box)


def _check(spec: Preprocessing) -> None:
    where = "preprocessing"
    if not isinstance(spec.mode, str) or spec.mode not in _CHANNELS:
        raise unknown_name("mode", spec.mode, _CHANNELS, where=where)
    if not isinstance(spec.interpolation, str) or spec.interpolation not in INTERPOLATIONS:
        raise unknown_name("interpolation", spec.interpolation, INTERPOLATIONS, where=where)
    if spec.fit not in ("stretch", "cover", "contain"):
        raise unknown_name("fit", spec.fit, ("stretch", "cover", "contain"), where=where)
    plain: dict[str, object] = {
        "resize_px": _size(spec.resize_px, f"{where}: resize_px", may_be_short_side=True),
        "crop_px": _size(spec.crop_px, f"{where}: crop_px", may_be_short_side=False),
        "mean": _per_channel(spec, "mean", lambda value, where: real_number(
            value, where, low=-math.inf, high=math.inf, open_ends=True,
            remedy="Use a finite number for each channel.")),
        "std": _per_channel(spec, "std", lambda value, where: real_number(
            value, where, low=0, high=math.inf, open_ends=True,
            remedy="Use a number above 0 for each channel.")),
    }  # fmt: skip
    if spec.fill is not None:
        plain["fill"] = _per_channel(
            spec, "fill", lambda value, where: whole_number(value, where, low=0, high=255)
        )
    for name, value in plain.items():
        object.__setattr__(spec, name, value)


def _size(size: object, where: str, *, may_be_short_side: bool) -> int | tuple[int, ...] | None:
    """None, (height, width), or, if allowed, the length of the short side."""
    remedy = f"Use (height, width), each from 1 to {MAX_SIDE_PX:,}"
    remedy += ", or the length of the short side." if may_be_short_side else "."

    def length(value: object) -> int:
        return whole_number(value, where, low=1, high=MAX_SIDE_PX, remedy=remedy)

    if size is None:
        return None
    if isinstance(size, tuple | list | torch.Size):
        if len(size) != 2:
            raise InputError(f"{size} is not two lengths", where=where, remedy=remedy)
        return tuple(map(length, size))
    if not may_be_short_side:
        raise InputError(f"{size!r} is not two lengths", where=where, remedy=remedy)
    return length(size)


def _per_channel(
    spec: Preprocessing, name: str, number: Callable[[object, str], _Number]
) -> tuple[_Number, ...]:
    """A plain number for each channel."""
    values, where = getattr(spec, name), f"preprocessing: {name}"
    is_flat = hasattr(values, "__len__") and getattr(values, "ndim", 1) == 1
    is_invalid = isinstance(values, str | bytes | Mapping) or not is_flat
    if is_invalid or len(values) != spec.channels:
        raise InputError(
            f"{values!r} is not a number for each channel",
            where=where,
            remedy=f"Mode {spec.mode} has {spec.channels}.",
        )
    return tuple(number(value, where) for value in values)
