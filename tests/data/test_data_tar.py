"""Tar archives: WebDataset shards, what `noctule export` wrote, class folders."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile

import pytest

from archives import tar_of
from noctule.data import open_dataset
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from noctule.stored import export
from photos import TINY_PNG, noise_image, png_bytes, write

PNGS = [png_bytes(noise_image(seed=index)) for index in range(4)]


def sample(key: str, index: int, label: object) -> dict[str, bytes]:
    return {f"{key}.png": PNGS[index], f"{key}.cls": str(label).encode()}


@pytest.mark.parametrize(
    "format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_a_shard_is_read_in_any_order(tmp_path, format):
    long = "x" * 90 + "/" + "y" * 50
    members = sample("a", 0, 2) | sample(long, 1, 0) | sample("b", 2, "1\n")
    dataset = open_dataset(tar_of(tmp_path / "a.tar", members, format))
    assert dataset.ids == ("a", long, "b")
    assert dataset.labels.tolist() == [2, 0, 1]
    assert dataset.class_names == ("0", "1", "2")
    for index in (2, 0, 1, 0):
        assert dataset.read(index).tobytes() == noise_image(seed=index).tobytes()
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.read(1).tobytes() == dataset.read(1).tobytes()


def test_worker_processes_read_what_this_process_reads(tmp_path):
    members = {k: v for i in range(4) for k, v in sample(f"{i}", i, i % 2).items()}
    dataset = open_dataset(tar_of(tmp_path / "a.tar", members))
    here, there = (
        list(load_batches(dataset, Preprocessing(), in_order(dataset, 1), workers))
        for workers in (0, 2)
    )
    assert [batch.hashes for batch in here] == [batch.hashes for batch in there]
    assert len(there) == 4


@pytest.mark.parametrize("spec", ["shards", "shards/s-{0..1}.tar", "shards/{s..t}-{0..1}.tar"])
def test_several_shards(tmp_path, spec):
    tar_of(tmp_path / "shards/s-0.tar", sample("k", 0, "dog") | sample("l", 1, "cat"))
    tar_of(tmp_path / "shards/s-1.tar", sample("k", 2, "cat"))
    if "s..t" in spec:  # not numbers: a file of this name
        with pytest.raises(InputError, match="no such shard"):
            open_dataset(f"{tmp_path}/{spec}")
        return
    dataset = open_dataset(f"{tmp_path}/{spec}")
    # Keys that repeat are preceded by their shard.
    assert dataset.ids == ("s-0/k", "s-0/l", "s-1/k")
    assert (dataset.class_names, dataset.labels.tolist()) == (("cat", "dog"), [1, 0, 0])
    assert dataset.read(2).tobytes() == noise_image(seed=2).tobytes()
    assert open_dataset(dataset.source["spec"]).fingerprint() == dataset.fingerprint()


@pytest.mark.slow
def test_what_export_writes_is_read_back(tmp_path):
    for index, name in enumerate(("dog/1", "dog/2", "ant/1", "cat/1")):
        write(tmp_path / "set" / f"{name}.png", png_bytes(noise_image(32, 32, seed=index)))
    original = open_dataset(tmp_path / "set")
    (tmp_path / "two.toml").write_text(
        'name = "two"\ntitle = "Two"\nsource = "a test"\ncorruptions = ["shear", "contrast"]\n'
        'severities = [2]\nmetric = "mean_error"\n'
    )
    out = tmp_path / "out"
    export(tmp_path / "two.toml", original, out, format="webdataset", processes=1)
    for folder in ("clean", "shear/2"):
        dataset = open_dataset(out / folder)
        assert dataset.ids == original.ids
        assert dataset.class_names == original.class_names
        assert dataset.labels.tolist() == original.labels.tolist()
    same = open_dataset(out / "clean")
    assert all(same.read(k).tobytes() == original.read(k).tobytes() for k in range(4))
    assert dataset.read(0).tobytes() != original.read(0).tobytes()


def test_labels_ids_and_names_in_json(tmp_path):
    table = [{"label": k % 2 * 3, "id": f"id-{k}", "class_name": "cat dog"[k % 2 * 4 :][:3]}
             for k in range(3)]  # fmt: skip
    members: dict[str, bytes] = {}
    for k, entry in enumerate(table):
        members |= {f"{k}.png": PNGS[k], f"{k}.json": json.dumps(entry).encode()}
    dataset = open_dataset(tar_of(tmp_path / "a.tar", members))
    assert dataset.ids == ("id-0", "id-1", "id-2")
    assert dataset.labels.tolist() == [0, 3, 0]
    assert dataset.class_names == ("cat", "1", "2", "dog")
    chosen = open_dataset(f"{tmp_path}/a.tar?label=class_name")
    assert (chosen.class_names, chosen.labels.tolist()) == (("cat", "dog"), [0, 1, 0])
    # A member with the label precedes the JSON; one name for two classes names none.
    for k in range(3):
        members[f"{k}.cls"] = str(k).encode()
    dataset = open_dataset(tar_of(tmp_path / "a.tar", members))
    assert (dataset.class_names, dataset.labels.tolist()) == (("0", "1", "2"), [0, 1, 2])


def test_several_images_in_a_sample(tmp_path):
    members = sample("1", 0, 0) | {"1.seg.png": PNGS[1], "1.target": b"5", "1.txt": b"a cat"}
    file = tar_of(tmp_path / "a.tar", members)
    with pytest.raises(
        InputError, match=r"a.tar, sample '1': has 2 images. Its members end in "
    ):
        open_dataset(file)
    with pytest.warns(NoctuleWarning, match="left out: 1 files.*1 .txt"):
        dataset = open_dataset(f"{file}?image=seg.png&label=target")
    assert dataset.read(0).tobytes() == noise_image(seed=1).tobytes()
    assert dataset.labels.tolist() == [5]


def test_class_folders_are_those_of_the_folder(tmp_path):
    names = ["b/2.png", "a/x.y.png", "b/1.png", "b/deep/1.png"]
    for k, name in enumerate(names):
        write(tmp_path / "set" / name, PNGS[k])
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "set", "./set")
    dataset, oracle = open_dataset(tmp_path / "a.tar"), open_dataset(tmp_path / "set")
    assert dataset.ids == oracle.ids
    assert dataset.fingerprint() == oracle.fingerprint()
    assert dataset.read(3).tobytes() == oracle.read(3).tobytes()


def test_imagenet_by_name(tmp_path):
    first = ("ILSVRC2012_val_00000001", 0, 65), ("ILSVRC2012_val_00000002", 1, 970)
    members = {
        k: v for key, index, label in first for k, v in sample(key, index, label).items()
    }
    dataset = open_dataset(tar_of(tmp_path / "a.tar", members))
    assert (dataset.domain, len(dataset.class_names)) == ("imagenet-1k-val", 1000)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ({"../1.png": TINY_PNG, "../1.cls": b"0"}, "", r"member '../1.png' has a path outside"),
        ({"/1.png": TINY_PNG}, "", "has a path outside the archive"),
        ({"a/../../1.cls": b"0"}, "", "has a path outside the archive"),
        (sample("1", 0, 0) | {"2.png": TINY_PNG}, "", r"sample '2': has no label. .*in png"),
        (sample("1", 0, 0) | {"2.cls": b"1"}, "", r"sample '2': has 0 images.*end in cls"),
        (sample("1", 0, 0), "?image=jpg", r"has no member '.jpg'"),
        (sample("1", 0, 0), "?label=target", r"has images without labels, such as '1.png'"),
        (sample("1", 0, 0), "?labels=target", r"unknown option 'labels'. Did you mean 'label'"),
        ({"1.png": TINY_PNG, "1.json": b"{"}, "", "images without labels.*such as '1.cls'"),
        ({"1.png": TINY_PNG, "1.json": b"[" * 99999}, "", "images without labels"),
        ({"1.png": TINY_PNG, "1.cls": b""}, "", "an image has no label"),
        ({"1.png": TINY_PNG, "1.cls": b"\xff"}, "", "member '1.cls': is not UTF-8 text"),
        ({"1.png": TINY_PNG, "1.cls": b"0" * 2**21}, "", "2,097,152 bytes, too many"),
        (sample("1", 0, 0) | sample("2", 0, "cat"), "", "'cat' is not a class index"),
        (sample("1", 0, -1), "", "-1 is not a class index"),
        ({"1.cls": b"0"}, "", "contains no images"),
        ({}, "", "contains no images"),
    ],
)
def test_unsuitable(tmp_path, members, options, message):
    file = tar_of(tmp_path / "a.tar", members)
    with pytest.raises(InputError, match=message):
        open_dataset(f"{file}{options}")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("1.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match=r"member '1.png' is a link or a special file"):
        open_dataset(tmp_path / "a.tar")


def test_truncated_damaged_and_joined_archives(tmp_path):
    members = sample("a", 0, 0) | sample("b", 1, 1)
    whole = tar_of(tmp_path / "a.tar", members, tarfile.USTAR_FORMAT).read_bytes()
    headers = [k for k in range(0, len(whole), 512) if whole[k : k + 512].find(b"ustar") == 257]
    assert len(headers) == 4
    # Wherever it is cut before its end: between members, in a header, in an image.
    end = len(whole) - 2 * 512
    while not any(whole[end - 512 : end]):
        end -= 512
    for length in (*headers, headers[2] + 100, headers[2] + 600, end):
        write(tmp_path / "b.tar", whole[:length])
        with pytest.raises(InputError, match=r"b.tar: is (truncated|not a tar archive)"):
            open_dataset(tmp_path / "b.tar")
    damaged = bytearray(whole)
    damaged[headers[2]] ^= 1  # Python would end here without a word
    with pytest.raises(InputError, match=f"truncated or damaged at byte {headers[2]:,}"):
        open_dataset(write(tmp_path / "b.tar", bytes(damaged)))
    with pytest.raises(InputError, match=r"has data after its end.*archives that were joined"):
        open_dataset(write(tmp_path / "b.tar", whole + whole))
    negative = bytearray(whole)
    size = slice(headers[1] + 124, headers[1] + 136)
    negative[size] = b"\xff" * 10 + b"\xf0\x00"
    negative[headers[1] + 148 : headers[1] + 156] = b" " * 8
    checksum = sum(negative[headers[1] : headers[1] + 512])
    negative[headers[1] + 148 : headers[1] + 156] = b"%06o\0 " % checksum
    with pytest.raises(InputError, match=r"is not a tar archive|is truncated"):
        open_dataset(write(tmp_path / "b.tar", bytes(negative)))


def test_other_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(InputError, match="is a named pipe"):
        open_dataset(tmp_path / "pipe.tar")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match=r"is compressed.*Decompress it"):
        open_dataset(tmp_path / "a.tar.gz")
    for content in (b"", b"no archive", png_bytes(noise_image(200, 200))):
        with pytest.raises(InputError, match="is not a tar archive that can be read"):
            open_dataset(write(tmp_path / "b.tar", content))
    with pytest.raises(InputError, match=r"\{3..1\} is not a range"):
        open_dataset(f"{tmp_path}/a-{{3..1}}.tar")
    with pytest.raises(InputError, match="has labels of its own"):
        open_dataset(tmp_path / "b.tar", labels_file=tmp_path / "b.tar")
    # A folder of classes with an archive beside them stays a folder of classes.
    write(tmp_path / "set/cat/1.png")
    tar_of(tmp_path / "set/backup.tar", sample("1", 0, 0))
    assert open_dataset(tmp_path / "set").ids == ("cat/1.png",)


def test_an_archive_that_shrinks(tmp_path):
    file = tar_of(tmp_path / "a.tar", sample("1", 0, 0) | sample("2", 1, 0))
    dataset = open_dataset(file)
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(UnreadableImageError, match=r"a.tar, 2: .*shorter than when it was"):
        dataset.read(1)


def test_memory_stays_constant(tmp_path):
    """Of ten thousand members, only the positions of the images are kept."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for k in range(5000):
            for ending, content in (("png", TINY_PNG), ("cls", b"0")):
                member = tarfile.TarInfo(f"{k}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    dataset = open_dataset(write(tmp_path / "a.tar", stream.getvalue()))
    assert len(dataset) == 5000
    assert len(pickle.dumps(dataset)) < 5000 * 120
