"""What is damaged while a set is unfinished is not hashed in as if it had been written so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noctule
from noctule.stored import verify
from noctule.stored.write import Target
from stored_sets import cut, export_into, file_bytes, flip

STARTS = (0, 32, 64)  # of the pieces of 70 images


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FORM: a whole set; FORM-begun: the same, stopped before SHA256SUMS was written."""
    root = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        for form in ("png", "npy"):
            export_into(root / form, form)
        patch.setattr("noctule.stored.exporting._finish", _stop)
        for form in ("png", "npy"):
            with pytest.raises(KeyboardInterrupt):
                export_into(root / f"{form}-begun", form)
    return root


def _stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def begun(sets: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda form: Path(shutil.copytree(sets / f"{form}-begun", tmp_path / "set"))


@pytest.fixture
def rewritten(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The first image of each piece that is written from now on."""
    starts: set[int] = set()
    write = Target.write

    def noted(self: Target, condition: Any, indices: range, images: Any) -> Any:
        starts.add(indices.start)
        return write(self, condition, indices, images)

    monkeypatch.setattr(Target, "write", noted)
    return starts


@pytest.mark.parametrize("spoil", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("png", "images.csv"),
        ("npy", "images.csv"),
        ("npy", "labels.npy"),
    ],
)
def test_what_lies_beside_the_images_is_written_again(
    sets: Path,
    begun: Callable[[str], Path],
    rewritten: set[int],
    form: str,
    name: str,
    spoil: Callable[[Path], None],
) -> None:
    folder = begun(form)
    spoil(folder / name)
    export_into(folder, form)
    assert file_bytes(folder) == file_bytes(sets / form)
    assert rewritten == set()  # every piece had its record


def flip_image(image: int, block: int) -> Callable[[Path], None]:
    """Change the last byte of one image of 70 in a block of shear.npy."""

    def spoil(folder: Path) -> None:
        array = np.load(folder / "shear.npy", mmap_mode="r+")
        array[70 * block + image, -1, -1, -1] ^= 1
        array.flush()

    return spoil


def longer(folder: Path) -> None:
    with (folder / "shear.npy").open("ab") as stream:
        stream.write(bytes(32 * 32 * 3))


def other_header(folder: Path) -> None:
    content = (folder / "shear.npy").read_bytes()
    assert b"'fortran_order': False" in content
    changed = content.replace(b"'fortran_order': False", b"'fortran_order': True ")
    (folder / "shear.npy").write_bytes(changed)


@pytest.mark.parametrize(
    ("spoil", "pieces"),
    [
        (flip_image(0, 0), {0}),
        (flip_image(31, 2), {0}),
        (flip_image(32, 1), {32}),
        (flip_image(69, 2), {64}),
        (longer, set(STARTS)),
        (other_header, set(STARTS)),
        (lambda folder: cut(folder / "shear.npy"), set(STARTS)),
        (lambda folder: (folder / "clean.npy").write_bytes(b""), set(STARTS)),
        (lambda folder: (folder / "pieces/00000032").write_bytes(b""), {32}),
        (lambda folder: None, set()),
    ],
)
def test_arrays_that_changed_are_written_again_and_no_more_pieces_than_needed(
    sets: Path,
    begun: Callable[[str], Path],
    rewritten: set[int],
    spoil: Callable[[Path], None],
    pieces: set[int],
) -> None:
    folder = begun("npy")
    spoil(folder)
    told: list[tuple[int, int]] = []
    export_into(folder, "npy", progress=lambda done, total: told.append((done, total)))
    assert file_bytes(folder) == file_bytes(sets / "npy")
    assert rewritten == pieces
    assert told[-1] == (7 * 70, 7 * 70)


@pytest.mark.parametrize("place", ["rmtree", "replace"])
def test_a_kill_while_a_lost_array_is_made_leaves_no_empty_one(
    sets: Path, begun: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Before the records go, or when the empty array is there and nothing else was done."""
    folder = begun("npy")
    (folder / "shear.npy").unlink()
    with monkeypatch.context() as patch:
        if place == "rmtree":
            patch.setattr("noctule.stored.exporting.shutil.rmtree", _stop)
        else:
            create = Target.create_arrays

            def killed(self: Target) -> None:
                create(self)
                raise KeyboardInterrupt

            patch.setattr(Target, "create_arrays", killed)
        with pytest.raises(KeyboardInterrupt):
            export_into(folder, "npy")
    # An array without records is empty, and one with records is there.
    assert (folder / "shear.npy").exists() != (folder / "pieces").exists()
    export_into(folder, "npy")
    assert file_bytes(folder) == file_bytes(sets / "npy")


@pytest.mark.parametrize("state", ["png", "png-begun"])
def test_what_a_kill_has_left_goes_and_what_others_left_stays(
    sets: Path, tmp_path: Path, state: str
) -> None:
    folder = Path(shutil.copytree(sets / state, tmp_path / "set"))
    names = (
        *(
            f".{name}.0123456789abcdef.tmp"
            for name in ("SHA256SUMS", "manifest.json", "images.csv")
        ),
        ".lock",
    )
    for name in names:
        (folder / name).write_bytes(b"half")
    foreign = (".notes.txt.123.tmp", ".SHA256SUMS.mine.tmp")
    for name in foreign:
        (folder / name).write_bytes(b"mine")
    export_into(folder)
    assert verify(folder).extra == tuple(sorted(foreign))
    for name in foreign:
        assert (folder / name).read_bytes() == b"mine"


def test_foreign_temporaries_in_a_new_folder_are_no_beginning(tmp_path: Path) -> None:
    (tmp_path / ".notes.txt.123.tmp").write_bytes(b"mine")
    with pytest.raises(noctule.InputError, match=r"it holds \.notes\.txt\.123\.tmp"):
        export_into(tmp_path)


def test_the_lock_goes_when_exporting_fails(
    begun: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun("png")
    assert not (folder / ".lock").exists()
    monkeypatch.setattr("noctule.stored.exporting._finish", _stop)
    with pytest.raises(KeyboardInterrupt):
        export_into(folder)
    assert not (folder / ".lock").exists()


@pytest.mark.parametrize(
    ("form", "name"),
    [("png", "SHA256SUMS"), ("npy", "SHA256SUMS"), ("npy", "shear.npy"), ("npy", "labels.npy")],
)
def test_a_folder_in_place_of_a_file_is_named_before_any_work(
    begun: Callable[[str], Path], rewritten: set[int], form: str, name: str
) -> None:
    folder = begun(form)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    shutil.rmtree(folder / "pieces")
    with pytest.raises(noctule.InputError, match=rf"{name}: is in the way of '{name}'.*Remove"):
        export_into(folder, form)
    assert rewritten == set()
