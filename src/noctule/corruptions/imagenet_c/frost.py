"""ImageNet-C: frost."""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.grouping import map_chunks
from noctule.corruptions.imagenet_c.ice import SHEETS, SIDE_PX, ice
from noctule.corruptions.pixels import (
    LUMA,
    REFERENCE_SIDE_PX,
    from_float,
    full_scale,
    per_image,
    to_int16_levels,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.textures import FROST, load_texture
from noctule.sampling import Stream, high24

PHOTOGRAPHS_DRAWN = 5  # of six
# So many values are mixed with frost at once, in float64.
MIXED_AT_ONCE = 3 * 224**2


@corruption(
    family="weather",
    source="Hendrycks & Dietterich 2019, released code: frost",
    draws={
        "image_share": PerSeverity(1.0, 0.8, 0.7, 0.65, 0.6),
        "frost_share": PerSeverity(0.4, 0.6, 0.7, 0.7, 0.75),
        "texture_scale": PerSeverity(1.0, 1.0, 1.0, 1.0, 1.0, lowest=0.05, highest=4.0),
        "place": NoiseField(),
    },
)
def frost(
    images: Tensor,
    *,
    released: bool = False,
    image_share: Tensor,
    frost_share: Tensor,
    texture_scale: Tensor,
    place: Stream,
) -> Tensor:
    """Add a part of an image of frost to a share of the image, and clamp.

    The frost is one of six sheets that are grown by formula (`noctule.corruptions.imagenet_c
    .ice`), with the tones and spectra of the six photographs of the released code, which
    cannot be distributed. On one channel, it is the frost's luma.

    Args:
        images: see `noctule.corrupt`.
        released: the frost is one of those photographs (see `noctule.corruptions.textures`),
            but never the sixth; what does not cover the image is enlarged; and the result is
            cut off to whole levels instead of rounded, uint8 only.
        image_share: of the image, (batch,).
        frost_share: of the frost, (batch,).
        texture_scale: size of the frost in images of 224 px, scaled with the shorter side;
            (batch,). The released code for 32 px shrinks it to 0.2 and that for 64 px to 0.3,
            which is 1.4 and 1.05 here.
        place: four random numbers: which sheet, which row and which column.

    Raises:
        InputError: published, and a photograph is not there or is another file.
    """
    height, width = images.shape[2:]
    scale = texture_scale * (min(height, width) / REFERENCE_SIDE_PX)
    # Numbers of Python, which cost less for each image than tensors of one element.
    first, second = (high24(word).tolist() for word in place.words(2))
    window = _photograph if released else _sheet
    windows = [
        window(which, (row, column), factor, (height, width), images.device)
        for (which, row), (_, column), factor in zip(first, second, scale.tolist(), strict=True)
    ]
    # To cut off at whole levels where the released code does, they must be computed as it does.
    kind = torch.float64 if released and images.dtype == torch.uint8 else torch.float32
    shares = (image_share, frost_share * (full_scale(images) / 255))
    mixture = [per_image(share, kind) for share in shares]

    def change(few: Tensor, layer: Tensor, kept: Tensor, added: Tensor) -> Tensor:
        layer = layer.to(kind)
        if images.shape[1] == 1:
            red, green, blue = (layer[:, number : number + 1] for number in range(3))
            layer = (red * LUMA[0]).add_(green * LUMA[1]).add_(blue * LUMA[2])
        values = few.to(kind, copy=True).mul_(kept).add_(layer.mul_(added))
        return to_int16_levels(values, images.dtype, truncate=released)

    return map_chunks(change, images, torch.stack(windows), *mixture, at_once=MIXED_AT_ONCE)


Lots = tuple[int, int]
"""24 random bits each, for a row and a column."""
Size = tuple[int, int]


def _drawn(lot: int, count: int) -> int:
    """One of `count` numbers from 0, as `sampling.integers`."""
    return lot * count >> 24


def _sheet(which: int, spots: Lots, scale: float, size: Size, device: torch.device) -> Tensor:
    """A window of a sheet of ice, anywhere: uint8 (3, height, width)."""
    number = _drawn(which, len(SHEETS))
    side = max(1, round(SIDE_PX * scale))
    row, column = (_drawn(spot, side) for spot in spots)
    if scale > 1:
        sheet = _tiled(number, SIDE_PX, (0, 0), device)
        return _resampled(sheet, (row, column), scale, size, wraps=True)
    sheet = _tiled(number, side, size, device)
    return sheet[:, row : row + size[0], column : column + size[1]]


@functools.lru_cache(maxsize=64)
def _tiled(number: int, side: int, margin: Size, device: torch.device) -> Tensor:
    """A sheet shrunk to a side, and repeated for a margin more: uint8 (3, rows, columns)."""
    sheet = ice(number)
    if side < SIDE_PX:
        image = Image.fromarray(sheet)
        sheet = np.asarray(image.resize((side, side), Image.Resampling.BOX))
    repeated = np.pad(sheet, ((0, margin[0]), (0, margin[1]), (0, 0)), mode="wrap")
    return torch.from_numpy(repeated.transpose(2, 0, 1).copy()).to(device)


def _photograph(
    which: int, spots: Lots, scale: float, size: Size, device: torch.device
) -> Tensor:
    """A window of a photograph: uint8 (3, height, width)."""
    texture = load_texture(FROST[_drawn(which, PHOTOGRAPHS_DRAWN)], device)
    lengths = texture.shape[1:]
    scale = max(scale, *((n + 1) / length for n, length in zip(size, lengths, strict=True)))
    # The released code never shows the last row and column.
    row, column = (
        _drawn(spot, round(length * scale) - n)
        for spot, length, n in zip(spots, lengths, size, strict=True)
    )
    if scale == 1:
        return texture[:, row : row + size[0], column : column + size[1]]
    return _resampled(texture, (row, column), scale, size, wraps=False)


def _resampled(
    texture: Tensor, corner: tuple[int, int], scale: float, size: Size, *, wraps: bool
) -> Tensor:
    """A window of a texture that is resized bilinearly, without antialiasing: uint8."""
    (above, row_weight), (before, column_weight) = (
        _between(first, count, length, scale, wraps=wraps, device=texture.device)
        for first, count, length in zip(corner, size, texture.shape[1:], strict=True)
    )

    def rows_of(columns: Tensor) -> Tensor:
        part = texture.index_select(2, columns)
        near, far = (part.index_select(1, row) for row in above)
        return near * (1 - row_weight[:, None]) + far * row_weight[:, None]

    near, far = map(rows_of, before)
    window = near * (1 - column_weight) + far * column_weight
    return from_float(window, torch.uint8, in_range=True)


def _between(
    first: int, count: int, length: int, scale: float, *, wraps: bool, device: torch.device
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The lines of a texture on both sides of each line of a window, and the second's weight.

    Returns:
        int64 (count,) twice, and float32 (count,).
    """
    index = torch.arange(first, first + count, dtype=torch.float64, device=device)
    source = ((index + 0.5) / scale).sub_(0.5)
    if not wraps:
        source.clamp_(0, length - 1)
    low = source.floor()
    line = low.to(torch.int64)
    return (line % length, (line + 1) % length), (source - low).to(torch.float32)
