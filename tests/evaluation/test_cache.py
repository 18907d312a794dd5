"""The cache of decoded crops: a second model pays no decoding; no fault of it ends a run."""

from __future__ import annotations

import errno
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import noctule
import sharing_runs
from noctule import InputError, NoctuleWarning, Preprocessing, Settings, evaluate
from noctule.data import open_dataset
from noctule.evaluation import cache as cache_module
from noctule.evaluation.cache import HEADER_BYTES, RECORD_HEAD_BYTES, CropCache
from noctule.evaluation.loading import read_batch
from noctule.evaluation.provenance import refuse_other_images
from noctule.evaluation.sources import LiveImages
from noctule.models import load_classifier
from stripes import QUICK, ChannelMeans, Stripes

IMAGES = 80
CROPS = Preprocessing(crop_px=(24, 24))
RECORD_BYTES = RECORD_HEAD_BYTES + 3 * 24 * 24


class CountedReads(Stripes):
    """Counts how often each image is decoded."""

    def __init__(self, count: int = IMAGES, broken: frozenset[int] = frozenset()) -> None:
        super().__init__(count, broken)
        self.decoded: list[int] = []

    def read(self, index: int) -> Image.Image:
        self.decoded.append(index)
        return super().read(index)


def settings(tmp_path: Path | None, **others: Any) -> Settings:
    return Settings(device="cpu", batch_size=16, self_check=False, workers=0,
                    cache=tmp_path, **others)  # fmt: skip


def run(data: Stripes, out: Path, cache: Path | None, mean: float = 0.0, **others: Any) -> Path:
    preprocessing = Preprocessing(crop_px=(24, 24), mean=(mean,) * 3)
    network = load_classifier(ChannelMeans(), preprocessing=preprocessing).named("means")
    evaluate(network, data, QUICK, out=out, settings=settings(cache, **others))
    return out


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_second_model_pays_no_decoding_and_rows_are_the_same(tmp_path: Path) -> None:
    data = CountedReads()
    plain = run(data, tmp_path / "plain", None)
    without = len(data.decoded) - IMAGES  # what the checks read
    for name, mean in (("first", 0.0), ("second", 0.0), ("other mean", 0.5)):
        data.decoded.clear()
        run(data, tmp_path / name, tmp_path / "cache", mean)
        expected = {"first": IMAGES, "second": cache_module.SAMPLE, "other mean": 0}[name]
        assert len(data.decoded) == expected + without, name
        if not mean:
            assert sharing_runs.rows(tmp_path / name) == sharing_runs.rows(plain)
    assert the_file(tmp_path / "cache").stat().st_size == HEADER_BYTES + IMAGES * RECORD_BYTES


def test_other_crops_images_and_decoders_have_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Stripes(IMAGES)
    first = CropCache(tmp_path, data, CROPS)
    assert CropCache(tmp_path, data, Preprocessing(crop_px=(24, 24), std=(2,) * 3)).path == (
        first.path
    )
    others = [
        CropCache(tmp_path, data, Preprocessing(crop_px=(24, 25))),
        CropCache(tmp_path, data, Preprocessing(resize_px=24, crop_px=(24, 24))),
        CropCache(tmp_path, Stripes(IMAGES + 1), CROPS),
    ]
    monkeypatch.setattr("PIL.__version__", "0.1")
    others.append(CropCache(tmp_path, data, CROPS))
    assert len({first.path, *(one.path for one in others)}) == 5


def filled(folder: Path, data: Stripes | None = None) -> tuple[CropCache, Stripes]:
    data = data or CountedReads()
    cache = CropCache.opened(folder, data, CROPS)
    read_batch(data, CROPS, range(len(data)), cache)
    return cache, data


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("offset", [0, 16, 40, 63, 64, RECORD_BYTES - 1])
def test_a_damaged_record_is_decoded_again_and_repaired(offset: int, tmp_path: Path) -> None:
    cache, data = filled(tmp_path)
    expected = read_batch(data, CROPS, range(8))
    position = HEADER_BYTES + 5 * RECORD_BYTES + offset
    byte = cache.path.read_bytes()[position]
    overwrite(cache.path, position, bytes([byte ^ 1]))
    data.decoded.clear()  # type: ignore[attr-defined]
    batch = read_batch(data, CROPS, range(8), cache)
    assert data.decoded == [5]  # type: ignore[attr-defined]
    assert "damaged" in batch.trouble
    assert torch.equal(batch.images, expected.images)
    assert batch.hashes == expected.hashes
    data.decoded.clear()  # type: ignore[attr-defined]
    again = read_batch(data, CROPS, range(8), cache)
    assert (data.decoded, again.trouble) == ([], "")  # type: ignore[attr-defined]


def test_a_record_in_the_place_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    cache, data = filled(tmp_path)
    content = cache.path.read_bytes()
    second = content[HEADER_BYTES + RECORD_BYTES : HEADER_BYTES + 2 * RECORD_BYTES]
    overwrite(cache.path, HEADER_BYTES, second)
    batch = read_batch(data, CROPS, [0], cache)
    assert torch.equal(batch.images, read_batch(data, CROPS, [0]).images)


@pytest.mark.parametrize("size", [HEADER_BYTES, HEADER_BYTES + 3 * RECORD_BYTES + 70])
def test_a_truncated_file_is_filled_again(size: int, tmp_path: Path) -> None:
    cache, data = filled(tmp_path)
    expected = cache.path.read_bytes()
    with cache.path.open("r+b") as file:
        file.truncate(size)
    batch = read_batch(data, CROPS, range(IMAGES), CropCache.opened(tmp_path, data, CROPS))
    assert torch.equal(batch.images, read_batch(data, CROPS, range(IMAGES)).images)
    assert cache.path.read_bytes() == expected


def foreign(path: Path) -> None:
    path.write_bytes(b"something else" * 1000)


def damaged_header(path: Path) -> None:
    overwrite(path, 30, b"#")


def folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_there(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "harm",
    [foreign, damaged_header, folder_there, link_there, lambda path: path.write_bytes(b"")],
)
def test_a_foreign_file_is_an_error_before_the_run_and_left_alone(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    cache, data = filled(tmp_path / "cache")
    harm(cache.path)
    before = cache.path.read_bytes() if cache.path.is_file() else None
    with pytest.raises(InputError, match="Delete it, or pass another --cache") as caught:
        run(data, tmp_path / "run", tmp_path / "cache")
    assert str(cache.path) in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert (cache.path.read_bytes() if cache.path.is_file() else None) == before


def test_a_cache_in_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        run(Stripes(IMAGES), tmp_path / "run", tmp_path / "file")


def test_a_file_replaced_during_the_run_does_not_end_it(tmp_path: Path) -> None:
    cache, data = filled(tmp_path)
    foreign(cache.path)
    batch = read_batch(data, CROPS, range(4), cache)
    assert len(batch.ids) == 4
    assert "something else" in batch.trouble
    assert cache.path.read_bytes().startswith(b"something else")


def test_a_full_disk_is_said_once_and_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(Stripes(IMAGES), tmp_path / "plain", None)

    def full(*arguments: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "_record", full)
    with pytest.warns(NoctuleWarning, match="No space left on device") as caught:
        run(Stripes(IMAGES), tmp_path / "run", tmp_path / "cache")
    assert len([one for one in caught if "No space" in str(one.message)]) == 1
    assert sharing_runs.rows(tmp_path / "run") == sharing_runs.rows(plain)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_really_full_disk_is_an_oserror_and_no_signal(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path)
    crops, _ = cache.read([0])
    cache.path.unlink()
    cache.path.symlink_to("/dev/full")
    assert "cannot be written" in cache.write(crops)


def fill(folder: Path, start: Any) -> None:
    start.wait()
    filled(folder, CountedReads())


def test_two_processes_may_fill_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [context.Process(target=fill, args=(tmp_path / "two", start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    one, data = filled(tmp_path / "one")
    known, trouble = CropCache(tmp_path / "two", data, CROPS).read(range(IMAGES))
    assert trouble == ""
    expected, _ = one.read(range(IMAGES))
    assert all(torch.equal(crop.pixels, expected[k].pixels) for k, crop in known.items())
    assert len(known) == IMAGES  # nobody's records were lost
    assert [path.name for path in (tmp_path / "two").iterdir()] == [one.path.name]


def test_who_makes_the_file_last_loses_no_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, _ = filled(tmp_path)
    crops, _ = cache.read([0])
    before = cache.path.read_bytes()
    monkeypatch.setattr(Path, "exists", lambda path: False)  # seen before the other made it
    assert cache.write(crops) == ""
    assert cache.path.read_bytes() == before


def test_a_half_written_record_counts_as_absent(tmp_path: Path) -> None:
    """The check is written last; zeros there are no damage."""
    cache, _ = filled(tmp_path)
    overwrite(cache.path, HEADER_BYTES, bytes(16))
    known, trouble = cache.read([0, 1])
    assert (list(known), trouble) == ([1], "")


def test_unreadable_images_are_not_cached(tmp_path: Path) -> None:
    data = CountedReads(broken=frozenset({3}))
    plain = run(data, tmp_path / "plain", None, on_unreadable="skip")
    for name in ("first", "second"):
        run(data, tmp_path / name, tmp_path / "cache", on_unreadable="skip")
        assert sharing_runs.rows(tmp_path / name) == sharing_runs.rows(plain)


def photographs(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for label in ("a", "b", "c"):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(20):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:02d}.bmp")
    return folder


def test_images_that_have_changed_are_noticed(tmp_path: Path) -> None:
    """Files of the same size have the same fingerprint."""
    network = load_classifier(ChannelMeans(), preprocessing=CROPS)
    photos = photographs(tmp_path / "photos", 0)
    chosen = settings(tmp_path / "cache", protocol=None)
    source = LiveImages(network, open_dataset(photos), QUICK, chosen)
    stored = noctule.evaluation.loop.run_images(source, out=tmp_path / "run")
    photographs(photos, 1)
    changed = LiveImages(network, open_dataset(photos), QUICK, chosen)
    assert changed.identity == source.identity
    with pytest.raises(InputError, match="have changed since"):
        changed.check()
    with pytest.raises(InputError, match="have other pixels"):  # the cache would hide it
        refuse_other_images(stored, changed)


def test_worker_processes_use_it_as_well(tmp_path: Path) -> None:
    network = load_classifier(ChannelMeans(), preprocessing=CROPS)
    photos = photographs(tmp_path / "photos", 0)
    folders = []
    for name, workers, cache in (("a", 0, None), ("b", 2, "cache"), ("c", 2, "cache")):
        chosen = Settings(device="cpu", batch_size=8, self_check=False, workers=workers,
                          cache=cache and tmp_path / cache)  # fmt: skip
        evaluate(network, photos, QUICK, out=tmp_path / name, settings=chosen)
        folders.append(sharing_runs.rows(tmp_path / name))
    assert folders[0] == folders[1] == folders[2]
    known, trouble = CropCache(tmp_path / "cache", open_dataset(photos), CROPS).read(range(60))
    assert (len(known), trouble) == (60, "")
