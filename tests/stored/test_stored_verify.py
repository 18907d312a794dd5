"""Verifying: every change to a stored set is named, and images can be made again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noctule
from noctule.stored import export, verify
from stored_sets import LOSSLESS, SEVERITIES, forge
from stripes import Stripes

COUNT = 20
FILES = 2 + 7 * COUNT  # manifest, list of images, and an image under each condition
VICTIM = "shear/3/0-r/0003.png"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "set"
    export(SEVERITIES, Stripes(COUNT), folder, processes=1)
    return folder


@pytest.fixture
def stored(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def test_what_was_written_is_good(stored: Path) -> None:
    told: list[tuple[int, int]] = []
    found = verify(stored, progress=lambda done, total: told.append((done, total)))
    assert found.is_good
    assert found.num_files == FILES
    assert told == [(done, FILES) for done in range(1, FILES + 1)]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_understands_the_hashes(stored: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=stored).returncode == 0
    (stored / VICTIM).write_bytes(b"")
    done = subprocess.run(command, cwd=stored, capture_output=True, text=True)
    assert done.stdout == f"{VICTIM}: FAILED\n"


def flip(folder: Path) -> None:
    content = bytearray((folder / VICTIM).read_bytes())
    content[50] ^= 1
    (folder / VICTIM).write_bytes(content)


def link_file(folder: Path) -> None:
    (folder / VICTIM).rename(folder.parent / "elsewhere.png")
    (folder / VICTIM).symlink_to(folder.parent / "elsewhere.png")


def link_folder(folder: Path) -> None:
    (folder / "shear/3").rename(folder.parent / "elsewhere")
    (folder / "shear/3").symlink_to(folder.parent / "elsewhere")


AT_SEVERITY_3 = tuple(f"shear/3/{k % 3}-{'rgb'[k % 3]}/{k:04d}.png" for k in range(COUNT))
FAULTS: dict[str, tuple[Callable[[Path], Any], dict[str, tuple[str, ...]]]] = {
    "a bit": (flip, {"changed": (VICTIM,)}),
    "cut short": (lambda f: (f / VICTIM).write_bytes(b""), {"changed": (VICTIM,)}),
    "gone": (lambda f: (f / VICTIM).unlink(), {"missing": (VICTIM,)}),
    "a folder gone": (lambda f: shutil.rmtree(f / "shear/3"), {"missing": AT_SEVERITY_3}),
    "one more": (lambda f: (f / "shear/a.png").touch(), {"extra": ("shear/a.png",)}),
    "renamed": (
        lambda f: (f / VICTIM).rename(f / "x.png"),
        {"missing": (VICTIM,), "extra": ("x.png",)},
    ),
    "a folder instead": (
        lambda f: ((f / VICTIM).unlink(), (f / VICTIM).mkdir()),
        {"changed": (VICTIM,)},
    ),
    "manifest": (
        lambda f: (f / "manifest.json").write_text(
            (f / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
        ),
        {"changed": ("manifest.json",)},
    ),
    "a link": (link_file, {"changed": (VICTIM,)}),
    "a link to a folder": (link_folder, {"changed": AT_SEVERITY_3, "extra": ("shear/3",)}),
    "a link in addition": (
        lambda f: (f / "more").symlink_to("/etc"),
        {"extra": ("more",)},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found_by_name(stored: Path, fault: str) -> None:
    spoil, due = FAULTS[fault]
    spoil(stored)
    found = verify(stored, again=5)
    for kind in ("missing", "changed", "extra"):
        assert sorted(getattr(found, kind)) == sorted(due.get(kind, ())), kind
    assert not found.is_good


@pytest.mark.parametrize("form", LOSSLESS)
def test_images_are_made_again_to_the_bit(tmp_path: Path, form: Any) -> None:
    export(SEVERITIES, Stripes(COUNT), tmp_path, format=form, seed=4, processes=1)
    found = verify(tmp_path, again=50)
    assert (found.is_good, found.num_remade) == (True, 50)


def test_a_image_that_was_changed_with_its_hash_is_found_by_making_it_again(
    stored: Path, tmp_path: Path
) -> None:
    pixels = np.array(Image.open(stored / VICTIM))
    pixels[5, 5, 1] ^= 1
    Image.fromarray(pixels).save(tmp_path / "forged.png")
    forge(stored, VICTIM, (tmp_path / "forged.png").read_bytes())
    assert verify(stored).is_good
    # 600 draws of 6 conditions of 20 images leave out one in 0.7 % of the cases, always the
    # same ones.
    found = verify(stored, again=600)
    assert set(found.differing) == {"shear@3/s/0003"}
    assert not found.is_good


def test_another_seed_in_the_manifest_is_found_by_making_images_again(stored: Path) -> None:
    text = (stored / "manifest.json").read_text()
    forge(stored, "manifest.json", text.replace('"seed": 0', '"seed": 1').encode())
    assert len(verify(stored, again=10).differing) > 5


def test_jpeg_cannot_be_made_again(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(4), tmp_path, format="jpeg", quality=85, processes=1)
    assert verify(tmp_path).is_good
    with pytest.raises(noctule.InputError, match="holds JPEG"):
        verify(tmp_path, again=1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text[:-9], "is cut short"),
        (lambda text: text + "abc  x.png\n", f"line {FILES + 1}: is not a hash and a name"),
        (lambda text: text + f"{'0' * 64}  ../../up\n", r"'\.\./\.\./up' is outside"),
        (lambda text: text + f"{'0' * 64}  /etc/passwd\n", "'/etc/passwd' is outside"),
    ],
)
def test_hashes_that_cannot_be_used_are_refused(
    stored: Path, change: Callable[[str], str], what: str
) -> None:
    path = stored / "SHA256SUMS"
    path.write_text(change(path.read_text()))
    with pytest.raises(noctule.InputError, match=what):
        verify(stored)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "is not a stored set's manifest"),
        ("[]", "is not a stored set's manifest"),
        (
            '{"schema_version": 2}',
            "manifest.json: the keys benchmark, dataset, seed, preprocessing",
        ),
        ('{"schema_version": 3}', "was written by another noctule"),
        (None, "is not a stored set: it has no manifest.json"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(
    stored: Path, text: str | None, what: str
) -> None:
    path = stored / "manifest.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(noctule.InputError, match=what):
        verify(stored)
