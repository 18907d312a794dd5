"""What a user names may be a pipe, a device or a bomb: refused before it is read."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noctule import input_files
from noctule.config import Spec, read_spec
from noctule.corruptions.imagenet_c import textures
from noctule.data import open_dataset
from noctule.data.sources.arrays import load_npy
from noctule.errors import InputError
from noctule.models.sources.trained import training_record
from noctule.models.weights_file import read_state_dict
from noctule.store.disk import read_files, read_records
from noctule.store.identity import read_identity
from noctule.store.sums import hash_file
from noctule.stored.manifest import read_manifest
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import read_matrix

Special = tuple[str, Callable[[str], Path]]
READERS: dict[str, Callable[[Path], Any]] = {
    "set.toml": lambda path: read_spec(path, Spec),
    "data.npz": open_dataset,
    "data.npy": load_npy,
    "manifest.json": lambda path: read_manifest(path.parent),
    "run.json": lambda path: read_identity(path.parent),
    "study.json": lambda path: StudyFolder.open(path.parent),
    "weights.pt": read_state_dict,
    "weights.safetensors": read_state_dict,
    "trained.safetensors": training_record,
    "provenance.jsonl": read_records,
    "000000.parquet": lambda path: list(read_files([path], 10)),
    "matrix.csv": read_matrix,
    "frost1.png": lambda path: textures._read(path, textures.FROST[0]),
}


@pytest.fixture(params=["a named pipe", "a socket", "a folder", "a device"])
def special(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[str, Callable[[str], Path]]:
    """A kind of special file, and what makes one of a name."""

    def make(name: str) -> Path:
        path = tmp_path / name
        if request.param == "a named pipe":
            os.mkfifo(path)
        elif request.param == "a socket":
            # Relative: the address of a socket has at most 107 characters.
            here = os.open(tmp_path, os.O_RDONLY)
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(f"/proc/self/fd/{here}/{name}")
            os.close(here)
        elif request.param == "a folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        return path

    return request.param, make


@pytest.mark.parametrize("name", READERS)
def test_special_files_are_refused_everywhere(special: Special, name: str) -> None:
    kind, make = special
    path = make(name)
    if name in ("data.npz", "provenance.jsonl") and kind == "a folder":
        return  # a folder is a dataset as well, or the lines of a run from an object store
    with pytest.raises(InputError, match=f"is {kind}, not a regular file"):
        READERS[name](path)


def test_hashing_refuses_them_as_the_system_would(
    special: Special,
) -> None:
    kind, make = special
    path = make("a.png")
    with pytest.raises(OSError, match=kind):
        hash_file(path.parent, path.name)


def test_links_to_files_and_absent_files_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert input_files.read_text(tmp_path / "link") == "text"
    input_files.reject_special_files(tmp_path / "absent")
    with pytest.raises(InputError, match="No such file"):
        input_files.read_text(tmp_path / "absent")


def test_a_huge_text_is_not_read(tmp_path: Path) -> None:
    for name, read in (("a.toml", lambda path: read_spec(path, Spec)), ("b", read_records)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(10**12)  # sparse: no byte on the disk
        with pytest.raises(InputError, match="is too large: 1,000,000,000,000 bytes"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["flat", "x.npy"])
def test_a_huge_labels_file_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").touch()
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4, 3), np.uint8))
    with (tmp_path / "labels.txt").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(InputError, match="is too large: 1,000,000,000,000 bytes"):
        open_dataset(tmp_path / name, labels_file=tmp_path / "labels.txt")


def test_archives_that_unpack_to_gigabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_files, "MAX_UNPACKED_BYTES", 10**6)
    for name, content in (("bomb", bytes(2 * 10**6)), ("dense", os.urandom(2 * 10**6))):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("entry", content)
    input_files.reject_zip_bombs(tmp_path / "dense")
    with pytest.raises(InputError, match="unpacks to 2,000,000 bytes"):
        input_files.reject_zip_bombs(tmp_path / "bomb")
