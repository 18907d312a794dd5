"""Runs in object stores, here in memory: rows as on a disk, and claims that end."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import noctule
import sharing_runs
from command_line import result_of
from noctule import InputError, OutputError
from noctule.arguments import path_like, run_path
from noctule.evaluation.machines import Processes
from noctule.evaluation.sharing import Shard
from noctule.remote import RemoteError, RemotePath
from noctule.store import RunStore, leases
from noctule.store.leases import Leases, living
from noctule.store.status import run_status
from noctule.store.writers import Writer, failures_of, writers_of
from sharing_runs import remote_rows, rows

RUN = "memory://bucket/run"
Cli = Callable[..., tuple[object, str, str]]


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """An empty store, which is left empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on a disk."""
    folder = tmp_path_factory.mktemp("disk") / "run"
    sharing_runs.run(folder)
    return folder


def copied(memory: Any, folder: Path) -> Path:
    """The objects of the run as files, as `aws s3 sync` copies them."""
    for name in memory.find("bucket/run"):
        path = folder / name.removeprefix("/bucket/run/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(memory.cat_file(name))
    return folder


def test_rows_are_those_of_a_disk_and_either_can_be_copied(
    memory: Any, on_disk: Path, tmp_path: Path
) -> None:
    run = sharing_runs.run(RUN)
    assert str(run.folder) == RUN
    assert remote_rows(RUN) == rows(on_disk)
    assert {name.split("/")[3] for name in memory.find("bucket/run")} == {
        "SHA256SUMS", "provenance.jsonl", "rows", "run.json",
    }  # fmt: skip
    assert noctule.load_run(RUN).scores.to_dict() == noctule.load_run(on_disk).scores.to_dict()
    assert noctule.rows(RUN).num_rows == 1800
    local = copied(memory, tmp_path / "copy")
    (local / "rows" / "000001.parquet").unlink()
    again = sharing_runs.run(local)
    assert dict(again.files())["SHA256SUMS"] == dict(run.files())["SHA256SUMS"]
    assert len(again.starts()) == 2
    assert again.rows().equals(RunStore.open(on_disk).rows())
    memory.put(str(on_disk), "bucket/other", recursive=True)
    assert noctule.rows("memory://bucket/other").equals(again.rows())
    memory.rm_file("bucket/other/rows/000002.parquet")
    with pytest.raises(InputError, match=r"SHA256SUMS: is one file, as on a disk"):
        sharing_runs.run("memory://bucket/other")


def test_an_unfinished_run_is_resumed(memory: Any, on_disk: Path) -> None:
    first = sharing_runs.run(RUN)
    memory.rm_file("bucket/run/rows/000001.parquet")
    before = memory.store["/bucket/run/rows/000000.parquet"]
    assert first.missing_slices() == [1]
    assert run_status(RUN).slices == (2, 3)
    sharing_runs.run(RUN)
    assert memory.store["/bucket/run/rows/000000.parquet"] is before
    assert remote_rows(RUN) == rows(on_disk)


def test_commands_read_addresses(noctule_cli: Cli, tmp_path: Path, on_disk: Path) -> None:
    sharing_runs.run(RUN)
    code, out, err = noctule_cli("status", RUN)
    assert (code, err) == (0, "")
    assert f"{RUN}: 600 of 600 images" in out
    assert RUN in noctule_cli("metrics", RUN)[1]
    assert result_of(noctule_cli("metrics", RUN, "--json")[1])["run"] == RUN
    code, out, err = noctule_cli("compare", on_disk, RUN, "--reference", RUN)
    assert code == 0, err
    assert RUN in result_of(noctule_cli("compare", on_disk, RUN, "--json")[1])["run_b"]
    code, out, err = noctule_cli("report", RUN, on_disk, "--samples", "0", "--out", "r.html")
    assert code == 0, err
    assert RUN in (tmp_path / "r.html").read_text()
    assert noctule_cli("report", RUN, f"{RUN}/")[0] == 2
    code, out, err = noctule_cli("report", RUN, "memory://bucket/none")
    assert "memory://bucket/none: is not a run folder: it has no run.json" in err
    code, out, err = noctule_cli("leaderboard", "build", RUN, "--out", "site")
    assert code == 2
    assert "is an address, but a file or folder is needed" in " ".join(err.split())


# What cannot be kept


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sftp://host/run", "files of sftp are not written whole or not at all. Use s3://"),
        ("https://host/run", "files of https are not written whole"),
        ("s3://bucket/../run", "is not an address. Leave out . and .."),
        ("s3://bucket//run", "is not an address"),
        ("gs://bucket/run", "needs the package gcsfs, which is not installed"),
    ],
)
def test_other_addresses_are_refused_by_name(
    address: str, words: str, noctule_cli: Cli
) -> None:
    with pytest.raises(InputError) as caught:
        sharing_runs.run(address)
    assert caught.value.where == "out"
    assert address in str(caught.value)
    assert words in str(caught.value)
    code, out, _ = noctule_cli("status", address)
    assert (code, out) == (2, "")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"needs the package s3fs.*'noctule\[remote\]'"):
        run_path("s3://bucket/run", "out")


def test_paths_and_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("s3://bucket/run", "s3://bucket/run/"):
        for value in (text, Path(text)):
            assert run_path(value, "out") == RemotePath("s3", "bucket/run")
    assert run_path("file:///data/run", "out") == Path("/data/run")
    assert run_path("runs/mine", "out") == Path("runs/mine")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)  # a folder of this name is one
    assert run_path("s3://bucket", "out") == Path("s3://bucket")
    with pytest.raises(InputError, match="is an address, but a file or folder is needed"):
        path_like("s3://bucket/run", "data")


def test_several_processes_do_not_share_the_memory_of_one() -> None:
    def reopen(device: str) -> Any:
        raise AssertionError

    with pytest.raises(InputError, match=r"memory://bucket/run: is the memory of one process"):
        Processes(reopen, ["cpu", "cpu"]).fill(run_path(RUN, "out"), None, Shard(), None)  # type: ignore[arg-type]


def test_another_run_is_refused_also_if_it_starts_at_the_same_moment(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing_runs.run(RUN)
    other = dict(json.loads(memory.cat_file("bucket/run/run.json")), seed=7)
    with pytest.raises(InputError, match="holds another run: seed is 0 there and 1 here"):
        sharing_runs.run(RUN, settings=noctule.Settings(device="cpu", batch_size=16, seed=1))
    memory.rm("bucket/run", recursive=True)
    mkdir = RemotePath.mkdir

    def faster(path: RemotePath, *options: Any, **more: Any) -> None:
        if path.name == "rows":
            memory.pipe_file("bucket/run/run.json", json.dumps(other).encode())
        mkdir(path, *options, **more)

    monkeypatch.setattr(RemotePath, "mkdir", faster)
    with pytest.raises(InputError, match="holds another run: seed is 7 there and 0 here"):
        sharing_runs.run(RUN)
    assert not memory.find("bucket/run/rows")


def test_what_is_no_run_is_not_written_into(memory: Any) -> None:
    memory.pipe_file("bucket/run/notes.txt", b"mine")
    with pytest.raises(InputError, match=r"is not empty and not a run folder .*notes.txt"):
        sharing_runs.run(RUN)
    memory.pipe_file("bucket/file", b"mine")
    with pytest.raises(InputError, match="is a file, not a folder"):
        sharing_runs.run("memory://bucket/file")


# Damage and failures


def test_damage_is_named(memory: Any) -> None:
    run = sharing_runs.run(RUN)
    name = "/bucket/run/rows/000001.parquet"
    whole = memory.cat_file(name)
    for data, words in ((whole[:-100], "its SHA-256 hash"), (b"", "its SHA-256 hash")):
        memory.pipe_file(name, data)
        with pytest.raises(InputError, match=f"{RUN}/rows/000001.parquet: is damaged: {words}"):
            sharing_runs.run(RUN)
    memory.pipe_file(name, whole)
    memory.rm_file("bucket/run/SHA256SUMS/000001.parquet")
    with pytest.raises(InputError, match="there is no record of its SHA-256 hash"):
        run.rows()


class Fault(Exception):
    """What a package raises that is no OSError."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Fault("no route to host"), "the store fails: no route to host"),
        (PermissionError("Forbidden"), "access is denied: Forbidden"),
        (OSError(28, "No space left"), "the store fails: No space left"),
    ],
)
def test_a_store_that_fails_in_mid_run(
    error: Exception, words: str, on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe_file = MemoryFileSystem.pipe_file

    def fails(self: Any, path: str, *rest: Any, **options: Any) -> None:
        if path.endswith("rows/000001.parquet"):
            raise error
        pipe_file(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", fails)
        with pytest.raises(OutputError) as caught:
            sharing_runs.run(RUN)
    assert caught.value.where == f"{RUN}/rows/000001.parquet"
    assert f"cannot be written: {words}. 1 of 3 slices are finished and kept" in str(
        caught.value
    )
    (failure,) = failures_of(run_path(RUN, "out"))
    assert words in failure["error"]
    assert writers_of(run_path(RUN, "out")) == []
    sharing_runs.run(RUN)
    assert remote_rows(RUN) == rows(on_disk)


@pytest.mark.parametrize("name", ["ls", "info", "cat_file", "cat_ranges"])
def test_a_store_that_refuses_is_an_error_before_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: Any, **options: Any) -> Any:
        raise PermissionError("Forbidden")

    sharing_runs.run(RUN)
    monkeypatch.setattr(MemoryFileSystem, name, refuses)
    with pytest.raises(RemoteError, match=r"access is denied: Forbidden. Check the address"):
        sharing_runs.run(RUN)


# Claims


@pytest.fixture
def folder() -> RemotePath:
    found = run_path(RUN, "out")
    assert isinstance(found, RemotePath)
    return found


def test_a_claim_is_held_by_one_process_and_given_back(folder: RemotePath) -> None:
    first, second = Writer(folder, "cpu"), Writer(folder, "cpu")
    first.join()
    second.join()
    assert first.claim(3)
    assert not second.claim(3)
    assert second.claim(4)
    first.release(3)
    assert second.claim(3)
    assert not first.leave()
    assert [writer.content["device"] for writer in writers_of(folder)] == ["cpu"]
    assert second.leave()
    assert failures_of(folder) == []


def test_a_claim_ends_with_the_signs_of_life_of_its_holder(
    folder: RemotePath, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LIMIT_S", 0.4)
    dead, alive = Writer(folder, "cpu"), Writer(folder, "cpu")
    dead.join()
    assert dead.claim(3)
    dead._locks.end()  # as a kill does: its record and its claim stay
    monkeypatch.setattr(leases, "BEAT_S", 0.05)
    alive.join()
    assert not alive.claim(3)
    time.sleep(0.6)
    assert alive.claim(3)
    assert [writer.is_alive for writer in writers_of(folder)].count(True) == 1
    assert alive.leave()
    assert "it was killed" in failures_of(folder)[0]["error"]
    assert memory.find("bucket/run/.writers") == ["/bucket/run/.writers/000003.lock"]


def test_life_is_measured_by_the_clock_of_the_store(
    folder: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"a.json": 1000.0, "b.json": 1000.0 - leases.LIMIT_S - 1, "000001.lock": 5000.0}
    monkeypatch.setattr(RemotePath, "times", lambda self: times)
    monkeypatch.setattr("time.time", lambda: 1e9)  # a machine whose clock is wrong
    assert living(folder) == {"a.json": True, "b.json": False}
    assert living(folder, now_s=2000) == {"a.json": False, "b.json": False}


def test_signs_of_life_outlast_a_failure(
    folder: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.02)
    record = folder / ".writers" / "00.json"
    held = Leases(record, b"{}")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", lambda *_, **__: 1 / 0)
        time.sleep(0.1)
    record.unlink()  # another process has taken this one for dead
    sharing_runs.wait_until(record.is_file, 5)
    held.end()
    record.unlink()
    time.sleep(0.1)
    assert not record.exists()


def test_a_local_copy_is_read_with_torn_lines(on_disk: Path, tmp_path: Path) -> None:
    shutil.copytree(on_disk, tmp_path / "run")
    sums = tmp_path / "run" / "SHA256SUMS"
    lines = sums.read_text().splitlines()
    sums.unlink()
    sums.mkdir()
    for number, line in enumerate(lines):
        (sums / f"{number:06d}.parquet").write_text(line)  # its end is lost
    assert RunStore.open(tmp_path / "run").rows().num_rows == 1800
