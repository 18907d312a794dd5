"""Pipes, linked folders and absurd numbers are refused, and nothing waits for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import noctule
from noctule.data import open_dataset
from noctule.models import Preprocessing
from noctule.stored import export, open_stored, verify
from noctule.stored.plan import data_folders
from stored_sets import SEVERITIES, export_into, file_bytes, photos
from stripes import Stripes

COUNT = 6
IMAGE = "shear/3/0-r/0003.png"

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    export(SEVERITIES, Stripes(COUNT), root / "png", processes=1)
    export(SEVERITIES, Stripes(COUNT), root / "tar", format="webdataset", processes=1)
    return root


@pytest.fixture
def stored(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "png", tmp_path / "set"))


def put_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@needs_pipes
@pytest.mark.parametrize("name", [IMAGE, "images.csv"])
def test_a_pipe_is_a_changed_file(stored: Path, name: str) -> None:
    put_pipe(stored / name)
    assert verify(stored).changed == (name,)


@needs_pipes
@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest.json"])
def test_a_pipe_in_place_of_a_record_is_named(stored: Path, name: str) -> None:
    put_pipe(stored / name)
    for use in (verify, open_stored):
        with pytest.raises(noctule.InputError, match=f"{name}: is a named pipe"):
            use(stored)


@needs_pipes
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", [IMAGE, "images.csv", "SHA256SUMS", "manifest.json"])
def test_exporting_again_names_the_pipe(stored: Path, name: str, finished: bool) -> None:
    if not finished:
        (stored / "SHA256SUMS").unlink()
    put_pipe(stored / name)
    # Without manifest and hashes nothing says what the folder is.
    known = finished or name != "manifest.json"
    what = f"{name}: is a named pipe" if known else "not a stored set"
    with pytest.raises(noctule.InputError, match=what):
        export(SEVERITIES, Stripes(COUNT), stored, processes=1)


@needs_pipes
@pytest.mark.parametrize(("form", "name"), [("png", IMAGE), ("tar", "shear/3/000000.tar")])
def test_a_pipe_is_an_unreadable_image(
    whole: Path, tmp_path: Path, form: str, name: str
) -> None:
    folder = Path(shutil.copytree(whole / form, tmp_path / "set"))
    put_pipe(folder / name)
    stored = open_stored(folder)
    with pytest.raises(noctule.UnreadableImageError, match="not a regular file"):
        stored.images[SEVERITIES.conditions[2]].read(3)


# Data whose folders are links


@pytest.mark.parametrize("place", ["elsewhere/stored", "elsewhere", "elsewhere/deep/stored"])
def test_a_set_is_not_written_into_a_class_folder_that_is_a_link(
    tmp_path: Path, place: str
) -> None:
    data = photos(tmp_path / "val", 1)
    (data / "n02").rename(tmp_path / "elsewhere")
    (data / "n02").symlink_to(tmp_path / "elsewhere")
    before = file_bytes(tmp_path / "elsewhere")
    for given in (data, str(data), open_dataset(data)):
        with pytest.raises(noctule.InputError, match=r"lies in the data, .*n02\. Choose"):
            export(SEVERITIES, given, tmp_path / place, processes=1)
    assert file_bytes(tmp_path / "elsewhere") == before


def test_the_folders_on_the_way_to_a_file(tmp_path: Path) -> None:
    data = photos(tmp_path / "val", 2)
    found = data_folders(open_dataset(data))
    assert found == [data, data / "n01", data / "n02"]


# Numbers


def test_no_more_images_are_made_again_than_there_are(stored: Path) -> None:
    found = verify(stored, again=10**12)
    assert (found.is_good, found.num_remade) == (True, 6 * COUNT)
    assert verify(stored, again=6 * COUNT - 1).num_remade == 6 * COUNT - 1


@pytest.mark.parametrize("side", [100_000_000, 10**12, 11_586])
def test_images_that_would_fill_the_memory_are_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(noctule.InputError, match=r"out of range\. Use .* each from 1 to 8,192"):
        export_into(tmp_path / "set", preprocessing=Preprocessing(resize_px=side))
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for use in (open_stored, verify):
        with pytest.raises(noctule.InputError, match="nope: there is no such folder"):
            use(tmp_path / "nope")
        with pytest.raises(noctule.InputError, match="file: is a file, not a folder"):
            use(tmp_path / "file")
