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
from PIL import Image, ImageColor, ImageOps

from noctule.data import decode
from noctule.data.decode import background_colour, decode_file
from noctule.data.files import is_image_name
from noctule.errors import InputError, UnreadableImageError
from photos import noise_image, png_bytes, write


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
    image = decoded(tmp_path, noise_image(), f"a.{suffix}", **options)
    assert (image.mode, image.tobytes()) == ("RGB", noise_image().tobytes())


def test_jpeg_equals_pillows_decoder(tmp_path):
    image = decoded(tmp_path, noise_image(40, 30), "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as expected:
        assert image.tobytes() == expected.convert("RGB").tobytes()


def test_the_content_counts_not_the_ending(tmp_path):
    image = decode_file(write(tmp_path / "a.JPEG", png_bytes(noise_image())), "a")
    assert image.tobytes() == noise_image().tobytes()


def test_grey_stays_grey(tmp_path):
    grey = noise_image().convert("L")
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


@pytest.mark.parametrize(
    ("transparency", "opacity"),
    [(None, [255, 255, 255]), (0, [0, 255, 255]), (bytes([0, 128, 255]), [0, 128, 255])],
)
def test_palette(tmp_path, transparency, opacity):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    options = {} if transparency is None else {"transparency": transparency}
    out = decoded(tmp_path, image, "a.png", **options)
    assert out.mode == "RGB"
    expected = over(np.eye(3) * 255, np.array(opacity)[:, np.newaxis], 255)
    assert np.asarray(out)[0].tolist() == expected.tolist()


def over(colour: np.ndarray, opacity: np.ndarray, background: np.ndarray | int) -> np.ndarray:
    """The definition of "over": shares of 8-bit colours, rounded."""
    return np.rint((colour * opacity + background * (255.0 - opacity)) / 255).astype(np.uint8)


@pytest.mark.parametrize("background", ["#ffffff", "#000000", "#0080ff"])
@pytest.mark.parametrize(("mode", "suffix"), [
    ("RGBA", "png"), ("LA", "png"), ("RGBA", "webp"), ("RGBA", "tiff"),
])  # fmt: skip
def test_transparent_images_are_composited(tmp_path, mode, suffix, background):
    opacity = np.arange(24, dtype=np.uint8).reshape(4, 6) * 11
    image = noise_image(6, 4).convert(mode)
    image.putalpha(Image.fromarray(opacity))
    # WebP drops the colour of what cannot be seen at all, unless it is told to keep it.
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image.save(tmp_path / f"a.{suffix}", **options)
    out = decode_file(tmp_path / f"a.{suffix}", "a", background=background)
    colour = np.asarray(image.convert("RGBA"))[..., :3].astype(float)
    expected = over(colour, opacity[..., np.newaxis], np.array(ImageColor.getrgb(background)))
    assert np.asarray(out.convert("RGB")).tolist() == expected.tolist()
    is_grey = mode == "LA" and background != "#0080ff"
    assert out.mode == ("L" if is_grey else "RGB")
    assert out.info["composited"]


@pytest.mark.parametrize(
    ("image", "key"),
    [
        (Image.fromarray(np.array([[7, 200]], np.uint8)), 7),
        (Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"), 0),
        (Image.fromarray(np.array([[1000, 51_400]], np.uint16)), 1000),
        (Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)), (1, 2, 3)),
    ],
    ids=["L", "1", "I;16", "RGB"],
)
def test_one_colour_of_a_png_may_be_transparent(tmp_path, image, key):
    image.save(tmp_path / "a.png", transparency=key)
    plain = decoded(tmp_path, image, "b.png")
    out = decode_file(tmp_path / "a.png", "a", background="#808080")
    assert out.mode == plain.mode
    assert np.asarray(out)[0, 0].tolist() in (128, [128] * 3)
    assert np.asarray(out)[0, 1].tolist() == np.asarray(plain)[0, 1].tolist()


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    solid = noise_image().copy()
    solid.putalpha(255)
    out = decoded(tmp_path, solid, "a.png")
    assert (out.mode, out.tobytes()) == ("RGB", noise_image().tobytes())
    assert "composited" not in out.info


@pytest.mark.parametrize("text", ["whit", "#12345", "rgba(1, 2, 3, 4)", "#ffffff80", ""])
def test_what_is_no_background(text):
    with pytest.raises(InputError, match="is not a colour"):
        background_colour(text)


@pytest.mark.parametrize("kind", ["profile", "text", "behind"])
def test_a_png_with_a_large_profile_or_text_is_read(tmp_path, kind):
    large = zlib.compress(bytes(3 * 2**20))
    chunk = (
        png_chunk(b"iCCP", b"name\0\0" + large)
        if kind == "profile"
        else png_chunk(b"zTXt", b"Comment\0\0" + large)
    )
    whole = png_bytes(noise_image())
    place = whole.index(b"IEND") - 4 if kind == "behind" else 33  # 33: behind IHDR
    file = write(tmp_path / "a.png", whole[:place] + chunk + whole[place:])
    assert decode_file(file, "a").tobytes() == noise_image().tobytes()


@pytest.mark.parametrize("suffix", ["jfif", "avif", "jp2", "gif"])
def test_formats_beyond_torchvisions(tmp_path, suffix):
    if not is_image_name(f"a.{suffix}"):
        pytest.skip("this Pillow has no decoder")
    grey = Image.new("RGB", (32, 32), (90, 90, 90))
    grey.save(tmp_path / f"a.{suffix}", "JPEG" if suffix == "jfif" else None)
    out = decode_file(tmp_path / f"a.{suffix}", "a")
    assert (out.mode, out.size) == ("RGB", (32, 32))
    assert np.abs(np.asarray(out).astype(int) - 90).max() <= 2


def webp_header(kind: bytes, width: int, height: int) -> bytes:
    """A WebP file of 34 bytes that promises a size."""
    if kind == b"VP8L":
        body = b"\x2f" + (width - 1 | (height - 1) << 14).to_bytes(4, "little")
    elif kind == b"VP8X":
        body = bytes(4) + b"".join((one - 1).to_bytes(3, "little") for one in (width, height))
    else:
        body = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    content = b"WEBP" + kind + struct.pack("<I", len(body)) + body
    return (b"RIFF" + struct.pack("<I", len(content)) + content).ljust(34, b"\0")


@pytest.mark.parametrize("kind", [b"VP8 ", b"VP8L", b"VP8X"])
def test_a_webp_bomb_is_refused_before_pillow_sees_it(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Image, "open", None)  # it allocates the image as it opens
    file = write(tmp_path / "a.webp", webp_header(kind, 11_000, 11_000))
    assert "34 bytes for 121,000,000 pixels, a decompression bomb" in refused(file)
    with pytest.raises(UnreadableImageError, match="more than 67,108,864 pixels"):
        decode.decode_bytes(webp_header(kind, 11_000, 11_000), "a", largest_px=2**26)


def test_cmyk_as_torchvisions_loader_sees_it(tmp_path):
    out = decoded(tmp_path, noise_image(16, 16).convert("CMYK"), "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.mode == "CMYK"
        assert (out.mode, out.tobytes()) == ("RGB", stored.convert("RGB").tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_orientation_as_pillows_own_function(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = decoded(tmp_path, noise_image(), f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / f"a.{suffix}") as stored:
        expected = ImageOps.exif_transpose(stored)
    assert (out.size, out.tobytes()) == (expected.size, expected.tobytes())
    assert (out.size == (4, 6)) == (orientation >= 5)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_broken_metadata_is_no_reason_to_refuse(tmp_path, exif):
    out = decoded(tmp_path, noise_image(), "a.png", exif=exif)
    assert out.tobytes() == noise_image().tobytes()


def test_first_frame_of_an_animation(tmp_path):
    frames = [noise_image(seed=1).quantize(16), noise_image(seed=2).quantize(16)]
    out = decoded(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert out.tobytes() == frames[0].convert("RGB").tobytes()


def test_one_pixel(tmp_path):
    assert decoded(tmp_path, noise_image(1, 1), "a.png").size == (1, 1)


def test_result_outlives_and_ignores_the_file(tmp_path):
    out = decoded(tmp_path, noise_image(), "a.png")
    (tmp_path / "a.png").unlink()
    out.putpixel((0, 0), (1, 2, 3))
    assert pickle.loads(pickle.dumps(out)).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
def test_truncated(tmp_path, format_name):
    stream = io.BytesIO()
    noise_image(64, 64).save(stream, format_name)
    whole = stream.getvalue()
    for share in (0.02, 0.3, 0.6, 0.95):
        assert refused(write(tmp_path / "a.png", whole[: int(len(whole) * share)]))


def test_flipped_bytes_give_a_image_or_our_error(tmp_path):
    """Damage anywhere in a PNG or JPEG never escapes as another kind of error."""
    for format_name in ("PNG", "JPEG"):
        stream = io.BytesIO()
        noise_image(16, 16).save(stream, format_name)
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
    assert refused(tmp_path / "a.png") == "a named pipe, not a regular file"
    (tmp_path / "folder.png").mkdir()
    assert refused(tmp_path / "folder.png") == "a folder, not a regular file"


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
    assert decoded(tmp_path, noise_image(6, 5), "a.png").size == (6, 5)
    monkeypatch.setattr(decode, "LARGEST_PX", 29)
    assert "more than 29 pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels(tmp_path, mode):
    Image.new(mode, (2, 2), 70_000).save(tmp_path / "a.tif")
    assert f"mode '{mode}'" in refused(tmp_path / "a.tif")
