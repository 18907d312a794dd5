"""Contact sheets: one image under several corruptions, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from noctule.benchmarks import Benchmark, Condition
from noctule.corruptions import SEVERITIES, Corruption

GAP_PX = 6
LABEL_PX = 18
LARGEST_SIDE_PX = 1024
"""Longest side of a photograph after preprocessing."""


class SheetTile(NamedTuple):
    """A caption, and an image as uint8 (channels, height, width)."""

    caption: str
    image: torch.Tensor


@dataclass(frozen=True)
class Applied:
    """A corruption as a benchmark applies it, with its mode, tables and JPEG files."""

    name: str
    benchmark: Benchmark

    def __call__(
        self, images: torch.Tensor, *, ids: Sequence[str], seed: int, severity: int | None
    ) -> torch.Tensor:
        """See `Benchmark.corrupt`."""
        return self.benchmark.corrupt(
            Condition(self.name, severity), images, ids=ids, seed=seed
        )


def severity_tiles(
    image: torch.Tensor, corruption: Corruption | Applied, *, image_id: str, seed: int
) -> list[SheetTile]:
    """The image, clean and at severities 1 to 5 of one corruption.

    Args:
        image: Image as uint8 (channels, height, width).
        corruption: The corruption, with its mode and tables.
        image_id: Id of the image, which the random numbers depend on.
        seed: Seed of the random numbers.
    """
    tiles = [SheetTile(corruption.name, image)]
    for severity in SEVERITIES:
        (corrupted,) = corruption(image[None], ids=[image_id], seed=seed, severity=severity)
        tiles.append(SheetTile(f"severity {severity}", corrupted))
    return tiles


def overview_tiles(
    image: torch.Tensor,
    corruptions: Iterable[Corruption | Applied],
    *,
    image_id: str,
    seed: int,
    severity: int | None,
) -> list[SheetTile]:
    """The image, clean and under each corruption."""
    tiles = [SheetTile("clean", image)]
    for one in corruptions:
        (corrupted,) = one(image[None], ids=[image_id], seed=seed, severity=severity)
        tiles.append(SheetTile(one.name, corrupted))
    return tiles


def contact_sheet(rows: Sequence[Sequence[SheetTile]]) -> Image.Image:
    """Draw rows of tiles of equal size, each under its caption."""
    height, width = rows[0][0].image.shape[1:]
    pitch_x, pitch_y = width + GAP_PX, height + LABEL_PX + GAP_PX
    columns = max(len(row) for row in rows)
    size = (columns * pitch_x + GAP_PX, len(rows) * pitch_y + GAP_PX)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row_number, row in enumerate(rows):
        for column, tile in enumerate(row):
            left, top = GAP_PX + column * pitch_x, GAP_PX + row_number * pitch_y
            draw.text((left, top), tile.caption, fill="black", font=_font(tile.caption, width))
            sheet.paste(image_of(tile.image), (left, top + LABEL_PX))
    return sheet


def grid(tiles: Sequence[SheetTile], columns: int) -> list[list[SheetTile]]:
    """Tiles in rows of `columns`."""
    return [list(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]


def _font(text: str, width_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font from 6 to 12 px in which the text fits."""
    for size_px in range(12, 6, -1):
        font = ImageFont.load_default(size=size_px)
        if font.getlength(text) <= width_px:
            return font
    return ImageFont.load_default(size=6)


def image_of(image: torch.Tensor) -> Image.Image:
    """The RGB image of an image of 1 or 3 channels, uint8 (channels, height, width)."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[2] == 3 else np.repeat(array, 3, axis=2))
