"""Zip archives of class folders: what the folder itself gives, without unpacking."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from archives import zip_of
from noctule.data import open_dataset
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from photos import TINY_PNG, noise_image, png_bytes, write

NAMES = ["b/1.png", "b/10.png", "a/deep/z.png", "a/deep-er/y.png", "a/deep/er/x.png", "ä/é.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        write(tmp_path / "set" / name, png_bytes(noise_image(seed=index)))
    return tmp_path / "set"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_its_folder(folder, tmp_path, method):
    dataset = open_dataset(zip_of(tmp_path / "set.zip", folder, method))
    oracle = open_dataset(folder)
    assert dataset.ids == oracle.ids
    assert dataset.class_names == oracle.class_names
    assert dataset.labels.tolist() == oracle.labels.tolist()
    assert dataset.fingerprint() == oracle.fingerprint()
    for index in (5, 0, 3):
        assert dataset.read(index).tobytes() == oracle.read(index).tobytes()
    red = {"background": "#ff0000"}
    expected = open_dataset(folder, **red).fingerprint()
    assert open_dataset(tmp_path / "set.zip", **red).fingerprint() == expected


def test_worker_processes_read_what_this_process_reads(folder, tmp_path):
    dataset = open_dataset(zip_of(tmp_path / "set.zip", folder))
    here = list(load_batches(dataset, Preprocessing(), in_order(dataset, 2), 0))
    there = list(load_batches(dataset, Preprocessing(), in_order(dataset, 2), 2))
    assert [batch.hashes for batch in here] == [batch.hashes for batch in there]
    assert pickle.loads(pickle.dumps(dataset)).read(1).tobytes() == dataset.read(1).tobytes()
    assert sum(len(batch.ids) for batch in there) == len(NAMES)


def test_a_split_is_chosen(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / "set" / split / "cat" / f"{split}.png")
        write(tmp_path / "set" / split / "dog" / f"{split}.png")
    file = zip_of(tmp_path / "set.zip", tmp_path / "set")
    dataset = open_dataset(f"{file}?split=val")
    assert dataset.ids == ("cat/val.png", "dog/val.png")
    assert open_dataset(dataset.source["spec"]).ids == dataset.ids
    with pytest.raises(InputError, match=r"named like splits.*set.zip\?split=val'"):
        open_dataset(file)
    with pytest.raises(InputError, match=r"unknown split 'vla'. Did you mean 'val'"):
        open_dataset(f"{file}?split=vla")


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def test_what_is_left_out_is_named(tmp_path):
    members = ["cat/1.png", "cat/notes.txt", "__MACOSX/cat/._1.png", "loose.png", "cat/.2.png"]
    file = zipped(tmp_path / "a.zip", dict.fromkeys(members, TINY_PNG))
    with pytest.warns(NoctuleWarning, match=r"1 .txt.*2 hidden.*1 images beside.*loose.png"):
        dataset = open_dataset(file)
    assert dataset.ids == ("cat/1.png",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["../cat/1.png"], r"a.zip: its member '../cat/1.png' has a path outside"),
        (["cat/../../1.png"], "has a path outside the archive"),
        (["/cat/1.png"], "has a path outside the archive"),
        (["..\\cat\\1.png"], "has a path outside the archive"),
        (["1.png", "2.png"], r"no images in class folders; left out: 2 images beside"),
        (["cat/1.txt"], "no images in class folders"),
        ([], "no images in class folders"),
    ],
)
def test_unsuitable(tmp_path, names, message):
    file = zipped(tmp_path / "a.zip", dict.fromkeys(names, TINY_PNG))
    with pytest.raises(InputError, match=message):
        open_dataset(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_members(tmp_path):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = 0o120777 << 16
    twice = zipfile.ZipInfo("cat/1.png")
    lzma = zipfile.ZipInfo("cat/l.png")
    lzma.compress_type = zipfile.ZIP_LZMA
    for member, message in (
        (link, "member 'cat/link.png': is a link"),
        (twice, "has two members 'cat/1.png'"),
        (lzma, "is compressed by method 14"),
    ):
        file = zipped(tmp_path / "a.zip", {"cat/1.png": TINY_PNG})
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(member, b"/etc/passwd")
        with pytest.raises(InputError, match=message):
            open_dataset(file)
    file = zipped(tmp_path / "a.zip", {"cat/1.png": TINY_PNG})
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # encrypted, by the directory
    with pytest.raises(InputError, match="is encrypted"):
        open_dataset(write(file, bytes(content)))


def test_bombs_and_damaged_archives(tmp_path, monkeypatch):
    monkeypatch.setattr("noctule.input_files.MAX_UNPACKED_BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(10**7))
    with pytest.raises(InputError, match="as only a decompression bomb does"):
        open_dataset(tmp_path / "bomb.zip")
    whole = zipped(tmp_path / "a.zip", {"cat/1.png": TINY_PNG}).read_bytes()
    for content in (b"", b"no archive", whole[:-30]):
        with pytest.raises(InputError, match="is not a zip archive that can be read"):
            open_dataset(write(tmp_path / "b.zip", content))
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(InputError, match="is a named pipe"):
        open_dataset(tmp_path / "pipe.zip")
    with pytest.raises(InputError, match="no such file"):
        open_dataset(str(tmp_path / "no" / "a.zip"))


def test_a_damaged_image_is_named_and_the_others_are_read(tmp_path, monkeypatch):
    images = {f"cat/{index}.png": png_bytes(noise_image(seed=index)) for index in range(3)}
    file = zipped(tmp_path / "a.zip", images)
    content = bytearray(file.read_bytes())
    content[content.index(images["cat/1.png"]) + 50] ^= 255
    dataset = open_dataset(write(file, bytes(content)))
    with pytest.raises(UnreadableImageError, match=r"a.zip, cat/1.png: .*Bad CRC-32"):
        dataset.read(1)
    assert dataset.read(2).tobytes() == noise_image(seed=2).tobytes()
    monkeypatch.setattr("noctule.data.encoded.MAX_IMAGE_BYTES", 10)
    with pytest.raises(UnreadableImageError, match="bytes, more than 10"):
        dataset.read(2)
