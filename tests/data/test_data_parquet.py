"""Parquet and Arrow files with encoded images: Hugging Face's layouts, and others."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from noctule.data import open_dataset
from noctule.errors import InputError, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from photos import noise_image, png_bytes, write

PNGS = [png_bytes(noise_image(seed=index)) for index in range(50)]
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": ["cat", "dog", "emu"]},
}


def table(
    start: int = 0, stop: int = 50, *, features: Any = FEATURES, **columns: Any
) -> pa.Table:
    """Rows as `datasets` writes them: a structure of bytes and path, a label, metadata."""
    rows = range(start, stop)
    images = [{"bytes": PNGS[k], "path": f"{k}.png"} for k in rows]
    content = {"image": images, "label": [k % 2 * 2 for k in rows], **columns}
    made = pa.table({key: value for key, value in content.items() if value is not None})
    return made.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    )


def saved(file: Path, rows: pa.Table, group: int = 7) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        parquet.write_table(rows, file, row_group_size=group)
        return file
    with pa.OSFile(str(file), "wb") as sink:
        new = pa.ipc.new_file if "feather" in file.stem else pa.ipc.new_stream
        with new(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=group)
    return file


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "feather.arrow"])
def test_images_labels_and_names(tmp_path, name):
    dataset = open_dataset(saved(tmp_path / name, table()))
    assert dataset.ids == tuple(f"{k}.png" for k in range(50))
    assert dataset.class_names == ("cat", "dog", "emu")
    assert dataset.labels.tolist() == [k % 2 * 2 for k in range(50)]
    for index in (0, 1, 13, 14, 15, 49, 3, 2, 48):
        assert dataset.read(index).tobytes() == noise_image(seed=index).tobytes()
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.read(20).tobytes() == noise_image(seed=20).tobytes()
    assert len(pickle.dumps(dataset)) < 10_000  # no image is in it


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_worker_processes_read_what_this_process_reads(tmp_path, name):
    dataset = open_dataset(saved(tmp_path / name, table(), group=40))
    dataset.read(45)  # a reader is open when the workers start
    here, there = (
        [h for b in load_batches(dataset, Preprocessing(), in_order(dataset, 8), workers)
         for h in b.hashes]
        for workers in (0, 3)
    )  # fmt: skip
    assert here == there
    assert len(set(here)) == 50


@pytest.mark.parametrize(
    "names",
    [
        ["data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet",
         "data/train-00000-of-00001.parquet"],
        ["default/test/0000.parquet", "default/test/0001.parquet", "default/train/0.parquet"],
        ["test/data-00000-of-00002.arrow", "test/data-00001-of-00002.arrow",
         "train/data-00000-of-00001.arrow"],
        ["x-test-00000-of-00002.arrow", "x-test-00001-of-00002.arrow", "x-train.arrow"],
    ],
)  # fmt: skip
def test_splits_of_a_folder(tmp_path, names):
    for k, (start, stop) in enumerate(((0, 20), (20, 30), (30, 50))):
        saved(tmp_path / "set" / names[k], table(start, stop))
    write(tmp_path / "set" / "README.md", b"words")
    write(
        tmp_path / "set" / names[0].replace("test", "test").rpartition("/")[0] / "cache-1.arrow"
    )
    dataset = open_dataset(f"{tmp_path}/set?split=test")
    assert dataset.ids == tuple(f"{k}.png" for k in range(30))
    assert dataset.read(29).tobytes() == noise_image(seed=29).tobytes()
    assert dataset.name == "set/test"
    assert open_dataset(dataset.source["spec"]).fingerprint() == dataset.fingerprint()
    with pytest.raises(InputError, match=r"several splits: test, train. Choose .*split=train'"):
        open_dataset(tmp_path / "set")
    with pytest.raises(InputError, match=r"unknown split 'tset'. Did you mean 'test'\?"):
        open_dataset(f"{tmp_path}/set?split=tset")


def test_ids_without_paths(tmp_path):
    images = [{"bytes": PNGS[k], "path": None if k == 3 else "x"} for k in range(50)]
    saved(tmp_path / "set/test-00000-of-00001.parquet", table(image=images))
    assert open_dataset(tmp_path / "set").ids[:2] == ("test/000000", "test/000001")
    file = saved(tmp_path / "a.parquet", table(image=images, key=[f"k{k}" for k in range(50)]))
    assert open_dataset(file).ids[:2] == ("000000", "000001")
    assert open_dataset(f"{file}?id=key").ids[:2] == ("k0", "k1")


def test_plain_columns(tmp_path):
    columns = {"label": None, "image": None, "jpeg": PNGS, "thumb": PNGS[::-1],
               "species": [("dog", "cat")[k % 2] for k in range(50)]}  # fmt: skip
    rows = table(features=None, **columns)
    rows = rows.set_column(2, "species", rows["species"].dictionary_encode())
    file = saved(tmp_path / "a.parquet", rows)
    with pytest.raises(
        InputError, match=r"2 columns of encoded images.*jpeg \(binary\).*image="
    ):
        open_dataset(file)
    with pytest.raises(InputError, match="no column with a usual name for the label"):
        open_dataset(f"{file}?image=jpeg")
    dataset = open_dataset(f"{file}?image=thumb&label=species")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels[:2].tolist() == [1, 0]
    assert dataset.read(0).tobytes() == noise_image(seed=49).tobytes()


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path):
    def fingerprint(name: str, **columns: Any) -> str:
        return open_dataset(saved(tmp_path / name, table(**columns))).fingerprint()

    first = fingerprint("a.parquet")
    assert first == fingerprint("elsewhere/b.parquet")
    longer = [{"bytes": PNGS[k] + b"0" * (k == 9), "path": f"{k}.png"} for k in range(50)]
    assert len({first, fingerprint("c.parquet", image=longer),
                fingerprint("d.parquet", label=[0] * 50)}) == 3  # fmt: skip
    assert fingerprint("a.arrow") != fingerprint("c.arrow", image=longer)


def test_imagenet_by_path(tmp_path):
    first = ((1, 65), (2, 970))
    images = [
        {"bytes": PNGS[k], "path": f"ILSVRC2012_val_{k:08d}_n0{k:07d}.JPEG"} for k, _ in first
    ]
    names = [f"class {k}" for k in range(1000)]
    rows = table(
        image=images, label=[label for _, label in first],
        features={"label": {"_type": "ClassLabel", "names": names}},
    )  # fmt: skip
    dataset = open_dataset(saved(tmp_path / "a.parquet", rows))
    assert (dataset.domain, dataset.class_names[970]) == ("imagenet-1k-val", "class 970")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, "?image=label", "no column 'label' of encoded images. Its columns are: image "),
        ({}, "?label=lable", "no column 'lable'. Did you mean 'label'"),
        ({}, "?id=key", "no column 'key'"),
        ({}, "?split=test", "is one file, and only folders have splits"),
        ({}, "?columns=2", "unknown option 'columns'"),
        ({"image": None}, "", "has 0 columns of encoded images"),
        ({"label": [None] + [1] * 49}, "", "column 'label' has no value in row 0"),
        ({"label": [-1] * 50}, "", "-1 is not a class index"),
        ({"label": [7] * 50}, "", "labels run from 7 to 7, but there are 3 classes"),
        ({"label": [[0, 1]] * 50}, "", "holds list<.*, not one label each"),
    ],
)
def test_unsuitable(tmp_path, columns, options, message):
    file = saved(tmp_path / "a.parquet", table(**columns))
    with pytest.raises(InputError, match=message):
        open_dataset(f"{file}{options}")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_damaged_files(tmp_path, suffix):
    whole = saved(tmp_path / f"a.{suffix}", table()).read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[-2000:]):
        file = write(tmp_path / f"b.{suffix}", content)
        with pytest.raises(
            InputError, match=rf"b.{suffix}: is not a {suffix} file|has no rows"
        ):
            open_dataset(file)
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with pytest.raises(InputError, match="is a named pipe"):
        open_dataset(tmp_path / f"pipe.{suffix}")
    with pytest.raises(InputError, match="no such file"):
        open_dataset(tmp_path / f"c.{suffix}")
    saved(tmp_path / f"set/1.{suffix}", table())
    saved(tmp_path / f"set/2.{suffix}", table(other=[0] * 50))
    with pytest.raises(InputError, match=rf"2.{suffix}: has other columns than 1.{suffix}"):
        open_dataset(tmp_path / "set")
    saved(tmp_path / f"empty.{suffix}", table(0, 0, label=[], image=pa.array([], pa.binary())))
    with pytest.raises(InputError, match="has no rows"):
        open_dataset(tmp_path / f"empty.{suffix}")


def test_rows_without_an_image_are_unreadable(tmp_path):
    images = [None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": b"x", "path": "3"}]
    images += [{"bytes": PNGS[k], "path": f"{k}"} for k in range(3, 50)]
    dataset = open_dataset(saved(tmp_path / "a.parquet", table(image=images)))
    for index, message in enumerate(("no image", "no image", "not an image in a known format")):
        with pytest.raises(UnreadableImageError, match=message):
            dataset.read(index)
    assert dataset.read(3).tobytes() == noise_image(seed=3).tobytes()
    # A page that is damaged after the dataset was opened.
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    start = content.index(PNGS[28][50:90])  # in the first image of its group
    content[start - 110 : start] = bytes(110)
    write(tmp_path / "a.parquet", bytes(content))
    with pytest.raises(UnreadableImageError, match=r"a.parquet, 000030: cannot read"):
        dataset.read(30)
