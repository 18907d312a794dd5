"""A damaged stored set is made whole by exporting it again, to the byte and piece by piece."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import noctule
from noctule.stored import verify
from noctule.stored.write import Target
from stored_sets import LOSSLESS, cut, export_into, file_bytes, flip

FIRST_PIECE = "shear/3/0-r/0003.png"
LAST_PIECE = "gaussian/5/1-g/0064.png"


@pytest.fixture(scope="module")
def whole_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    for form in LOSSLESS:
        export_into(root / form, form)
    return root


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(condition, first image) of everything that is written from now on."""
    calls: list[tuple[str, int]] = []
    write = Target.write

    def noted(self: Target, condition: Any, indices: range, images: Any) -> Any:
        calls.append((str(condition), indices.start))
        return write(self, condition, indices, images)

    monkeypatch.setattr(Target, "write", noted)
    return calls


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[Damage, set[int]]] = {
    "a bit": (lambda f: flip(f / FIRST_PIECE), {0}),
    "empty": (lambda f: (f / LAST_PIECE).write_bytes(b""), {64}),
    "gone": (lambda f: (f / LAST_PIECE).unlink(), {64}),
    "two": (lambda f: (flip(f / FIRST_PIECE), (f / LAST_PIECE).unlink()), {0, 64}),
    "a folder gone": (lambda f: shutil.rmtree(f / "clean"), {0, 32, 64}),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), set()),
    "manifest torn": (lambda f: cut(f / "manifest.json"), set()),
    "manifest of another seed": (
        lambda f: (f / "manifest.json").write_text(
            (f / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
        ),
        set(),
    ),
    "images": (lambda f: (f / "images.csv").unlink(), set()),
    "hashes cut short": (lambda f: cut(f / "SHA256SUMS"), {0, 32, 64}),
    "a line of the hashes gone": (
        lambda f: (f / "SHA256SUMS").write_bytes(
            b"".join((f / "SHA256SUMS").read_bytes().splitlines(keepends=True)[:-1])
        ),
        {64},
    ),
    "nothing": (lambda f: None, set()),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_exporting_again_writes_the_damaged_pieces_and_no_others(
    whole_sets: Path, tmp_path: Path, written: list[tuple[str, int]], name: str
) -> None:
    damage, pieces = DAMAGES[name]
    folder = Path(shutil.copytree(whole_sets / "png", tmp_path / "set"))
    damage(folder)
    export_into(folder)
    assert file_bytes(folder) == file_bytes(whole_sets / "png")
    assert {start for _, start in written} == pieces
    assert len(written) == 7 * len(pieces)  # conditions of a piece
    assert not (folder / "pieces").exists()


@pytest.mark.parametrize("name", ["shear.npy", "labels.npy", "clean.npy"])
def test_arrays_are_repaired(
    whole_sets: Path, tmp_path: Path, written: list[tuple[str, int]], name: str
) -> None:
    folder = Path(shutil.copytree(whole_sets / "npy", tmp_path / "set"))
    for spoil in (flip, cut, Path.unlink):
        spoil(folder / name)
        export_into(folder, "npy")
        assert file_bytes(folder) == file_bytes(whole_sets / "npy")
    # Labels are written beside the images, which stay.
    assert len(written) == (0 if name == "labels.npy" else 3 * 3 * 7)


def test_a_shard_is_repaired(whole_sets: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_sets / "webdataset", tmp_path / "set"))
    cut(folder / "shear/5/000000.tar")
    assert not verify(folder).is_good
    export_into(folder, "webdataset")
    assert file_bytes(folder) == file_bytes(whole_sets / "webdataset")


def test_a_repair_that_is_killed_goes_on(
    whole_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    folder = Path(shutil.copytree(whole_sets / "png", tmp_path / "set"))
    (folder / "manifest.json").unlink()
    flip(folder / FIRST_PIECE)
    for target in (
        "noctule.stored.exporting.shutil.rmtree",
        "noctule.stored.exporting._finish",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, killed)
            with pytest.raises(KeyboardInterrupt):
                export_into(folder)
    export_into(folder)
    assert file_bytes(folder) == file_bytes(whole_sets / "png")


def test_another_set_is_not_written_over_because_it_is_damaged(
    whole_sets: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole_sets / "png", tmp_path / "set"))
    (folder / FIRST_PIECE).unlink()
    (folder / "manifest.json").unlink()
    before = file_bytes(folder)
    with pytest.raises(noctule.InputError, match=r"not a stored set \(it holds SHA256SUMS\)"):
        export_into(folder, seed=1)
    assert file_bytes(folder) == before


@pytest.mark.parametrize("place", ["shear/3/0-r/0003.png", "shear/3"])
def test_what_is_in_the_way_is_named(whole_sets: Path, tmp_path: Path, place: str) -> None:
    folder = Path(shutil.copytree(whole_sets / "png", tmp_path / "set"))
    if (folder / place).is_dir():
        shutil.rmtree(folder / place)
        (folder / place).touch()
    else:
        (folder / place).unlink()
        (folder / place).mkdir()
    with pytest.raises(noctule.InputError, match=rf"set/{place}: is in the way of 'shear/3/"):
        export_into(folder)


def test_arrays_are_on_the_disk_before_their_piece_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, record = Target.sync_arrays, noctule.stored.exporting.write_atomically  # type: ignore[attr-defined]

    def synced(self: Target) -> None:
        steps.append("sync")
        sync(self)

    def recorded(path: Path, data: bytes) -> None:
        steps.append("record" if path.parent.name == "pieces" else "other")
        record(path, data)

    monkeypatch.setattr(Target, "sync_arrays", synced)
    monkeypatch.setattr("noctule.stored.exporting.write_atomically", recorded)
    export_into(tmp_path, "npy")
    assert [step for step in steps if step != "other"] == ["sync", "record"] * 3
