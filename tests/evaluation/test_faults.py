"""Faults of a run on a disk, for real: afterwards its rows are those of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import sharing_runs
from noctule.store import RunStore
from noctule.store.writers import failures_of, writers_of
from sharing_runs import rows, start, wait_until
from stripes import Stripes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and file systems of Linux"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
FINISHED = ["SHA256SUMS", "failures.jsonl", "provenance.jsonl", "rows", "run.json"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images and the benchmark of `sharing_runs.run`, as files."""
    folder, stripes = tmp_path_factory.mktemp("data"), Stripes(sharing_runs.IMAGES)
    images = np.stack([np.asarray(stripes.read(k)) for k in range(len(stripes))])
    np.savez(folder / "stripes.npz", images=images, labels=stripes.labels)
    text = 'name = "q"\ntitle = "Q"\nsource = "x"\ncorruptions = ["shear", "gaussian"]\n'
    (folder / "b.toml").write_text(text)
    return folder


def command(data: Path, out: Path) -> list[str]:
    return [
        "-m", "noctule", "evaluate", "sharing_runs:network", str(data / "stripes.npz"),
        "--benchmark", str(data / "b.toml"), "--out", str(out), "--device", "cpu",
        "--batch-size", "16", "--no-self-check",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rows of one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run([sys.executable, *command(data, out)], capture_output=True, check=True)
    return rows(out)


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_worker_of_torchrun_is_killed(
    restarts: int, data: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """torchrun ends the others, and with restarts starts all again."""
    out = tmp_path / "run"
    line = [*TORCHRUN, "--max-restarts", str(restarts), *command(data, out)]
    environment = {**os.environ, "NOCTULE_TEST_SLEEP_S": "0.1"}
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            wait_until(lambda: len(list(out.glob(".writers/0*.lock"))) == 2)
            victim = int(writers_of(out)[0].content["pid"])
            os.kill(victim, signal.SIGKILL)
            _, err = program.communicate(timeout=150)
        finally:
            program.kill()
    assert (program.returncode == 0) == (restarts > 0), err
    if not restarts:
        subprocess.run([*TORCHRUN, *command(data, out)], capture_output=True, check=True)
    assert rows(out) == undisturbed
    assert victim in [one["pid"] for one in failures_of(out)]
    table = RunStore.open(out).rows().to_pandas()
    assert len(table) == 3 * sharing_runs.IMAGES
    assert not table.duplicated(["image_id", "condition"]).any()
    assert sorted(path.name for path in out.iterdir()) == FINISHED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs the rights of root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_keeps_what_is_finished(
    data: Path, small_disk: Path, undisturbed: dict[str, bytes]
) -> None:
    out = small_disk / "run"
    filling = small_disk / "filling"
    program = subprocess.Popen(
        [sys.executable, *command(data, out)],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.02"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            wait_until((out / "rows" / "000000.parquet").exists)
            fill(filling)
            _, err = program.communicate(timeout=120)
        finally:
            program.kill()
    words = " ".join(err.split())
    assert program.returncode == 2
    assert "cannot be written: No space left on device" in words
    assert "1 of 3 slices are finished and kept: fix this, and rerun the same command" in words
    assert "Traceback" not in err
    assert [path.name for path in (out / "rows").iterdir()] == ["000000.parquet"]
    first = (out / "rows" / "000000.parquet").stat().st_mtime_ns
    filling.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    subprocess.run([sys.executable, *command(data, out)], capture_output=True, check=True)
    assert rows(out) == undisturbed
    assert (out / "rows" / "000000.parquet").stat().st_mtime_ns == first


def test_two_starts_on_one_folder_at_the_same_moment(tmp_path: Path) -> None:
    sharing_runs.run(tmp_path / "alone")
    out = tmp_path / "run"
    programs = [start(out, sleep_s=0.05) for _ in range(2)]
    try:
        wait_until(lambda: len(list(out.glob(".writers/0*.lock"))) == 2)
        assert [program.wait(120) for program in programs] == [0, 0]
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert rows(out) == rows(tmp_path / "alone")
    assert failures_of(out) == []
    assert {one["pid"] for one in writers_of(out)} == set()


def test_a_slice_that_is_cut_short_while_others_read(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """By `truncate` on the disk, in mid-run: the run ends, names the file, and is mended."""
    out = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, *command(data, out)],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.05"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            first = out / "rows" / "000000.parquet"
            wait_until(first.exists)
            os.truncate(first, first.stat().st_size - 100)
            out_text, err = program.communicate(timeout=120)
        finally:
            program.kill()
    assert program.returncode == 2
    assert out_text == ""
    assert "000000.parquet: is damaged" in " ".join(err.split())
    first.unlink()
    subprocess.run([sys.executable, *command(data, out)], capture_output=True, check=True)
    assert rows(out) == undisturbed
