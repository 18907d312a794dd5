"""The one place where a file, or its bytes, become a picture.

What comes out is 8-bit "L" or "RGB". Where that needs a decision, it is this:

- 16-bit grey is scaled (65535 becomes 255). Departure from torchvision's loader, which clips
  it at 255 and so turns most such pictures white.
- EXIF orientation is applied: what a person sees is what is evaluated. Departure from
  torchvision's loader, which ignores it.
- Transparency is dropped and the colour stored beneath it kept, as torchvision's loader does.
- Palettes are resolved; CMYK, YCbCr, LAB and HSV become RGB by Pillow's own rules, without
  colour profiles, as torchvision's loader does.
- Of an animation or a multi-page file, the first frame counts.
- 16-bit colour comes from Pillow's decoders with its low byte already cut off.
- 32-bit integer and floating-point pixels are refused: no file says which value is white.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from noctule.errors import UnreadableImageError

LARGEST_PX: Final = 2**27
"""Pixels an image may have, about 134 million (400 MB as RGB); beyond, it is refused."""

# Named so that no other of Pillow's decoders ever sees a file: some start other programs.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")

_EXIF_ORIENTATION = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Refused(Exception):
    """Pillow could decode this, but no 8-bit picture follows from it."""


_ROWS_AT_ONCE = 64
_EIGHT_BIT = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def decode_file(file: Path, image_id: str) -> Image.Image:
    """The picture in a file, upright, as 8-bit "L" or "RGB"; see the module for the rules.

    Args:
        file: a JPEG, PNG, WebP, BMP, TIFF, PPM/PGM or GIF file, whatever its name ends with.
        image_id: the id to report if it cannot be decoded.

    Raises:
        UnreadableImageError: if the file is missing, unreadable, empty, not an image,
            truncated, larger than `LARGEST_PX`, or of an undefined pixel range.
    """
    try:
        if not file.is_file():
            # Opening a named pipe would wait for ever.
            is_there = file.exists()
            raise _Refused("not a regular file" if is_there else "there is no such file")
        with file.open("rb") as stream:
            return _decode(stream, LARGEST_PX)
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        is_empty = file.is_file() and file.stat().st_size == 0
        reason = _reason(error, is_empty, LARGEST_PX)
        raise UnreadableImageError(image_id, reason, where=file) from error


def decode_bytes(data: bytes, image_id: str, *, largest_px: int = LARGEST_PX) -> Image.Image:
    """The picture that a file with these bytes holds, as `decode_file` reads it.

    Args:
        data: the content of an image file.
        image_id: the id to report if it cannot be decoded.
        largest_px: pixels it may have.

    Raises:
        UnreadableImageError: as of `decode_file`.
    """
    try:
        return _decode(io.BytesIO(data), largest_px)
    except Exception as error:  # as above
        reason = _reason(error, not data, largest_px)
        raise UnreadableImageError(image_id, reason) from error


def _decode(stream: IO[bytes], largest_px: int) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of sizes; neither concerns the pixels here.
        warnings.simplefilter("ignore")
        with Image.open(stream, formats=_FORMATS) as image:
            if image.width * image.height > largest_px:
                raise Image.DecompressionBombError
            image.load()
            return _upright(_to_eight_bit(image), _orientation(image))


def _to_eight_bit(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("L", "RGB"):
        return image.copy()
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return _scaled_16_bit(image)
    if mode in ("I", "F"):
        raise _Refused(f"its pixels are 32-bit numbers (mode '{mode}'), whose white is unknown")
    if mode in ("1", "LA", "La"):
        return image.convert("L")
    return image.convert("RGB")


def _scaled_16_bit(image: Image.Image) -> Image.Image:
    """16-bit grey, 0 to 65535, as "L": v / 257, rounded."""
    values = np.asarray(image)
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS_AT_ONCE):  # of large pictures not all at once
        rows = slice(start, start + _ROWS_AT_ONCE)
        scaled[rows] = _EIGHT_BIT[values[rows].clip(0, 65535)]
    return Image.fromarray(scaled)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # unreadable metadata does not make the pixels unreadable
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _reason(error: Exception, is_empty: bool, largest_px: int) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {largest_px:,} pixels, which could exhaust the memory"
    if is_empty:
        return "the file is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in a known format ({', '.join(_FORMATS)})"
    return f"damaged: {error}" if str(error) else f"damaged ({type(error).__name__})"
