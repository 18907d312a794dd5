"""Draws ImageNet-C at five severities beside another package's, and ImageNet-C-bar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from draw_corruptions import draw_scene
from imagenet_c_agreement import NAMES
from imagenet_c_peers import REFERENCES, RgbArray, call_reference
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.report.sheet import SheetTile, contact_sheet, severity_tiles

TILE_PX = 104  # the longest name fits
BAR_TILE_PX = 158
BAR = "imagenet_c_bar"
IMAGE_ID = "noctule"
# The packages' frost is made of photographs that may not be distributed.
LEFT_OUT = "frost"


def write_images(folder: Path) -> None:
    """Write imagenet-c.png and imagenet-c-bar.png."""
    # The packages' lengths are for this size.
    scene = np.asarray(draw_scene(REFERENCE_SIDE_PX))
    rows = [
        [SheetTile(name, _small(scene)), *their_tiles(name, scene), *our_tiles(name, scene)]
        for name in NAMES
    ]
    contact_sheet(rows).save(folder / "imagenet-c.png", optimize=True)
    bar = [c.name for c in CORRUPTIONS.values() if c.kernel.__module__.split(".")[-2] == BAR]
    sheet = contact_sheet([_severities(name, scene) for name in bar])
    sheet.save(folder / "imagenet-c-bar.png", optimize=True)


def their_tiles(name: str, scene: RgbArray) -> list[SheetTile]:
    """The package's image at each severity, or blanks where it may not be shown."""
    tiles = []
    for severity in SEVERITIES:
        if name == LEFT_OUT:
            tiles.append(SheetTile("not shown", _small(np.full_like(scene, 200))))
            continue
        reference, published = REFERENCES[name], CORRUPTIONS[name].published_name
        image = call_reference(reference, published, scene, severity=severity, seed=0)
        tiles.append(SheetTile(f"{reference.package} {severity}", _small(image)))
    return tiles


def our_tiles(name: str, scene: RgbArray) -> list[SheetTile]:
    """Ours at each severity: released mode but for frost."""
    corruption = CORRUPTIONS[name].in_mode("paper" if name == LEFT_OUT else "released")
    batch = torch.from_numpy(scene.transpose(2, 0, 1).copy())[None]
    tiles = []
    for severity in SEVERITIES:
        (image,) = corruption(batch, ids=[IMAGE_ID], severity=severity)
        tiles.append(SheetTile(f"noctule {severity}", _small(image.permute(1, 2, 0).numpy())))
    return tiles


def _severities(name: str, scene: RgbArray) -> list[SheetTile]:
    clean = torch.from_numpy(scene.transpose(2, 0, 1).copy())
    tiles = severity_tiles(clean, CORRUPTIONS[name], image_id=IMAGE_ID, seed=0)
    return [
        SheetTile(tile.caption, _small(tile.image.permute(1, 2, 0).numpy(), BAR_TILE_PX))
        for tile in tiles
    ]


def _small(pixels: RgbArray, side_px: int = TILE_PX) -> torch.Tensor:
    small = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())
