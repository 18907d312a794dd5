"""Decode image files to 8-bit "L" or "RGB".

All decoding goes through this module, which follows these rules:

- 16-bit grey is scaled (65535 becomes 255). torchvision's loader clips it at 255 instead, which
  turns most such images white.
- EXIF orientation is applied, so that images are evaluated as viewers show them. torchvision's
  loader ignores it.
- Transparent images are composited on a background, white by default, as browsers do.
  torchvision's loader drops the alpha channel and keeps whatever colour is stored beneath it.
- Palettes are resolved. CMYK, YCbCr, LAB and HSV are converted by Pillow without colour
  profiles, as in torchvision's loader.
- Only the first frame of an animation or multi-page file is used.
- 16-bit colour loses its low byte in Pillow's decoders.
- 32-bit integer and floating-point pixels are refused, because their white level is unknown.
"""

from __future__ import annotations

import functools
import io
import warnings
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import Image, ImageColor, UnidentifiedImageError, features

from noctule.data.dataset import WHITE
from noctule.errors import InputError, UnreadableImageError
from noctule.input_files import reject_special_files

LARGEST_PX: Final = 2**27
"""Largest number of pixels of an image, about 134 million (400 MB as RGB)."""

MOST_PX_PER_BYTE: Final = 5_000
"""Largest number of pixels per byte of a file, for images of more than `SMALL_PX`.

A blank PNG can reach 1,032 × 8; photographs stay below 100."""
SMALL_PX: Final = 2**24

COMPOSITED: Final = "composited"
"""Key in the `info` of images that were transparent."""

# Restricts Pillow to these decoders: some of the others start external programs.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_OPTIONAL_FORMATS: Final = {"avif": "AVIF", "jpg_2000": "JPEG2000"}

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PIXEL_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")

_EXIF_ORIENTATION = 0x0112
_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Refused(Exception):
    """Pillow could decode the file, but the image is not supported."""


_ROWS_AT_ONCE = 64
_EIGHT_BIT = ((np.arange(65536) + 128) // 257).astype(np.uint8)


@functools.cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that this installation can decode."""
    optional = (name for codec, name in _OPTIONAL_FORMATS.items() if features.check(codec))
    return (*_FORMATS, *optional)


def background_colour(text: str) -> str:
    """Convert a colour name or hexadecimal value to "#rrggbb".

    >>> background_colour("white"), background_colour("#08f")
    ('#ffffff', '#0088ff')

    Raises:
        InputError: The text is not a colour, or the colour is transparent.
    """
    try:
        colour = ImageColor.getrgb(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise _no_colour(text) from error
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise _no_colour(text)
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _no_colour(text: object) -> InputError:
    return InputError(
        f"{str(text)[:40]!r} is not a colour",
        where="background",
        remedy="Use a name such as white, or a value such as #808080.",
    )


def decode_file(file: Path, image_id: str, *, background: str = WHITE) -> Image.Image:
    """Decode a file, upright, to 8-bit "L" or "RGB"; see the module for the rules.

    Args:
        file: Image file in one of `formats()`, with any suffix.
        image_id: Id of the image, for the message.
        background: Background of transparent images as "#rrggbb".

    Raises:
        UnreadableImageError: The file is missing, unreadable, empty, not an image, truncated,
            larger than `LARGEST_PX`, or of an undefined pixel range.
    """
    try:
        reject_special_files(file)
        if not file.exists():
            raise _Refused("there is no such file")
        with file.open("rb") as stream:
            return _decode(stream, LARGEST_PX, background)
    except Exception as error:  # Pillow's decoders can raise any exception for damaged files
        is_empty = file.is_file() and file.stat().st_size == 0
        reason = _reason(error, is_empty, LARGEST_PX)
        raise UnreadableImageError(image_id, reason, where=file) from error


def decode_bytes(
    data: bytes,
    image_id: str,
    *,
    background: str = WHITE,
    largest_px: int = LARGEST_PX,
    where: object = None,
) -> Image.Image:
    """Decode the content of an image file, as `decode_file` does.

    Args:
        data: Content of the file.
        image_id: Id of the image, for the message.
        background: Background of transparent images as "#rrggbb".
        largest_px: Largest number of pixels allowed.
        where: The file that holds the data, for the message.

    Raises:
        UnreadableImageError: As for `decode_file`.
    """
    try:
        return _decode(io.BytesIO(data), largest_px, background)
    except Exception as error:  # as above
        reason = _reason(error, not data, largest_px)
        raise UnreadableImageError(image_id, reason, where=where) from error


def eight_bit(image: Image.Image, background: str = WHITE) -> Image.Image:
    """An image in any mode as a new one, 8-bit "L" or "RGB"; see the module for the rules.

    Raises:
        InputError: Its pixels are 32-bit numbers.
    """
    try:
        return _composited(image, background)
    except _Refused as error:
        raise InputError(str(error)) from error


def _decode(stream: IO[bytes], largest_px: int, background: str) -> Image.Image:
    try:
        return _decode_all(stream, largest_px, background)
    except ValueError:
        # Pillow refuses large colour profiles and texts, neither of which is needed here.
        stream.seek(0)
        if stream.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
            raise
        return _decode_all(_pixel_chunks(stream), largest_px, background)


def _decode_all(stream: IO[bytes], largest_px: int, background: str) -> Image.Image:
    num_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    _refuse_large(_webp_size(stream.read(30)), num_bytes, largest_px)
    stream.seek(0)
    with warnings.catch_warnings():
        # Pillow warns about metadata and image sizes; neither matters here.
        warnings.simplefilter("ignore")
        with Image.open(stream, formats=formats()) as image:
            _refuse_large(image.size, num_bytes, largest_px)
            image.load()
            return _upright(_composited(image, background), _orientation(image))


def _refuse_large(size: tuple[int, int], num_bytes: int, largest_px: int) -> None:
    pixels = size[0] * size[1]
    if pixels > largest_px:
        raise Image.DecompressionBombError
    if pixels > SMALL_PX and pixels > MOST_PX_PER_BYTE * num_bytes:
        raise _Refused(f"{num_bytes:,} bytes for {pixels:,} pixels, a decompression bomb")


def _webp_size(head: bytes) -> tuple[int, int]:
    """Size of a WebP image, which Pillow decodes on opening; (0, 0) for other formats."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return 0, 0
    if head[12:16] == b"VP8X":
        canvas = int.from_bytes(head[24:27], "little"), int.from_bytes(head[27:30], "little")
        return canvas[0] + 1, canvas[1] + 1
    if head[12:16] == b"VP8L":
        packed = int.from_bytes(head[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(head[i : i + 2], "little") for i in (26, 28))
    return width & 0x3FFF, height & 0x3FFF


def _pixel_chunks(stream: IO[bytes]) -> io.BytesIO:
    """The PNG file without chunks that do not affect its pixels."""
    stream.seek(len(_PNG_SIGNATURE))
    chunks = [_PNG_SIGNATURE]
    while len(head := stream.read(8)) == 8:
        body = stream.read(int.from_bytes(head[:4]) + 4)
        if head[4:] in _PNG_PIXEL_CHUNKS:
            chunks += [head, body]
    return io.BytesIO(b"".join(chunks))


def _composited(image: Image.Image, background: str) -> Image.Image:
    """The image as 8-bit "L" or "RGB", composited on a background if it is transparent."""
    opaque = _to_eight_bit(image)
    alpha = _alpha(image)
    if alpha is None or alpha.getextrema() == (255, 255):
        return opaque
    colour = ImageColor.getrgb(background)
    if opaque.mode == "L" and len(set(colour)) > 1:
        opaque = opaque.convert("RGB")
    canvas = Image.new(opaque.mode, opaque.size, background)
    canvas.paste(opaque, mask=alpha)
    canvas.info[COMPOSITED] = True
    return canvas


def _alpha(image: Image.Image) -> Image.Image | None:
    """The alpha channel, 0 to 255; None for images without transparency."""
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        return image.getchannel("A" if image.mode != "La" and image.mode != "RGBa" else "a")
    key = image.info.get("transparency")
    if key is None:
        return None
    if image.mode in ("P", "RGB"):
        return image.convert("RGBA").getchannel("A")
    # In a greyscale PNG, one grey value is transparent.
    values = np.asarray(image)
    values = values * np.uint8(255) if image.mode == "1" else values
    return Image.fromarray(np.where(values == key, np.uint8(0), np.uint8(255)))


def _to_eight_bit(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("La", "RGBa"):
        return _to_eight_bit(image.convert("LA" if mode == "La" else "RGBA"))
    if mode in ("L", "RGB"):
        return image.copy()
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return _scaled_16_bit(image)
    if mode in ("I", "F"):
        raise _Refused(
            f"its pixels are 32-bit numbers (mode '{mode}'), whose white level is unknown"
        )
    if mode in ("1", "LA"):
        return image.convert("L")
    return image.convert("RGB")


def _scaled_16_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to "L": v / 257, rounded."""
    values = np.asarray(image)
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS_AT_ONCE):  # limits memory
        rows = slice(start, start + _ROWS_AT_ONCE)
        scaled[rows] = _EIGHT_BIT[values[rows].clip(0, 65535)]
    return Image.fromarray(scaled)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # unreadable metadata does not make the pixels unreadable
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transpose = _TRANSPOSES.get(orientation)
    return image if transpose is None else image.transpose(transpose)


def _reason(error: Exception, is_empty: bool, largest_px: int) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, InputError):
        return error.what.removeprefix("is ")
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {largest_px:,} pixels, which could exhaust the memory"
    if is_empty:
        return "the file is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in a known format ({', '.join(formats())})"
    return f"damaged: {error}" if str(error) else f"damaged ({type(error).__name__})"
