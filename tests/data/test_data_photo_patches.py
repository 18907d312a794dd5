"""photo-patches: what it promises about its crops, checked on every one of them."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noctule.data import open_dataset
from noctule.data.sources import photo_patches
from noctule.data.sources.photo_patches import CLASS_NAMES, PhotoPatches, photograph
from noctule.errors import InputError

FINGERPRINT = "571b30c7888af12e32a856dcfdad26c68ae50b3ce774efbac59486b34da1f553"


@pytest.fixture(scope="module")
def test_split() -> PhotoPatches:
    return PhotoPatches("test")


@pytest.fixture(scope="module")
def train_split() -> PhotoPatches:
    return PhotoPatches("train")


def cover(dataset: PhotoPatches, class_name: str) -> np.ndarray:
    """Which pixels of a photograph the crops of a split show."""
    photo = photograph(class_name)
    seen = np.zeros((photo.height, photo.width), bool)
    for index in np.flatnonzero(dataset.labels == CLASS_NAMES.index(class_name)):
        left, top, right, bottom = dataset.rectangle(int(index))
        assert 0 <= left < right <= photo.width
        assert 0 <= top < bottom <= photo.height
        seen[top:bottom, left:right] = True
    return seen


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_no_pixel_is_in_both_splits(test_split, train_split, class_name):
    tested, trained = cover(test_split, class_name), cover(train_split, class_name)
    assert not (tested & trained).any()
    # Both splits see a good part of the photograph, and JPEG blocks (8 px) separate them.
    assert tested.mean() > 0.15
    assert trained.mean() > 0.15
    grown = np.zeros_like(tested)
    for down, right in itertools.product((-7, 0, 7), repeat=2):
        rolled = np.roll(trained, (down, right), (0, 1))
        if down:
            rolled[: max(down, 0)] = rolled[rolled.shape[0] + min(down, 0) :] = False
        if right:
            rolled[:, : max(right, 0)] = False
            rolled[:, rolled.shape[1] + min(right, 0) :] = False
        grown |= rolled
    assert not (tested & grown).any()


@pytest.mark.parametrize(("split", "count"), [("test", 64), ("train", 320)])
def test_balanced_unique_and_sized(split, count):
    dataset = PhotoPatches(split)
    assert len(dataset) == 16 * count
    assert dataset.domain == dataset.name == f"photo-patches/{split}"
    np.testing.assert_array_equal(np.bincount(dataset.labels), [count] * 16)
    assert len(set(dataset.ids)) == len(dataset)
    assert dataset.ids[16] == f"photo-patches/{split}/astronaut/0001"
    for image_id, label in zip(dataset.ids, dataset.labels, strict=True):
        assert image_id.split("/")[2] == dataset.class_names[label]
    places = {(dataset.labels[i], dataset.rectangle(i)) for i in range(len(dataset))}
    assert len(places) == len(dataset)
    sides = {r.right - r.left for _, r in places}
    assert sides == {r.bottom - r.top for _, r in places} == {72, 84, 96, 112}
    for index in range(0, len(dataset), 97):
        image = dataset.read(index)
        assert (image.mode, image.size) == ("RGB", (64, 64))


def test_a_crop_is_cut_and_then_scaled(test_split):
    index = 16 * 5 + CLASS_NAMES.index("coffee")
    left, top, right, bottom = test_split.rectangle(index)
    pixels = np.asarray(photograph("coffee"))[top:bottom, left:right]
    expected = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
    assert test_split.read(index).tobytes() == expected.tobytes()


def test_grey_photographs_come_as_rgb(test_split):
    pixels = np.asarray(test_split.read(CLASS_NAMES.index("gravel")))
    assert (pixels == pixels[..., :1]).all()


def test_pixels_do_not_drift(test_split):
    # Reference errors are measured on these pixels. Pillow's resizing is whole-number
    # arithmetic, so every machine gets them; a change here asks for new reference errors.
    assert test_split.fingerprint() == FINGERPRINT


def test_repeat_pickle_and_another_process_agree(test_split):
    copy = pickle.loads(pickle.dumps(test_split))
    assert len(pickle.dumps(test_split)) < 200
    assert copy.read(3).tobytes() == test_split.read(3).tobytes()
    code = "from noctule.data import open_dataset as o; print(o('photo-patches').fingerprint())"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert fresh.stdout.decode().strip() == copy.fingerprint() == test_split.fingerprint()


def test_what_is_read_may_be_written_to(test_split):
    before = test_split.read(0).tobytes()
    test_split.read(0).paste((0, 0, 0), (0, 0, 64, 64))
    assert test_split.read(0).tobytes() == before


def test_fingerprint_sees_one_changed_pixel(monkeypatch):
    before = PhotoPatches("test").fingerprint()
    changed = photograph("coffee").copy()
    tile = photo_patches.tiles(changed.width, changed.height, "test")[0]
    x, y = (tile.left + tile.right) // 2, (tile.top + tile.bottom) // 2
    changed.paste((0, 255, 0), (x, y, x + 2, y + 2))
    original = photograph
    monkeypatch.setattr(
        photo_patches,
        "photograph",
        lambda name: changed if name == "coffee" else original(name),
    )
    assert PhotoPatches("test").fingerprint() != before


def test_out_of_range(test_split):
    with pytest.raises(IndexError, match="1024"):
        test_split.read(1024)


def test_other_photographs_are_refused(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(photo_patches, "_package_folder", lambda package: tmp_path)
    photograph.cache_clear()
    with pytest.raises(InputError, match=r"data/astronaut\.png is missing.*pip install"):
        PhotoPatches("test")
    (tmp_path / "data").mkdir()
    Image.new("RGB", (512, 512)).save(tmp_path / "data/astronaut.png")
    with pytest.raises(InputError, match="is not the photograph"):
        PhotoPatches("test")


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"package sklearn, which .*'noctule\[photos\]'"):
        photo_patches._package_folder("sklearn")


def test_names():
    assert open_dataset("photo-patches").name == "photo-patches/test"
    assert open_dataset("photo-patches/test").name == "photo-patches/test"
    assert open_dataset("photo-patches/train").domain == "photo-patches/train"
