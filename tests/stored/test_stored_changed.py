"""Images that were changed after they were stored are noticed when they are evaluated."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import noctule
from noctule.benchmarks import Condition
from noctule.stored import evaluate_stored, export, open_stored
from stored_sets import ONE_PROCESS, SEVERITIES, flip
from stripes import ChannelMeans, Stripes

COUNT = 8
VICTIM = "shear/3/0-r/0003"
FORMS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {"format": "jpeg", "quality": 85},
    "webdataset": {"format": "webdataset"},
    "npy": {"format": "npy"},
}
CHANGED = "not what was written: its hash is not that in SHA256SUMS"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for form, options in FORMS.items():
        export(SEVERITIES, Stripes(COUNT), root / form, processes=1, **options)
    return root


def exchange(folder: Path, form: str) -> str:
    """Put another good image in place of one: no decoder can tell. Its file's name."""
    if form == "npy":
        flip(folder / "shear.npy")  # a byte of the last image
        return "shear.npy"
    if form == "webdataset":
        name, other = "shear/3/000000.tar", "shear/5/000000.tar"
    else:
        suffix = {"png": "png", "jpeg": "jpg"}[form]
        name, other = f"{VICTIM}.{suffix}", f"shear/5/0-r/0003.{suffix}"
    assert (folder / name).read_bytes() != (folder / other).read_bytes()
    shutil.copy(folder / other, folder / name)
    return name


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", FORMS)
def test_an_exchanged_image_is_not_evaluated(
    sets: Path, tmp_path: Path, form: str, workers: int
) -> None:
    folder = Path(shutil.copytree(sets / form, tmp_path / "set"))
    settings = replace(ONE_PROCESS, workers=workers)
    good = evaluate_stored(ChannelMeans(), folder, out=tmp_path / "good", settings=settings).run
    assert len(good.rows()) == COUNT * 7
    name = exchange(folder, form)
    with pytest.raises(noctule.InputError, match=rf"set/{name}.*{CHANGED}.*that exported it"):
        evaluate_stored(ChannelMeans(), folder, out=tmp_path / "bad", settings=settings)
    assert not list((tmp_path / "bad").glob("rows/*.parquet"))


@pytest.mark.parametrize(("form", "skipped"), [("png", {"s/0003"}), ("webdataset", None)])
def test_changed_images_can_be_skipped_and_are_counted(
    sets: Path, tmp_path: Path, form: str, skipped: set[str] | None
) -> None:
    folder = Path(shutil.copytree(sets / form, tmp_path / "set"))
    exchange(folder, form)
    stored = open_stored(folder)
    for index, image_id in enumerate(stored.ids):
        changed = skipped is None or image_id in skipped  # a shard holds every image
        if changed:
            with pytest.raises(noctule.UnreadableImageError, match=CHANGED):
                stored.images[Condition("shear", 3)].read(index)
        else:
            stored.images[Condition("shear", 3)].read(index)
        stored.images[Condition("shear", 5)].read(index)


@pytest.mark.parametrize("form", ["png", "webdataset"])
def test_the_hashes_go_along_to_other_processes(sets: Path, tmp_path: Path, form: str) -> None:
    folder = Path(shutil.copytree(sets / form, tmp_path / "set"))
    images = pickle.loads(pickle.dumps(open_stored(folder).images[Condition("shear", 3)]))
    before = images.read(3).tobytes()
    assert before == open_stored(folder).images[Condition("shear", 3)].read(3).tobytes()
    exchange(folder, form)
    again = pickle.loads(pickle.dumps(images))
    with pytest.raises(noctule.UnreadableImageError, match=CHANGED):
        again.read(3)


def test_a_image_without_a_hash_is_not_evaluated(sets: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sets / "png", tmp_path / "set"))
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if f"{VICTIM}.png" not in line))
    with pytest.raises(noctule.UnreadableImageError, match=CHANGED):
        open_stored(folder).images[Condition("shear", 3)].read(3)


def test_what_others_published_is_not_asked_for_hashes(sets: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sets / "png", tmp_path / "set"))
    for name in ("manifest.json", "images.csv", "SHA256SUMS"):
        (folder / name).unlink()
    exchange(folder, "png")
    run = evaluate_stored(
        ChannelMeans(), folder, SEVERITIES, out=tmp_path / "run", settings=ONE_PROCESS
    ).run
    assert len(run.rows()) == COUNT * 7
