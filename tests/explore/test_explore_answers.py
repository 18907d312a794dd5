"""What the page of `noctule show --serve` answers, and what it refuses."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import shlex
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import noctule
from command_line import run
from noctule.cli.page import start_values, viewer_config
from noctule.data.sources.photo_patches import photograph
from noctule.explore import Predictor, ViewerConfig, application, photographs, server
from noctule.explore.predictions import prediction_pair
from photos import noise_image, png_bytes
from viewer_cases import ALL, pixels

PORT = 8321
HOME = f"http://127.0.0.1:{PORT}"
WISH = {"photo": "cat", "corruption": "shear", "severity": "3", "seed": "7"}


def client_of(viewer: ViewerConfig) -> TestClient:
    start = start_values(viewer, "cat", None, None, 0)
    return TestClient(application(viewer, start, PORT), HOME, raise_server_exceptions=False)


def viewer(name: str | None = None, **options: Any) -> ViewerConfig:
    benchmark = ALL if name is None else noctule.load_benchmark(name)
    options = {"model": None, "size_px": 64, "device": "cpu", **options}
    return viewer_config(benchmark, name, options.pop("given", None), **options)


@pytest.fixture(scope="module")
def plain() -> TestClient:
    """A page without a model."""
    return client_of(viewer())


@pytest.fixture(scope="module")
def with_model() -> TestClient:
    """A page with the shipped classifier."""
    return client_of(viewer(model="photo-patches", size_px=None))


@pytest.fixture(scope="module")
def imagenet_c() -> TestClient:
    """A page of one benchmark's corruptions."""
    return client_of(viewer("imagenet-c"))


def error(response: Any, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert "Traceback" not in response.text
    return str(response.json()["error"])


def square(photo: str, side_px: int = 64) -> torch.Tensor:
    prepare = noctule.Preprocessing(resize_px=side_px, crop_px=(side_px, side_px))
    return prepare.prepare(photograph(photo))[None]


@pytest.mark.parametrize("severity", ["full", "1", "5"])
@pytest.mark.parametrize("mode", ["paper", "released"])
def test_the_image_is_that_of_corrupt(plain, severity, mode) -> None:
    request = {**WISH, "corruption": "contrast_c", "severity": severity, "mode": mode}
    answer = plain.get("/answer", params=request).json()
    number = None if severity == "full" else int(severity)
    expected = noctule.corrupt(
        square("cat"), "contrast_c", ids=["cat"], seed=7, severity=number, mode=mode
    )
    assert torch.equal(pixels(answer["corrupted"]["image"]), expected[0])
    assert torch.equal(pixels(answer["clean"]["image"]), square("cat")[0])


def test_a_benchmarks_images_pass_through_its_jpeg_files(imagenet_c) -> None:
    request = {**WISH, "corruption": "fog", "mode": "released"}
    shown = pixels(imagenet_c.get("/answer", params=request).json()["corrupted"]["image"])
    bare = noctule.corrupt(
        square("cat"), "fog", ids=["cat"], seed=7, severity=3, mode="released"
    )[0]
    stream = io.BytesIO()
    Image.fromarray(bare.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=85)
    with Image.open(stream) as image:
        expected = np.array(image)
    assert not torch.equal(shown, bare)
    assert np.array_equal(shown.permute(1, 2, 0).numpy(), expected)


def test_the_answers_are_the_models_softmax(with_model) -> None:
    answer = with_model.get("/answer", params=WISH).json()
    model = noctule.load_classifier("photo-patches")
    clean = model.preprocessing.prepare(photograph("cat"))[None]
    corrupted = noctule.corrupt(clean, "shear", ids=["cat"], seed=7, severity=3)
    for name, batch in (("clean", clean), ("corrupted", corrupted)):
        assert torch.equal(pixels(answer[name]["image"]), batch[0])
        scaled = (batch.double() / 255 - 0.5) / 0.25
        with torch.inference_mode():
            logits = model.module(scaled.float())[0].double().numpy()
        shares = np.exp(logits) / np.exp(logits).sum()
        best = np.argsort(-shares)[:5]
        predictions = answer[name]["predictions"]
        assert [one["name"] for one in predictions] == [model.class_names[i] for i in best]
        assert [one["confidence"] for one in predictions] == pytest.approx(
            shares[best], abs=1e-5
        )


def test_what_changed_in_words() -> None:
    # Ranks before: a b c d e f, after: b c d e f a; by hand.
    before = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.0999, 0.0001])
    after = torch.tensor([0.0, 0.6, 0.2, 0.1, 0.06, 0.04])
    pair = prediction_pair(before, after, tuple("abcdef"))
    assert pair.change == (
        "The top prediction changes from a (50.0 %) to b (60.0 %); a is now 6th, 0.0 %."
    )
    assert [one.name for one in pair.clean] == list("abcde")
    assert [one.note for one in pair.clean][:2] == [
        "falls to 6th, 0.0 %",
        "rises to 1st, 60.0 %",
    ]
    assert [one.name for one in pair.corrupted] == list("bcdef")
    assert [one.note for one in pair.corrupted] == [
        "up from 2nd, 20.0 %", "up from 3rd, 10.0 %", "up from 4th, 10.0 %",
        "up from 5th, 10.0 %", "up from 6th, < 0.1 %",
    ]  # fmt: skip
    stays = prediction_pair(before, before, None)
    assert stays.change == "The top prediction stays class 0: 50.0 % clean, 50.0 % corrupted."
    assert stays.corrupted[0].note == "still 1st, 50.0 %"
    assert not any(one.has_moved for one in stays.clean + stays.corrupted)


class Spoiled(torch.nn.Module):
    """Returns or raises what it is given."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: torch.Tensor) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (RuntimeError("sizes differ"), "the model failed on a batch of 2 × 3 × 64 × 64"),
        (torch.full((2, 3), torch.nan), "NaN or infinite logits"),
        (torch.zeros(2), "did not return logits"),
        ({}, "the model returned a dict"),
    ],
)
def test_a_spoiled_model_is_reported(result, message) -> None:
    predictor = Predictor(noctule.load_classifier(Spoiled(result)), torch.device("cpu"))
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    with pytest.raises(noctule.InputError, match=message):
        predictor.probabilities(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"severity": "9"}, "there is no severity '9'"),
        ({"severity": "0"}, "there is no severity '0'"),
        ({"severity": "３"}, "there is no severity"),
        ({"seed": "-1"}, "the seed is '-1'"),
        ({"seed": "x"}, "the seed is 'x'"),
        ({"seed": "1_0"}, "the seed is '1_0'"),
        ({"seed": "4294967296"}, "from 0 to 4294967295"),
        ({"corruption": "sheer"}, "Did you mean 'shear'"),
        ({"corruption": "x" * 201}, "longer than 200"),
        ({"mode": "fast"}, "unknown mode 'fast'"),
        ({"photo": "../cat"}, "this photograph is no longer kept"),
        ({"photo": "/etc/passwd"}, "this photograph is no longer kept"),
        ({"photo": "0" * 16}, "this photograph is no longer kept"),
        ({"photo": None}, "photo: is missing"),
    ],
)
def test_wrong_parameters_are_refused(plain, changes, message) -> None:
    request = {key: value for key, value in {**WISH, **changes}.items() if value is not None}
    assert message in error(plain.get("/answer", params=request))


def test_a_benchmark_offers_its_own_corruptions_only(imagenet_c) -> None:
    assert "imagenet-c: unknown corruption 'shear'" in error(
        imagenet_c.get("/answer", params=WISH)
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


def png_of(width: int, height: int, *, filled: bool) -> bytes:
    """A grey PNG, black, or with its header only."""
    lines = zlib.compress(bytes(1 + width) * height, 9) if filled else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


HOSTILE = {
    "empty": (b"", "0 bytes"),
    "text": (b"hello", "not an image in a known format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not an image"),
    "html": (b"<!doctype html><script>alert(1)</script>", "not an image"),
    "truncated": (png_bytes(noise_image(60, 60))[:3000], "damaged"),
    "header of 2e9 px": (png_of(50_000, 40_000, filled=False), "more than 67,108,864 pixels"),
    "bomb": (png_of(9_000, 8_000, filled=True), "more than 67,108,864 pixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(plain, name) -> None:
    data, message = HOSTILE[name]
    said = error(plain.post("/photographs", content=data))
    assert message in said
    assert "this file cannot be used" in said


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def odd_files() -> dict[str, tuple[bytes, Image.Image]]:
    """Files that need a decision, and the image they hold."""
    viewer = noise_image(80, 64)
    deep = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    shallow = np.rint(np.asarray(deep) / 257).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned a quarter clockwise
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    return {
        "bomb in text": (
            # Text is not read, and so never unpacked.
            png_of(16, 16, filled=True)[:-12]
            + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))
            + chunk(b"IEND", b""),
            Image.open(io.BytesIO(png_of(16, 16, filled=True))),
        ),
        "animated": (
            saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            frames[0],
        ),
        "cmyk": (saved(cmyk, "TIFF"), cmyk.convert("RGB")),
        "16-bit": (saved(deep, "PNG"), Image.fromarray(shallow).convert("RGB")),
        "turned": (
            saved(viewer, "PNG", exif=turned),
            viewer.transpose(Image.Transpose.ROTATE_270),
        ),
    }


@pytest.mark.parametrize("name", ["animated", "bomb in text", "cmyk", "16-bit", "turned"])
def test_odd_files_are_shown_as_the_house_reads_them(plain, name) -> None:
    data, image = odd_files()[name]
    response = plain.post("/photographs", content=data)
    assert response.status_code == 201, response.text
    added = response.json()
    assert added["id"] == hashlib.sha256(data).hexdigest()[:16]
    shown = plain.get("/answer", params={**WISH, "photo": added["key"]}).json()
    prepare = noctule.Preprocessing(resize_px=64, crop_px=(64, 64))
    expected = prepare.prepare(image)
    assert torch.equal(pixels(shown["clean"]["image"]), expected)
    corrupted = noctule.corrupt(expected[None], "shear", ids=[added["id"]], seed=7, severity=3)
    assert torch.equal(pixels(shown["corrupted"]["image"]), corrupted[0])


def test_only_the_last_uploads_are_kept_and_no_metadata(plain) -> None:
    secret = b"a secret place"
    first = saved(noise_image(20, 20, seed=99), "JPEG", comment=secret)
    assert secret in first
    key = plain.post("/photographs", content=first).json()["key"]
    answer = plain.get("/answer", params={**WISH, "photo": key})
    assert secret not in base64.b64decode(answer.json()["clean"]["image"].partition(",")[2])
    for seed in range(photographs.KEPT_UPLOADS):
        assert plain.get("/answer", params={**WISH, "photo": key}).status_code == 200
        plain.post("/photographs", content=png_bytes(noise_image(20, 20, seed=seed)))
    assert "the last 8 are kept" in error(plain.get("/answer", params={**WISH, "photo": key}))


def test_an_upload_is_bounded_with_and_without_a_declared_length(plain, monkeypatch) -> None:
    data = png_bytes(noise_image(20, 20))
    monkeypatch.setattr(server, "LARGEST_UPLOAD_BYTES", len(data) - 1)
    assert "larger than" in error(plain.post("/photographs", content=data), 413)

    def pieces() -> Any:  # the length of a generator's body is not declared
        yield from (data[i : i + 100] for i in range(0, len(data), 100))

    assert "larger than" in error(plain.post("/photographs", content=pieces()), 413)
    monkeypatch.setattr(server, "LARGEST_UPLOAD_BYTES", len(data))
    assert plain.post("/photographs", content=data).status_code == 201


@pytest.mark.parametrize(
    ("headers", "is_served"),
    [
        ({}, True),
        ({"host": f"localhost:{PORT}"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "127.0.0.1:80"}, False),
        ({"host": f"evil.example:{PORT}"}, False),
        ({"host": f"127.0.0.1.evil.example:{PORT}"}, False),
        ({"origin": HOME}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": f"https://127.0.0.1:{PORT}"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),
    ],
)
def test_only_this_page_may_ask(plain, headers, is_served) -> None:
    post = plain.post("/photographs", content=png_bytes(noise_image(20, 20)), headers=headers)
    get = plain.get("/answer", params=WISH, headers=headers)
    assert (post.status_code, get.status_code) == ((201, 200) if is_served else (403, 403))


def test_a_link_may_lead_to_the_page_but_a_frame_may_not_hold_it(plain) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    response = plain.get("/", headers=link)
    assert response.status_code == 200
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert plain.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_every_answer_has_the_headers(plain) -> None:
    answers = [
        plain.get("/"),
        plain.get("/answer", params=WISH),
        plain.get("/answer"),
        plain.get("/nowhere"),
        plain.get("/", headers={"host": "evil.example"}),
        plain.post("/photographs", content=b""),
    ]
    assert [one.status_code for one in answers] == [200, 200, 400, 404, 403, 400]
    for one in answers:
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["cache-control"] == "no-store"
        assert one.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in one.headers["content-security-policy"]
        assert not [name for name in one.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/photographs/../../etc/passwd",
        "/answer/..%5c..%5cetc",
        "/static/page.css",
        "/%00",
    ],
)
def test_no_path_reaches_a_file(plain, path) -> None:
    assert error(plain.get(HOME + path), 404) == "Not Found"


def test_other_methods_are_refused(plain) -> None:
    assert error(plain.put("/photographs", content=b"x"), 405) == "Method Not Allowed"
    assert error(plain.get("/photographs"), 405) == "Method Not Allowed"


def test_a_fault_of_ours_shows_no_traceback(plain, monkeypatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr(server, "answer", broken)
    said = error(plain.get("/answer", params=WISH), 500)
    assert said == "noctule failed (ZeroDivisionError); see its terminal for details"


def test_exhausted_memory_is_answered_as_such(plain, monkeypatch) -> None:
    def exhausted(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(server, "answer", exhausted)
    assert "the memory is exhausted" in error(plain.get("/answer", params=WISH), 500)
    monkeypatch.setattr("noctule.data.decode.Image.open", exhausted)
    said = error(plain.post("/photographs", content=png_bytes(noise_image(20, 20))))
    assert "the memory is exhausted" in said


def test_hostile_names_stay_text(tmp_path) -> None:
    name = "<img src=x onerror=alert(1)>'\"; rm -rf $(x).png"
    given = (str(tmp_path / name), name, noise_image(40, 40))
    client = client_of(viewer(given=given))
    html = client.get("/").text
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    command = client.get("/answer", params={**WISH, "photo": "file"}).json()["command"]
    assert shlex.split(command)[2] == given[0]


def resized(side_px: int) -> Any:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return network, noctule.Preprocessing(resize_px=(side_px, side_px))


ARGUMENTS = {
    "model": "test_explore_answers:resized",
    "loading": {"model_args": {"side_px": 64}},
}
CASES = {
    "all": (None, {}, {"corruption": "snow", "mode": "released"}),
    "model": (None, {"model": "photo-patches", "size_px": None}, {"severity": "full"}),
    "arguments": (None, {**ARGUMENTS, "size_px": None}, {}),
    "benchmark": ("imagenet-c", {}, {"corruption": "fog", "mode": "released"}),
    "tables": ("cifar10-c", {}, {"corruption": "frost", "severity": "full"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_lines_shown_give_the_image_shown(name, tmp_path, monkeypatch, capsys) -> None:
    benchmark, options, changes = CASES[name]
    client = client_of(viewer(benchmark, **options))
    file = tmp_path / "a photo.png"
    file.write_bytes(png_bytes(noise_image(90, 80)))
    key = client.post("/photographs", content=file.read_bytes()).json()["key"]
    for photo in ("coffee", key):
        answer = client.get("/answer", params={**WISH, **changes, "photo": photo}).json()
        shown = pixels(answer["corrupted"]["image"])
        names: dict[str, Any] = {}
        exec(answer["python"].replace("YOUR-PHOTO", str(file)), names)
        assert torch.equal(names["corrupted"][0], shown)
        words = shlex.split(answer["command"])[1:]
        words = [str(file) if word == "YOUR-PHOTO" else word for word in words]
        sheet = tmp_path / "sheet.png"
        status, _, err = run(monkeypatch, capsys, *words, "--out", sheet)
        assert status == 0, err
        with Image.open(sheet) as image:
            tile = np.array(image)[6 + 18 : 6 + 18 + 64, 6 + 70 : 6 + 70 + 64]
        assert np.array_equal(tile, shown.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--serve", "--out", "a.png"], "--out: is not allowed here"),
        (["--serve", "--overview"], "--overview: is not allowed here"),
        (["--serve", "--id", "a"], "--id: is not allowed here"),
        (["--port", "0"], "--port: is not allowed here"),
        (["--no-open"], "--open/--no-open: is not allowed here"),
        (["--device", "cpu"], "--device: is not allowed here"),
        (["--serve", "--model", "photo-patches", "--size-px", "64"], "cannot be combined"),
        (["--serve", "--model", "photo-patchs"], "Did you mean 'photo-patches'"),
        (["--serve", "--benchmark", "imagenet-d"], "unknown benchmark 'imagenet-d'"),
        (["astronot", "--serve"], "Did you mean 'astronaut'"),
        (["--serve", "--size-px", "64", "--severity", "6"], "there is no severity '6'"),
        (["--serve", "--size-px", "64", "--seed", "-1"], "the seed is '-1'"),
        (["--serve", "--size-px", "8"], "--size-px: 8 is out of range"),
        (["--serve", "--size-px", "99999"], "--size-px: 99999 is out of range"),
        (["--serve", "--size-px", "64", "--port", "70000"], "there is no port 70000"),
        (["--serve", "--size-px", "64", "--port", "-1"], "there is no port -1"),
        (["--serve", "--device", "abacus"], "no device 'abacus'"),
    ],
)
def test_bad_options_exit_2_before_anything_is_served(
    arguments, message, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("noctule.explore.run_server", lambda *_: pytest.fail("it serves"))
    status, _, err = run(monkeypatch, capsys, "show", *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_a_port_in_use_is_refused_or_passed_over(monkeypatch) -> None:
    with server.listen(0) as taken:
        port = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(noctule.InputError, match=f"port {port} cannot be used"):
            server.listen(port)
        monkeypatch.setattr(server, "FIRST_PORT", port)
        with contextlib.closing(server.listen(None)) as other:
            assert other.getsockname()[1] != port
