"""What `open_dataset` makes of a name, a path, or something else altogether."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from noctule.data import dataset_forms, open_dataset
from noctule.errors import InputError
from photos import write


def test_a_dataset_is_itself():
    dataset = open_dataset((np.zeros((1, 4, 4, 3), np.uint8), [0]))
    assert open_dataset(dataset) is dataset


def test_a_dataset_says_how_to_open_it_again(tmp_path, monkeypatch):
    np.savez(tmp_path / "named.npz", images=np.zeros((2, 4, 4, 3), np.uint8), labels=[0, 1])
    np.save(tmp_path / "bare.npy", np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "classes.txt").write_text("0\n1\n")
    monkeypatch.chdir(tmp_path)
    for first in (
        open_dataset("photo-patches/train"),
        open_dataset("named.npz"),
        open_dataset("bare.npy", labels_file=Path("classes.txt")),
        open_dataset("bare.npy", labels_file="classes.txt"),
    ):
        monkeypatch.chdir("/")
        labels = first.source.get("labels_file")
        again = open_dataset(first.source["spec"], labels_file=labels and Path(labels))
        assert again.fingerprint() == first.fingerprint()
        monkeypatch.chdir(tmp_path)
    assert open_dataset((np.zeros((1, 4, 4, 3), np.uint8), [0])).source is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "photo-patch",
            r"unknown dataset 'photo-patch'.*Did you mean 'photo-patches'\? A data",
        ),
        ("photo-patches/tset", r"Did you mean 'photo-patches/test'\?"),
        ("imagenet", r"unknown dataset 'imagenet', and there is no file.*FILE\.npz"),
        ("", "the dataset's name is empty. A dataset is one of: photo-patches;"),
        (3, "a int is not a dataset"),
        ((1, 2, 3), "a tuple is not a dataset"),
        (None, "a NoneType is not a dataset"),
        ("x" * 5000, "File name too long|unknown dataset"),
    ],
)
def test_unknown(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_dataset(spec)


def test_a_file_that_is_no_dataset(tmp_path):
    with pytest.raises(
        InputError, match=r"a\.jpg: this file is not a dataset.*FOLDER --labels"
    ):
        open_dataset(write(tmp_path / "a.jpg"))


def test_what_is_no_path_of_labels_is_refused(tmp_path):
    np.save(tmp_path / "bare.npy", np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"labels_file.*path"):
        open_dataset(tmp_path / "bare.npy", labels_file=[0, 1])


def test_labels_that_nothing_asks_for(tmp_path):
    labels = write(tmp_path / "labels.txt", b"a 1")
    for spec in ("photo-patches", (np.zeros((1, 4, 4, 3)), [0])):
        with pytest.raises(InputError, match=r"labels of its own\. Use a labels file with"):
            open_dataset(spec, labels_file=labels)


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "set/cat/1.png")
    assert open_dataset("~/set").ids == ("cat/1.png",)


def test_forms_are_told():
    specs = [form.spec for form in dataset_forms()]
    assert len(set(specs)) == len(specs) == 14
    assert all(form.description for form in dataset_forms())


def test_importing_the_room_is_light():
    heavy = ["torch", "torchvision", "skimage", "sklearn", "scipy"]
    code = "import sys, noctule.data.sources.photo_patches, noctule.data.sources.folder\n"
    code += "import noctule.data; noctule.data.open_dataset('photo-patches')\n"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
