"""Small images and files for the tests of noctule.data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise_image(width: int = 6, height: int = 4, seed: int = 0) -> Image.Image:
    """An RGB image of noise: no two of its rows, columns or channels are alike."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_bytes(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


TINY_PNG = png_bytes(Image.new("RGB", (1, 1), (10, 20, 30)))


def write(file: Path, content: bytes = TINY_PNG) -> Path:
    """A file with its folders, by default an image of one pixel."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
