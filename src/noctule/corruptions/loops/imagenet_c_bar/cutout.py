"""Compiled loop of checkerboard_cutout."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.imagenet_c_bar.cutout import BOARD, GRAY, SQUARE
from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.imagenet_c_bar.positions import cosine
from noctule.corruptions.loops.pixels import BYTE, side_scale
from noctule.corruptions.loops.random import fill_bits16

_SHIFT = np.uint64(SQUARE.bit_length() - 1)
_COLUMN_BITS = np.uint64(BOARD.bit_length() - 1)


@loop("uint8", "float32")
def checkerboard_cutout(
    image: Any, out: Any, share: float, square_px: float, angle_deg: float, squares: Any
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.cutout.checkerboard_cutout`."""
    channels, height, width = image.shape
    bits = np.empty(BOARD * BOARD, np.uint16)
    fill_bits16(squares, 0, bits)
    covered = np.empty(len(bits), np.uint8)
    for i in range(len(bits)):
        uniform = (np.float32(bits[i]) + np.float32(0.5)) * np.float32(2.0**-16)
        same_color = np.int64(i // BOARD + i % BOARD) % 2 == 0
        covered[i] = same_color & (uniform < np.float32(share))
    turns = angle_deg * (1 / 360)
    side = max(square_px * side_scale(image), 1.0)
    cos = np.uint64(np.int64(np.rint(cosine(turns) / side * SQUARE)))
    sin = np.uint64(np.int64(np.rint(cosine(turns - 0.25) / side * SQUARE)))
    shade = np.empty(1, image.dtype)
    shade[0] = np.rint(GRAY * 255) if image.dtype == BYTE else GRAY
    gray = shade[0]
    number, cut = np.empty(width, np.uint16), np.empty(width, np.uint8)
    for y in range(height):
        down, across = np.uint64(y) * cos, np.uint64(0) - np.uint64(y) * sin
        for x in range(width):
            row = (down + np.uint64(x) * sin) >> _SHIFT
            column = (across + np.uint64(x) * cos) >> _SHIFT
            number[x] = (row << _COLUMN_BITS) | column
        for x in range(width):
            cut[x] = covered[number[x]]
        for c in range(channels):
            row_in, row_out = image[c, y], out[c, y]
            for x in range(width):
                row_out[x] = gray if cut[x] else row_in[x]
