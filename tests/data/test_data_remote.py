"""Data at addresses of stores: what the same files on a disk give, and what stores do wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from archives import tar_of, zip_of
from noctule import remote
from noctule.data import open_dataset
from noctule.data.sources import remote as source
from noctule.errors import InputError, NoctuleWarning, OutputError, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from photos import noise_image, png_bytes, write

NAMES = ["b/1.png", "b/10.png", "a/deep/z.png", "a/deep-er/y.png", "a/deep/er/x.png", "ä/é.png"]
ROOT = "memory://bucket/data"
Cli = Callable[..., tuple[object, str, str]]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty store in memory, and a cache folder."""
    monkeypatch.setenv("NOCTULE_CACHE_DIR", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        write(tmp_path / "set" / name, png_bytes(noise_image(seed=index)))
    return tmp_path / "set"


def put(memory: Any, local: Path) -> str:
    """Copy a file or folder to the store; its address."""
    for file in sorted(local.rglob("*")) if local.is_dir() else [local]:
        if file.is_file():
            memory.pipe_file(f"bucket/data/{file.relative_to(local.parent)}", file.read_bytes())
    return f"{ROOT}/{local.name}"


def assert_same(address: str, local: str | Path, **options: Any) -> None:
    found, expected = open_dataset(address, **options), open_dataset(local, **options)
    assert found.ids == expected.ids
    assert found.class_names == expected.class_names
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.fingerprint() == expected.fingerprint()
    for index in (len(found) - 1, 0, 1):
        assert found.read(index).tobytes() == expected.read(index).tobytes()
    assert found.source is not None
    again = open_dataset(found.source["spec"], **options)
    assert again.fingerprint() == found.fingerprint()


def test_class_folders_are_those_of_a_disk(folder: Path, store: Any) -> None:
    write(folder / "a" / "notes.txt", b"text")
    write(folder / "b" / ".hidden.png")
    address = put(store, folder)
    with pytest.warns(NoctuleWarning, match="set: left out: 1 files") as warned:
        assert_same(address, folder)
    assert any(str(one.message).startswith(f"{address}: left out") for one in warned)


def test_names_of_common_folders_have_their_parent_in_front(folder: Path, store: Any) -> None:
    renamed = folder.parent / "birds" / "val"
    renamed.parent.mkdir()
    folder.rename(renamed)
    put(store, renamed.parent)
    assert_same(f"{ROOT}/birds/val", renamed)
    with pytest.raises(InputError, match=r"named like splits.*val.*birds/val"):
        open_dataset(f"{ROOT}/birds")


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_fetched_in_order_and_ahead(
    folder: Path, store: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, local = open_dataset(put(store, folder)), open_dataset(folder)
    calls: list[int] = []
    read_all = remote.read_all
    monkeypatch.setattr(
        source,
        "read_all",
        lambda paths, most: calls.append(len(paths)) or read_all(paths, most),
    )
    found = list(load_batches(dataset, Preprocessing(), in_order(dataset, 2), workers))
    expected = load_batches(local, Preprocessing(), in_order(local, 2), 0)
    assert [batch.hashes for batch in found] == [batch.hashes for batch in expected]
    if workers == 0:
        assert calls == [len(NAMES)]  # all at once
    assert pickle.loads(pickle.dumps(dataset)).read(1).tobytes() == local.read(1).tobytes()


def test_what_is_fetched_ahead_is_bounded(
    folder: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(put(store, folder))
    monkeypatch.setattr(source, "MAX_AHEAD_BYTES", int(dataset.sizes[:2].sum()))  # type: ignore[attr-defined]
    dataset.read(0)
    assert sorted(dataset._fetched) == [1]  # type: ignore[attr-defined]
    monkeypatch.setattr(source, "MAX_AHEAD_BYTES", 1)
    dataset.read(5)
    assert not dataset._fetched  # type: ignore[attr-defined]


def test_archives_tables_and_arrays_are_copied_once(
    folder: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(tmp_path / "set.zip", folder)
    shard = {f"{i}.{end}": data for i in range(3) for end, data in
             (("png", png_bytes(noise_image(seed=i))), ("cls", str(i).encode()))}  # fmt: skip
    tar_of(tmp_path / "shards" / "s-00.tar", {k: v for k, v in shard.items() if k[0] != "2"})
    tar_of(tmp_path / "shards" / "s-01.tar", {k: v for k, v in shard.items() if k[0] == "2"})
    rows = {"image": [png_bytes(noise_image(seed=i)) for i in range(3)], "label": [0, 1, 0]}
    parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.array([0, 1, 1]))
    for local in (
        archive,
        tmp_path / "rows.parquet",
        tmp_path / "images.npz",
        tmp_path / "shards",
    ):
        assert_same(put(store, local), local)
    shards = "shards/s-{00..01}.tar"
    assert_same(f"{ROOT}/{shards}", f"{tmp_path}/{shards}")
    copies = []
    monkeypatch.setattr(remote.RemotePath, "copy_to", lambda *a: copies.append(a))
    open_dataset(f"{ROOT}/set.zip")
    assert not copies
    store.pipe_file("bucket/data/set.zip", b"another")
    with pytest.raises(InputError, match="is not a zip archive"):
        open_dataset(f"{ROOT}/set.zip")
    assert len(copies) == 1


def test_a_flat_folder_takes_labels_of_a_disk(store: Any, tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "flat" / f"{index}.png", png_bytes(noise_image(seed=index)))
    labels = tmp_path / "labels.txt"
    labels.write_text("0.png cat\n1.png dog\n2.png cat\n")
    assert_same(put(store, tmp_path / "flat"), tmp_path / "flat", labels_file=labels)
    with pytest.raises(InputError, match="has labels of its own"):
        open_dataset(
            put(store, zip_of(tmp_path / "f.zip", tmp_path / "flat")), labels_file=labels
        )


def test_a_local_address_is_a_path(folder: Path) -> None:
    assert open_dataset(f"file://{folder}").fingerprint() == open_dataset(folder).fingerprint()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://bucket/none", "there is nothing at this address"),
        ("memory://bucket/../etc", "is not an address"),
        ("sftp://host/folder", "noctule does not read addresses of sftp. Use s3://"),
        ("https://a.org/set.zip", "noctule does not read addresses of https"),
        ("memory://bucket/data/list.csv", "whose paths mean nothing in a store"),
        ("memory://bucket/data/notes.txt", "is no file of images"),
        ("memory://bucket/data/loose", "contains no images in class folders"),
        ("memory://bucket/data/set?split=val", "takes no options, but has 'split'"),
        ("memory://bucket/data/s-{0..1}.tar", "s-0.tar"),
    ],
)
def test_a_bad_address_is_an_error_before_the_run(
    address: str, message: str, folder: Path, store: Any, noctule_cli: Cli
) -> None:
    put(store, folder)
    for name in ("list.csv", "notes.txt", "loose/1.png"):
        store.pipe_file(f"bucket/data/{name}", b"path,label\n")
    code, _, err = noctule_cli("evaluate", "tiny", address, "--dry-run")
    assert code == 2
    assert "Traceback" not in err
    # A path has one slash less, and no options.
    for spec in (address, *([] if "?" in address else [Path(address)])):
        with pytest.raises(InputError, match=message):
            open_dataset(spec)


def test_an_object_that_is_gone_or_empty_is_an_unreadable_image(
    folder: Path, store: Any
) -> None:
    write(folder / "b" / "2.png", b"")
    address = put(store, folder)
    dataset = open_dataset(address)
    with pytest.raises(UnreadableImageError, match=r"data/set/b/2\.png"):
        dataset.read(dataset.ids.index("b/2.png"))
    store.rm_file("bucket/data/set/b/10.png")
    with pytest.raises(UnreadableImageError, match=r"b/10\.png"):
        dataset.read(dataset.ids.index("b/10.png"))
    assert dataset.read(dataset.ids.index("b/1.png"))


def test_a_store_that_fails_is_not_an_unreadable_image(
    folder: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(put(store, folder))

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the connection was reset")

    monkeypatch.setattr(type(store), "cat_ranges", fail)
    with pytest.raises(remote.RemoteError, match="the store fails: the connection was reset"):
        dataset.read(0)
    with pytest.raises(remote.RemoteError, match="reset"):
        list(load_batches(dataset, Preprocessing(), in_order(dataset, 2), 0))


def test_a_full_disk_leaves_no_half_copy(
    folder: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put(store, zip_of(tmp_path / "set.zip", folder))

    def fill(path: Any, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(remote.RemotePath, "copy_to", fill)
        with pytest.raises(OutputError, match=r"No space left on device.*NOCTULE_CACHE_DIR"):
            open_dataset(address)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert_same(address, tmp_path / "set.zip")
