"""Every kind of file that a folder of images has been seen to hold, good and bad."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from noctule.data import decode
from noctule.data.decode import decode_file
from noctule.errors import UnreadableImageError
from photos import picture, png_bytes, write


def decoded(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Image.Image:
    image.save(tmp_path / name, **options)
    return decode_file(tmp_path / name, name)


def refused(file: Path) -> str:
    """The reason, after checks that the error names the file and survives a worker's pickle."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_file(file, "class/name.png")
    assert caught.value.image_id == "class/name.png"
    assert str(file) in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.image_id, copy.reason) == (caught.value.image_id, caught.value.reason)
    return caught.value.reason


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff", "webp"])
def test_rgb_is_exact(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    image = decoded(tmp_path, picture(), f"a.{suffix}", **options)
    assert (image.mode, image.tobytes()) == ("RGB", picture().tobytes())


def test_jpeg_equals_pillows_decoder(tmp_path):
    image = decoded(tmp_path, picture(40, 30), "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as expected:
        assert image.tobytes() == expected.convert("RGB").tobytes()


def test_the_content_counts_not_the_ending(tmp_path):
    image = decode_file(write(tmp_path / "a.JPEG", png_bytes(picture())), "a")
    assert image.tobytes() == picture().tobytes()


def test_grey_stays_grey(tmp_path):
    grey = picture().convert("L")
    image = decoded(tmp_path, grey, "a.png")
    assert (image.mode, image.tobytes()) == ("L", grey.tobytes())


def test_one_bit(tmp_path):
    bits = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    image = decoded(tmp_path, bits, "a.png")
    assert (image.mode, image.tobytes()) == ("L", bytes([0, 255, 255]))


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 25700, 32768, 65407, 65535]], np.uint16)
    image = decoded(tmp_path, Image.fromarray(values), f"a.{suffix}")
    # v / 257: 128 is 0.498, 129 is 0.502, 32768 is 127.502, 65407 is 254.502.
    assert image.mode == "L"
    assert list(image.tobytes()) == [0, 0, 1, 1, 100, 128, 255, 255]


def test_16_bit_big_endian_tiff(tmp_path):
    values = np.array([[0, 257, 65535]], ">u2")
    tags = [
        (256, 4, 1, 3), (257, 4, 1, 1), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16), (273, 4, 1, 8), (277, 3, 1, 1 << 16), (278, 4, 1, 1),
        (279, 4, 1, 6),
    ]  # fmt: skip
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *t) for t in tags)
    data = b"MM\x00\x2a" + struct.pack(">I", 14) + values.tobytes() + directory + bytes(4)
    image = decode_file(write(tmp_path / "a.tif", data), "a")
    assert list(image.tobytes()) == [0, 1, 255]


def test_16_bit_colour_loses_its_low_byte(tmp_path):
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00" + struct.pack(">HHH", 65535, 32767, 256))
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    data += png_chunk(b"IDAT", pixel) + png_chunk(b"IEND", b"")
    image = decode_file(write(tmp_path / "a.png", data), "a")
    assert image.getpixel((0, 0)) == (255, 127, 1)


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255])])
def test_palette(tmp_path, transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    options = {} if transparency is None else {"transparency": transparency}
    out = decoded(tmp_path, image, "a.png", **options)
    assert out.mode == "RGB"
    assert [out.getpixel((x, 0)) for x in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_transparency_is_dropped_and_the_colour_kept(tmp_path):
    clear = picture().copy()
    clear.putalpha(0)
    out = decoded(tmp_path, clear, "a.png")
    assert (out.mode, out.tobytes()) == ("RGB", picture().tobytes())
    grey = picture().convert("L")
    both = Image.merge("LA", (grey, Image.new("L", grey.size, 7)))
    out = decoded(tmp_path, both, "b.png")
    assert (out.mode, out.tobytes()) == ("L", grey.tobytes())


def test_cmyk_as_torchvisions_loader_sees_it(tmp_path):
    out = decoded(tmp_path, picture(16, 16).convert("CMYK"), "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.mode == "CMYK"
        assert (out.mode, out.tobytes()) == ("RGB", stored.convert("RGB").tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_orientation_as_pillows_own_function(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = decoded(tmp_path, picture(), f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / f"a.{suffix}") as stored:
        expected = ImageOps.exif_transpose(stored)
    assert (out.size, out.tobytes()) == (expected.size, expected.tobytes())
    assert (out.size == (4, 6)) == (orientation >= 5)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_broken_metadata_is_no_reason_to_refuse(tmp_path, exif):
    out = decoded(tmp_path, picture(), "a.png", exif=exif)
    assert out.tobytes() == picture().tobytes()


def test_first_frame_of_an_animation(tmp_path):
    frames = [picture(seed=1).quantize(16), picture(seed=2).quantize(16)]
    out = decoded(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert out.tobytes() == frames[0].convert("RGB").tobytes()


def test_one_pixel(tmp_path):
    assert decoded(tmp_path, picture(1, 1), "a.png").size == (1, 1)


def test_result_outlives_and_ignores_the_file(tmp_path):
    out = decoded(tmp_path, picture(), "a.png")
    (tmp_path / "a.png").unlink()
    out.putpixel((0, 0), (1, 2, 3))
    assert pickle.loads(pickle.dumps(out)).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
def test_truncated(tmp_path, format_name):
    stream = io.BytesIO()
    picture(64, 64).save(stream, format_name)
    whole = stream.getvalue()
    for share in (0.02, 0.3, 0.6, 0.95):
        assert refused(write(tmp_path / "a.png", whole[: int(len(whole) * share)]))


def test_flipped_bytes_give_a_picture_or_our_error(tmp_path):
    """Damage anywhere in a PNG or JPEG never escapes as another kind of error."""
    for format_name in ("PNG", "JPEG"):
        stream = io.BytesIO()
        picture(16, 16).save(stream, format_name)
        whole = stream.getvalue()
        for place in range(0, len(whole), 5):
            damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
            file = write(tmp_path / "a.png", damaged)
            with contextlib.suppress(UnreadableImageError):
                assert decode_file(file, "a").mode in ("L", "RGB")


def test_empty(tmp_path):
    assert refused(write(tmp_path / "a.png", b"")) == "the file is empty (0 bytes)"


def test_not_an_image(tmp_path):
    reason = refused(write(tmp_path / "a.png", b"<html>404 Not Found</html>"))
    assert reason.startswith("not an image in a known format (JPEG, PNG")


def test_postscript_is_never_run(tmp_path):
    # Pillow would hand it to an interpreter, whatever the file is called.
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert refused(write(tmp_path / "a.jpg", script)).startswith("not an image")


def test_missing_and_broken_link(tmp_path):
    assert refused(tmp_path / "a.png") == "there is no such file"
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    assert refused(tmp_path / "b.png") == "there is no such file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert refused(tmp_path / "a.png") == "not a regular file"
    (tmp_path / "folder.png").mkdir()
    assert refused(tmp_path / "folder.png") == "not a regular file"


def test_permission(tmp_path, monkeypatch):
    file = write(tmp_path / "a.png")

    def denied(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Patched, not chmod: tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "open", denied)
    assert refused(file) == "permission denied"


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")


@pytest.mark.parametrize("side", [11_586, 100_000])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    # 11,586² is just above 2^27 pixels, which Pillow alone would only warn of.
    reason = refused(write(tmp_path / "a.png", png_header(side, side)))
    assert reason == "more than 134,217,728 pixels, which could exhaust the memory"


def test_large_but_allowed(tmp_path, monkeypatch):
    # Pillow warns at half of its own limit; a warning would be an error in this test.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert decoded(tmp_path, picture(6, 5), "a.png").size == (6, 5)
    monkeypatch.setattr(decode, "LARGEST_PX", 29)
    assert "more than 29 pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels(tmp_path, mode):
    Image.new(mode, (2, 2), 70_000).save(tmp_path / "a.tif")
    assert f"mode '{mode}'" in refused(tmp_path / "a.tif")
