"""Data in a real object store: an S3 server on this machine, which also fails."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from archives import tar_of
from noctule import InputError, evaluate
from noctule.data import open_dataset
from noctule.errors import MachineError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from noctule.remote import RemoteError
from noctule.store import RunStore
from object_store import BUCKET, DENIED, ObjectStore, Refusal, object_store
from photos import noise_image, png_bytes, write
from stripes import LENIENT, QUICK, ChannelMeans

IMAGES = 120
ADDRESS = f"s3://{BUCKET}/data/set"


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(server: ObjectStore) -> Iterator[ObjectStore]:
    yield server
    server.refuse = lambda method, path: None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, server: ObjectStore) -> Path:
    """Class folders on a disk, and in the store."""
    root: Path = tmp_path_factory.mktemp("data") / "set"
    for index in range(IMAGES):
        write(root / f"{index % 3}" / f"{index:03d}.png", png_bytes(noise_image(40, 32, index)))
    fsspec.filesystem("s3").put(f"{root}/", f"{BUCKET}/data/set/", recursive=True)
    return root


def run(spec: str | Path, out: Path) -> RunStore:
    return evaluate(ChannelMeans(), spec, QUICK, out=out, settings=LENIENT).run


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_in_a_store_is_that_of_a_disk(
    folder: Path, store: ObjectStore, workers: int
) -> None:
    dataset, local = open_dataset(ADDRESS), open_dataset(folder)
    assert dataset.fingerprint() == local.fingerprint()
    found = load_batches(dataset, Preprocessing(), in_order(dataset, 20), workers)
    expected = load_batches(local, Preprocessing(), in_order(local, 20), 0)
    assert [batch.hashes for batch in found] == [batch.hashes for batch in expected]


def test_waiting_for_a_store_is_shared_by_many_images(folder: Path, store: ObjectStore) -> None:
    dataset = open_dataset(ADDRESS)

    def wait(method: str, path: str) -> None:
        if path.endswith(".png"):
            time.sleep(0.1)

    store.refuse = wait
    start = time.perf_counter()
    for index in range(64):
        dataset.read(index)
    assert time.perf_counter() - start < 3.2  # half of what one after the other takes


def test_archives_are_copied(store: ObjectStore, tmp_path: Path) -> None:
    members = {f"{i}.{end}": data for i in range(3) for end, data in
               (("png", png_bytes(noise_image(seed=i))), ("cls", str(i).encode()))}  # fmt: skip
    file = tar_of(tmp_path / "shard.tar", members)
    fsspec.filesystem("s3").put_file(str(file), f"{BUCKET}/data/shard.tar")
    found = open_dataset(f"s3://{BUCKET}/data/shard.tar")
    assert found.fingerprint() == open_dataset(file).fingerprint()


def test_a_refusal_is_an_error_before_the_run(folder: Path, store: ObjectStore) -> None:
    with pytest.raises(InputError, match="there is nothing at this address"):
        open_dataset(f"s3://{BUCKET}/data/sets")
    with pytest.raises(InputError, match="bucket does not exist"):
        open_dataset("s3://no-such-bucket/set")
    store.refuse = lambda method, path: DENIED
    with pytest.raises(RemoteError, match=r"access is denied.*credentials"):
        open_dataset(ADDRESS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refused", "gone"])
def test_a_store_that_fails_in_a_run_loses_nothing(
    folder: Path, store: ObjectStore, tmp_path: Path, kind: str
) -> None:
    """Neither are its images counted as unreadable."""
    expected = run(folder, tmp_path / "undisturbed").rows()
    requests = itertools.count()

    def fail(method: str, path: str) -> Refusal | None:
        if not path.endswith(".png") or next(requests) != IMAGES // 2:
            return None
        if kind == "refused":
            return DENIED
        threading.Thread(target=store.stop).start()
        return None

    store.refuse = fail
    # Of a store that takes requests and never answers, workers are tired before its package.
    with pytest.raises((RemoteError, MachineError), match=r"data/set|done nothing for"):
        run(ADDRESS, tmp_path / "run")
    if kind == "gone":
        store.start()
    assert run(ADDRESS, tmp_path / "run").rows().equals(expected)
