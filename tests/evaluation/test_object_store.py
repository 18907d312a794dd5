"""Runs in a real object store: an S3 server on this machine, which also fails."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

import noctule
import sharing_runs
from noctule import InputError, OutputError
from noctule.arguments import run_path
from noctule.evaluation import lockstep
from noctule.store import RunStore, leases
from noctule.store.status import run_status
from noctule.store.writers import failures_of, writers_of
from object_store import (
    BUCKET,
    BUSY,
    DENIED,
    FULL,
    NO_CONDITIONS,
    ObjectStore,
    Refusal,
    object_store,
)
from sharing_runs import quick_leases, remote_rows, rows, start, wait_until
from stripes import Stripes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals differ")
Cli = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    for name in ("BEAT_S", "LIMIT_S"):
        monkeypatch.setattr(leases, name, getattr(leases, name))
    monkeypatch.setattr(lockstep, "POLL_S", 0.2)
    quick_leases()
    yield server
    server.refuse = lambda method, path: None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rows of one process on a disk."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    sharing_runs.run(folder)
    return rows(folder)


def exists(address: str, name: str) -> bool:
    found: bool = fsspec.filesystem("s3", use_listings_cache=False).exists(f"{address}/{name}")
    return found


def names(address: str) -> set[str]:
    found = fsspec.filesystem("s3", use_listings_cache=False).find(address)
    return {name.split("/")[2] for name in found}


def on_put(refusal: Refusal, ending: str) -> Callable[[str, str], Refusal | None]:
    """Refuse to write what ends so."""
    return lambda method, path: refusal if method == "PUT" and path.endswith(ending) else None


def test_a_run_in_a_store_has_the_rows_of_a_disk(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/whole"
    run = sharing_runs.run(address)
    assert remote_rows(address) == undisturbed
    assert names(address) == {"SHA256SUMS", "provenance.jsonl", "rows", "run.json"}
    assert run_status(address).slices == (3, 3)
    assert noctule.rows(address).equals(run.rows())


def test_refusals_are_errors_before_the_run(store: ObjectStore) -> None:
    address = f"s3://{BUCKET}/refused"
    store.refuse = lambda method, path: DENIED
    with pytest.raises(InputError, match=r"access is denied: Forbidden\. Check the address"):
        sharing_runs.run(address)
    with pytest.raises(InputError, match="access is denied"):
        run_status(address)
    store.refuse = lambda method, path: DENIED if method == "PUT" else None
    calls = []
    with pytest.raises(OutputError, match="cannot be written: access is denied"):
        sharing_runs.run(address, progress=lambda *numbers: calls.append(numbers))
    store.refuse = on_put(NO_CONDITIONS, "/run.json")
    with pytest.raises(OutputError, match="A header is not implemented"):
        sharing_runs.run(address, progress=lambda *numbers: calls.append(numbers))
    assert calls == []
    with pytest.raises(InputError, match="bucket does not exist"):
        sharing_runs.run("s3://no-such-bucket/run")


def test_a_store_that_fills_up_keeps_what_is_finished(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/full"
    store.refuse = on_put(FULL, "rows/000001.parquet")
    with pytest.raises(OutputError) as caught:
        sharing_runs.run(address)
    text = (
        "rows/000001.parquet: cannot be written: the store fails: .*The drive is full. 1 of 3"
    )
    caught.match(text)
    assert "The drive is full" in failures_of(run_path(address, "run"))[0]["error"]
    store.refuse = lambda method, path: None
    sharing_runs.run(address)
    assert remote_rows(address) == undisturbed


def test_a_slice_cut_short_is_named_and_computed_again(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/cut"
    sharing_runs.run(address)
    fs, name = fsspec.filesystem("s3"), f"{address}/rows/000001.parquet"
    fs.pipe_file(name, fs.cat_file(name)[:-100])
    with pytest.raises(InputError, match=r"000001.parquet: is damaged.*delete it and rerun"):
        sharing_runs.run(address)
    fs.rm_file(name)
    sharing_runs.run(address)
    assert remote_rows(address) == undisturbed


@pytest.mark.slow
def test_a_store_that_is_slow_and_asks_for_patience(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    """Each request takes its time, and every third is to be made again."""
    address, requests = f"s3://{BUCKET}/slow", itertools.count()

    def refuse(method: str, path: str) -> Refusal | None:
        time.sleep(0.1)
        return BUSY if next(requests) % 3 == 2 and method == "PUT" else None

    store.refuse = refuse
    sharing_runs.run(address)
    store.refuse = lambda method, path: None
    assert next(requests) > 20
    assert remote_rows(address) == undisturbed
    assert failures_of(run_path(address, "run")) == []


@pytest.mark.slow
def test_two_processes_write_one_run(store: ObjectStore, undisturbed: dict[str, bytes]) -> None:
    address = f"s3://{BUCKET}/shared"
    with start(address, sleep_s=0.05) as other:
        try:
            wait_until(lambda: exists(address, ".writers/000000.lock"))
            run = sharing_runs.run(address)
            assert other.wait(60) == 0
        finally:
            other.kill()
    assert remote_rows(address) == undisturbed
    assert len(run.starts()) == 2
    assert failures_of(run.folder) == []
    assert names(address) == {"SHA256SUMS", "provenance.jsonl", "rows", "run.json"}


@pytest.mark.slow
def test_a_killed_process_holds_nothing(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/killed"
    with start(address, sleep_s=0.05) as other:
        wait_until(lambda: exists(address, ".writers/000001.lock"))
        wait_until(lambda: exists(address, "rows/000000.parquet"))
        other.kill()
    assert exists(address, ".writers/000001.lock")
    sums = []

    def progress(done: int, total: int) -> None:
        sums.append(done)

    began_s = time.monotonic()
    run = sharing_runs.run(address, progress=progress)
    assert time.monotonic() - began_s < 30
    assert remote_rows(address) == undisturbed
    assert [one["pid"] for one in failures_of(run.folder)] == [other.pid]
    table = run.rows().to_pandas()
    assert not table.duplicated(["image_id", "condition"]).any()
    assert writers_of(run.folder) == []


@pytest.mark.slow
def test_a_process_that_was_stopped_does_no_harm(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/stopped"
    with start(address, sleep_s=0.05) as other:
        try:
            wait_until(lambda: exists(address, ".writers/000001.lock"))
            other.send_signal(signal.SIGSTOP)
            time.sleep(leases.LIMIT_S + 1)
            sharing_runs.run(address)
            other.send_signal(signal.SIGCONT)
            assert other.wait(60) == 0
        finally:
            other.kill()
    assert remote_rows(address) == undisturbed


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(
    store: ObjectStore, undisturbed: dict[str, bytes]
) -> None:
    address = f"s3://{BUCKET}/outage"
    code = "import sys; from sharing_runs import run\ntry:\n    run(sys.argv[1])\n"
    code += "except Exception as error:\n    sys.exit(f'{type(error).__name__}: {error}')"
    with subprocess.Popen(
        [sys.executable, "-c", code, address],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.05"},
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        try:
            wait_until(lambda: exists(address, "rows/000000.parquet"))
            store.stop()
            _, err = other.communicate(timeout=120)
        finally:
            other.kill()
    assert other.returncode == 1
    assert "Could not connect to the endpoint" in err
    assert "rerun the same command to resume" in err
    with pytest.raises(InputError, match=r"the store fails: Could not connect"):
        RunStore.open(address)
    store.start()
    before = dict(RunStore.open(address).files())["rows/000000.parquet"]
    time.sleep(leases.LIMIT_S + 1)
    sharing_runs.run(address)
    assert dict(RunStore.open(address).files())["rows/000000.parquet"] == before
    assert remote_rows(address) == undisturbed


@pytest.mark.slow
def test_the_command_line_with_two_processes_and_under_torchrun(
    store: ObjectStore, tmp_path: Path, noctule_cli: Cli
) -> None:
    stripes = Stripes(sharing_runs.IMAGES)
    images = np.stack([np.asarray(stripes.read(k)) for k in range(len(stripes))])
    np.savez(tmp_path / "stripes.npz", images=images, labels=stripes.labels)
    text = 'name = "q"\ntitle = "Q"\nsource = "x"\ncorruptions = ["shear", "gaussian"]\n'
    (tmp_path / "b.toml").write_text(text)
    line = ["evaluate", "sharing_runs:network", "stripes.npz", "--benchmark", "b.toml"]
    line += ["--batch-size", "16", "--no-self-check", "--device", "cpu"]
    assert noctule_cli(*line, "--out", tmp_path / "run")[0] == 0
    address = f"s3://{BUCKET}/two"
    code, out, err = noctule_cli(*line, "--device", "cpu", "--out", address)
    assert code == 0, err
    assert f"Write a report with: noctule report {address}" in out
    assert remote_rows(address) == rows(tmp_path / "run")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "noctule", *line, "--out", f"s3://{BUCKET}/ranks"],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.02"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Rows and provenance") == 1
    assert remote_rows(f"s3://{BUCKET}/ranks") == rows(tmp_path / "run")
