"""Draws the image in the README: a scene of our own, under every corruption.

python scripts/draw_corruptions.py
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from noctule.corruptions import CORRUPTIONS
from noctule.report.sheet import contact_sheet, grid, overview_tiles

SIDE_PX = 160
OVERSAMPLING = 4
DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Draw the scene and write docs/corruptions.png."""
    scene = torch.from_numpy(np.array(draw_scene(SIDE_PX))).permute(2, 0, 1).contiguous()
    tiles = overview_tiles(
        scene, CORRUPTIONS.values(), image_id="noctule", seed=0, severity=None
    )
    contact_sheet(grid(tiles, columns=8)).save(DOCS / "corruptions.png", optimize=True)


def draw_scene(side_px: int) -> Image.Image:
    """A noctule at dusk, before the moon, above hills and a village."""
    side = side_px * OVERSAMPLING
    height = np.linspace(0, 1, side)[:, None, None]
    top, bottom = np.array([38, 52, 110]), np.array([250, 160, 90])
    sky = (top + (bottom - top) * height**1.5) * np.ones((1, side, 1))
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse(_box(side, 0.58, 0.12, 0.88, 0.42), fill=(255, 240, 200))
    for severity, color in ((0.66, (90, 80, 130)), (0.76, (50, 90, 80)), (0.87, (30, 55, 40))):
        line = [
            (x, side * (severity + 0.05 * math.sin(6 * x / side + 20 * severity)))
            for x in range(side)
        ]
        draw.polygon([*line, (side, side), (0, side)], fill=color)
    for number, color in enumerate(((200, 60, 50), (230, 190, 80), (80, 130, 200))):
        left = 0.12 + 0.16 * number
        draw.rectangle(_box(side, left, 0.80, left + 0.11, 0.92), fill=color)
        roof = [(left - 0.015, 0.80), (left + 0.055, 0.72), (left + 0.125, 0.80)]
        draw.polygon([(side * x, side * y) for x, y in roof], fill=(90, 40, 40))
        draw.rectangle(_box(side, left + 0.04, 0.84, left + 0.07, 0.88), fill=(255, 250, 170))
    draw.polygon([(side * x, side * y) for x, y in _bat()], fill=(40, 22, 22))
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS)


def _box(side: int, *corners: float) -> list[float]:
    return [side * corner for corner in corners]


def _bat() -> list[tuple[float, float]]:
    """The right half of a bat's outline, and its mirror image, about x = 0.45."""
    right = [
        (0.00, 0.30), (0.012, 0.262), (0.03, 0.235), (0.034, 0.28), (0.06, 0.30), (0.14, 0.22),
        (0.27, 0.20), (0.36, 0.27), (0.30, 0.28), (0.26, 0.35), (0.20, 0.33), (0.15, 0.40),
        (0.10, 0.38), (0.05, 0.44), (0.00, 0.48),
    ]  # fmt: skip
    outline = [*right, *[(-x, y) for x, y in reversed(right)]]
    return [(0.45 + x, y) for x, y in outline]


if __name__ == "__main__":
    main()
