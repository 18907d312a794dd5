"""CSV and TSV lists of image files, by the names of their columns."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path

import pytest

from noctule.data import Dataset, open_dataset
from noctule.errors import InputError
from photos import noise_image, png_bytes, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("a/1.png", "b/1.png", "b/2.png")):
        write(tmp_path / "images" / name, png_bytes(noise_image(seed=index)))
    return tmp_path


def listed(folder: Path, text: str, name: str = "list.csv", options: str = "") -> Dataset:
    write(folder / name, text.encode())
    return open_dataset(f"{folder / name}{options}")


ROWS = "images/b/2.png,dog,7\nimages/a/1.png,cat,3\nimages/b/1.png,dog,5\n"


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        (f"path,label,x\n{ROWS}", "list.csv", ""),
        (f"\ufeffPath,Label,x\r\n{ROWS}".replace("\n", "\r\n"), "list.CSV", ""),
        (f"path;label;x\n{ROWS}".replace(",", ";"), "list.csv", ""),
        (f"path,label,x\n{ROWS}".replace(",", "\t"), "list.tsv", ""),
        (f"where,species,x\n{ROWS}", "list.csv", "?image=where&label=species"),
        (f"path,label,class\n{ROWS}", "list.csv", "?label=label"),
        (f"my path,label,x\n{ROWS}".replace("/", "\\"), "list.csv", "?image=my%20path"),
        (f"path,label,x\n{ROWS}".replace("\n", "\n\n"), "list.csv", ""),
    ],
)
def test_forms(folder, text, name, options):
    dataset = listed(folder, text, name, options)
    assert dataset.ids == ("images/b/2.png", "images/a/1.png", "images/b/1.png")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [1, 0, 1]
    for index, seed in enumerate((2, 0, 1)):
        assert dataset.read(index).tobytes() == noise_image(seed=seed).tobytes()
    copy = pickle.loads(pickle.dumps(dataset))
    again = open_dataset(dataset.source["spec"])
    assert copy.fingerprint() == again.fingerprint() == dataset.fingerprint()


def test_indices_other_root_and_own_ids(folder, monkeypatch):
    text = 'file,target,key\n"b/1.png",10,x\na/1.png,2.0,y\n'
    monkeypatch.chdir(folder)
    dataset = listed(folder / "lists", text, options="?root=images&id=key")
    assert dataset.ids == ("x", "y")
    assert dataset.labels.tolist() == [10, 2]
    assert dataset.class_names == tuple(map(str, range(11)))
    monkeypatch.chdir("/")  # the root was relative to the folder before
    assert open_dataset(dataset.source["spec"]).read(0).tobytes() == dataset.read(0).tobytes()


def test_a_moved_list_is_the_same_dataset_and_another_is_not(folder, tmp_path):
    first = listed(folder, f"path,label,x\n{ROWS}").fingerprint()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert open_dataset(str(moved / "list.csv")).fingerprint() == first
    changed = listed(moved, f"path,label,x\n{ROWS}".replace("cat", "dog")).fingerprint()
    write(moved / "images/b/2.png", b"longer than before" * 9)
    assert len({first, changed, open_dataset(moved / "list.csv").fingerprint()}) == 3


def test_absolute_paths(folder):
    text = f"path,label\n{folder}/images/a/1.png,0\n"
    dataset = listed(folder / "elsewhere", text)
    assert dataset.ids == (f"{folder}/images/a/1.png",)
    assert dataset.read(0).tobytes() == noise_image(seed=0).tobytes()


def test_imagenet_by_name(tmp_path):
    name = "ILSVRC2012_val_00000001.JPEG"
    write(tmp_path / "v" / name)
    dataset = listed(tmp_path, f"path,label\nv/{name},65\n")
    assert (dataset.domain, len(dataset.class_names)) == (None, 66)  # one low label is no proof
    write(tmp_path / "v" / name.replace("1.J", "2.J"))
    text = f"path,label\nv/{name},65\nv/{name.replace('1.J', '2.J')},970\n"
    dataset = listed(tmp_path, text)
    assert (dataset.domain, len(dataset.class_names)) == ("imagenet-1k-val", 1000)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (f"path,species,x\n{ROWS}", "", r"no column with a usual name for the label. Its "
         r"columns are: path, species, x. Choose one: '.*list.csv\?label=COLUMN'"),
        (f"where,label,x\n{ROWS}", "", "usual name for the image"),
        (f"path,label,class\n{ROWS}", "", "has 2 columns that may be the label: label, class"),
        (f"path,label,x\n{ROWS}", "?label=lable", "no column 'lable'. Did you mean 'label'"),
        (f"path,label,x\n{ROWS}", "?image=zzz", "no column 'zzz'. Its columns are: path, "),
        (f"path,label,x\n{ROWS}", "?id=key", "no column 'key'"),
        (f"path,label,x\n{ROWS}", "?root=/none", "3 of 3 images do not exist below /none: "),
        (f"path,label,x\n{ROWS}", "?columns=2", "unknown option 'columns'.*Known: id, image"),
        (f"path,label,x\n{ROWS}", "?label=", "the option 'label' has no value"),
        (f"path,label,x\n{ROWS}images/a/2.png,cat,1\n", "", "1 of 4 images do not exist"),
        (f"path,label,x\n{ROWS}images/a/1.png,cat,1\n", "", "id 'images/a/1.png' occurs twice"),
        (f"path,label,x\n{ROWS}images/a,cat,1\n", "", "1 of 4 images do not exist"),
        (f"path,label,label\n{ROWS}", "", "has two columns 'label'"),
        (f"path,label,x\n{ROWS}images/a/1.png\n", "", "line 5: has 1 fields, and the first"),
        ("path,label\nimages/a/1.png,cat\n,dog\n", "", "line 3: has no path of an image"),
        ("path,label\na\0b,cat\n", "", "line 2: has no path|cannot be read"),
        ("path,label\nimages/a/1.png,\n", "", "image 'images/a/1.png': an image has no label"),
        ("path,label\nimages/a/1.png,1\nimages/b/1.png,cat\n", "",
         "image 'images/b/1.png': 'cat' is not a class index"),
        ("path,label\nimages/a/1.png,-1\n", "", "-1 is not a class index"),
        ("path,label\n", "", "lists no images"),
        ("", "", "is empty. The first line names the columns"),
        ('path,label\n"images/a/1.png,cat\n', "", "cannot be read: unexpected end of data"),
        ("path,label\n" + "x" * 200_000 + ",1\n", "", "cannot be read: field larger than"),
    ],
)  # fmt: skip
def test_unsuitable(folder, text, options, message):
    with pytest.raises(InputError, match=message):
        listed(folder, text, options=options)


def test_unreadable_files(folder):
    write(folder / "list.csv", b"path,label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        open_dataset(folder / "list.csv")
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(InputError, match="is a named pipe"):
        open_dataset(folder / "pipe.csv")
    with pytest.raises(InputError, match=r"no such file.*contains 'list.csv'"):
        open_dataset(f"{folder}/lists.csv?label=x")
    with pytest.raises(InputError, match="has labels of its own"):
        open_dataset(folder / "list.csv", labels_file=folder / "list.csv")
    with pytest.raises(InputError, match="takes no options, but has 'label'"):
        open_dataset(f"{folder}/images?label=x")


def test_names_with_question_marks(tmp_path):
    write(tmp_path / "a?b=c/cat/1.png")
    assert open_dataset(str(tmp_path / "a?b=c")).ids == ("cat/1.png",)
    with (tmp_path / "a?b=c/list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["p", "label"], ["cat/1.png", "x,y"]])
    dataset = open_dataset(f"{tmp_path}/a?b=c/list.csv?image=p")
    assert dataset.class_names == ("x,y",)
    assert open_dataset(dataset.source["spec"]).ids == dataset.ids
