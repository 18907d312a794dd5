"""The start of a run: what it leaves if it fails, who may write, and replaced images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noctule import InputError, Settings, compare, evaluate
from noctule.report.loading import open_runs
from noctule.scoring import score_run
from noctule.store import RunStore
from stripes import LENIENT, QUICK, ChannelMeans, Stripes


def images(folder: Path, count: int = 300) -> Path:
    """Uncompressed images, all of one size in bytes."""
    for k in range(count):
        path = folder / "rgb"[k % 3] / f"{k:04}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Stripes(count).read(k).save(path)
    return folder


def replace(path: Path) -> None:
    """Other pixels in a file of the same size."""
    before = path.stat().st_size
    with Image.open(path) as image:
        pixels = 255 - np.asarray(image)
    Image.fromarray(pixels).save(path)
    assert path.stat().st_size == before


def started(data: Path, out: Path) -> RunStore:
    """A run of two slices, the second of which was lost."""
    run = evaluate(ChannelMeans(), data, QUICK, out=out, settings=LENIENT).run
    assert run.identity.num_slices == 2
    run.slice_path(1).unlink()
    return run


def test_replaced_images_are_not_mixed_with_those_evaluated_before(tmp_path: Path) -> None:
    data = images(tmp_path / "data")
    run = started(data, tmp_path / "run")
    finished = run.slice_path(0).read_bytes()
    for path in data.rglob("*.bmp"):
        replace(path)
    with pytest.raises(InputError, match="256 of 256 images compared have other pixels"):
        evaluate(ChannelMeans(), data, QUICK, out=run.folder, settings=LENIENT)
    assert (run.slice_path(0).read_bytes(), run.missing_slices()) == (finished, [1])


def test_a_single_replaced_image_of_a_finished_run_is_named(tmp_path: Path) -> None:
    data = images(tmp_path / "data", 30)
    run = evaluate(ChannelMeans(), data, QUICK, out=tmp_path / "run", settings=LENIENT).run
    replace(data / "g" / "0004.bmp")
    with pytest.raises(InputError, match=r"1 of 30 images.*first 'g/0004.bmp'"):
        evaluate(ChannelMeans(), data, QUICK, out=run.folder, settings=LENIENT)
    (data / "g" / "0004.bmp").unlink()
    Stripes(30).read(4).save(data / "g" / "0004.bmp")
    evaluate(ChannelMeans(), data, QUICK, out=run.folder, settings=LENIENT)


def test_runs_on_other_pixels_of_the_same_names_and_sizes_are_not_compared(
    tmp_path: Path,
) -> None:
    data = images(tmp_path / "data", 30)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        evaluate(ChannelMeans(), data, QUICK, out=folder, settings=LENIENT)
        replace(data / "r" / "0003.bmp")
    message = r"b: 1 of 30 images have other pixels than in .*a, first 'r/0003.bmp'"
    with pytest.raises(InputError, match=message):
        compare(*folders)
    with pytest.raises(InputError, match=message):
        score_run(folders[0], reference=folders[1])
    with pytest.raises(InputError, match=message):
        open_runs(folders)


@pytest.mark.parametrize("broken", [frozenset({3}), frozenset()])
def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, broken: frozenset[int]) -> None:
    class Failing(ChannelMeans):
        def forward(self, images):
            return super().forward(images).fill_(float("nan"))

    model = ChannelMeans() if broken else Failing()
    with pytest.raises(InputError):
        evaluate(model, Stripes(40, broken), QUICK, out=tmp_path / "run", settings=LENIENT)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_self_check_leaves_no_folder(tmp_path: Path) -> None:
    class Chance(ChannelMeans):
        def forward(self, images):
            return -super().forward(images)

    with pytest.raises(InputError):
        evaluate(
            Chance(), Stripes(300), QUICK, out=tmp_path / "runs" / "a",
            settings=Settings(device="cpu", batch_size=16),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=r"\.lock: is not a regular file"):
        evaluate(ChannelMeans(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT)
    assert (tmp_path / "victim").read_text() == "mine"
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_folder_of_writers_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".writers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"\.writers: is a link"):
        evaluate(ChannelMeans(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT)
    assert list((tmp_path / "elsewhere").iterdir()) == []
