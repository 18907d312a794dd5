"""Several processes on one run: the rows are those of one process, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import sharing_runs
from command_line import result_of
from noctule import InputError
from noctule.benchmarks import load_benchmark
from noctule.evaluation import lockstep, loop
from noctule.evaluation.machines import chosen_devices
from noctule.evaluation.settings import Settings
from noctule.evaluation.sharing import Claims, Rank, Shard, launched_rank
from noctule.evaluation.sources import LiveImages
from noctule.models import load_classifier
from noctule.store import RunStore
from noctule.store.status import run_status
from noctule.store.writers import Writer, exclusive, failures_of, writers_of
from sharing_runs import rows, start, wait_until
from stripes import LENIENT, QUICK, ChannelMeans, Stripes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals differ")
FINISHED = ["SHA256SUMS", "provenance.jsonl", "rows", "run.json"]
Cli = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rows of one process."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    sharing_runs.run(folder)
    assert sorted(path.name for path in folder.iterdir()) == FINISHED
    return rows(folder)


class Command:
    """The same run on a CPU by the command line, on files in place of a `Dataset`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        stripes = Stripes(sharing_runs.IMAGES)
        images = np.stack([np.asarray(stripes.read(k)) for k in range(len(stripes))])
        np.savez(folder / "stripes.npz", images=images, labels=stripes.labels)
        text = 'name = "q"\ntitle = "Q"\nsource = "x"\ncorruptions = ["shear", "gaussian"]\n'
        (folder / "b.toml").write_text(text)

    def __call__(self, out: Path, *options: str) -> list[str]:
        files = [str(self.folder / name) for name in ("stripes.npz", "b.toml")]
        return [
            "evaluate", "sharing_runs:network", files[0], "--benchmark", files[1], "--out",
            str(out / "run"), "--device", "cpu", "--batch-size", "16", "--no-self-check",
            *options,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def by_command(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rows of one process that the command line started."""
    folder = tmp_path_factory.mktemp("by_command")
    subprocess.run(
        [sys.executable, "-m", "noctule", *command(folder)], capture_output=True, check=True
    )
    return rows(folder / "run")


@pytest.fixture
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "POLL_S", 0.05)


def test_a_second_start_takes_over_from_one_that_is_killed(
    tmp_path: Path, undisturbed: dict[str, bytes], quick_poll: None
) -> None:
    folder = tmp_path / "run"
    with start(folder, sleep_s=0.05) as other:
        try:
            wait_until((folder / "rows" / "000000.parquet").exists)
            wait_until((folder / ".writers" / "000001.lock").exists)
            killed = False

            def progress(done: int, total: int) -> None:
                nonlocal killed
                if not killed:  # it has claimed another slice than the first process
                    state = run_status(folder)
                    assert len(state.writers) == 2
                    assert state.slices[0] >= 1
                    assert not (folder / "rows" / "000001.parquet").exists()
                    other.send_signal(signal.SIGKILL)
                    other.wait()
                    killed = True

            run = sharing_runs.run(folder, progress=progress)
        finally:
            other.kill()
    assert killed
    assert rows(folder) == undisturbed
    assert len(run.starts()) == 2
    table = run.rows().to_pandas()
    assert not table.duplicated(["image_id", "condition"]).any()
    assert [one["pid"] for one in failures_of(folder)] == [other.pid]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FINISHED, "failures.jsonl"]
    )


def test_a_killed_process_leaves_what_it_finished(
    tmp_path: Path, undisturbed: dict[str, bytes], noctule_cli: Cli
) -> None:
    folder = tmp_path / "run"
    with start(folder, sleep_s=0.05) as other:
        try:
            wait_until((folder / ".writers" / "000001.lock").exists)
            wait_until((folder / "rows" / "000000.parquet").exists)
        finally:
            other.kill()
    assert [writer.is_alive for writer in writers_of(folder)] == [False]
    code, out, _ = noctule_cli("status", folder)
    assert code == 0
    words = " ".join(out.split())
    assert "256 of 600 images under 3 conditions (42 %), 1 of 3 slices" in words
    assert "no process is working on it" in words
    assert f"(process {other.pid}) on cpu: it was killed" in words
    first = (folder / "rows" / "000000.parquet").stat()
    sharing_runs.run(folder)
    assert (folder / "rows" / "000000.parquet").stat().st_mtime_ns == first.st_mtime_ns
    assert rows(folder) == undisturbed
    state = result_of(noctule_cli("status", folder, "--json")[1])
    assert (state["slices"], state["images"], state["writers"]) == ([3, 3], [600, 600], [])
    assert "was killed" in state["failures"][0]["error"]


def test_a_slice_cut_short_on_disk_is_named_and_computed_again(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    folder = tmp_path / "run"
    sharing_runs.run(folder)
    path = folder / "rows" / "000001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"000001.parquet: is damaged.*delete it and rerun"):
        sharing_runs.run(folder)
    path.unlink()
    sharing_runs.run(folder)
    assert rows(folder) == undisturbed


def test_a_failure_is_recorded_and_what_is_finished_kept(tmp_path: Path) -> None:
    class Failing(sharing_runs.SlowMeans):
        calls = 0

        def forward(self, images):
            self.calls += 1
            logits = super().forward(images)
            return logits.fill_(float("nan")) if self.calls > 60 else logits

    classifier = load_classifier(Failing())
    source = LiveImages(classifier, Stripes(sharing_runs.IMAGES), QUICK, LENIENT)
    with pytest.raises(InputError, match="NaN or infinite"):
        loop.run_images(source, out=tmp_path / "run")
    state = run_status(tmp_path / "run")
    assert state.slices == (1, 3)
    assert state.writers == []
    assert [one["pid"] for one in state.failures] == [os.getpid()]
    assert "NaN or infinite" in state.failures[0]["error"]


# Job arrays


def test_shards_divide_the_slices_and_the_last_one_scores(
    tmp_path: Path, command: Command, by_command: dict[str, bytes], noctule_cli: Cli
) -> None:
    line = command(tmp_path)
    code, out, err = noctule_cli(*line, "--shard", "2/2")
    assert (code, out) == (0, "")
    assert "shard 2/2 is finished; 2 of 3 slices of the run are missing" in " ".join(
        err.split()
    )
    assert [path.name for path in (tmp_path / "run/rows").iterdir()] == ["000001.parquet"]
    assert noctule_cli(*line, "--shard", "2/2")[:2] == (0, "")
    code, out, err = noctule_cli(*line, "--shard", "1/2")
    assert code == 0
    assert "mean error" in out
    assert "missing" not in err
    assert rows(tmp_path / "run") == by_command


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "3", "a/b", "-1/4", "1/9999999", "1/4/2"]
)
def test_other_shards_are_refused(text: str, noctule_cli: Cli) -> None:
    code, out, err = noctule_cli("evaluate", f"--shard={text}")
    assert (code, out) == (2, "")
    assert "is not a shard. Use 1/16 to 16/16" in " ".join(err.split())


def test_each_slice_is_in_one_shard() -> None:
    parts = [Shard(number, 16).part_of(range(100)) for number in range(1, 17)]
    assert sorted(index for part in parts for index in part) == list(range(100))
    assert {len(part) for part in parts} == {6, 7}


# Launchers and devices


def test_torchrun_shares_one_run_and_prints_the_scores_once(
    tmp_path: Path, command: Command, by_command: dict[str, bytes]
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "noctule", *command(tmp_path)],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.02"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Rows and provenance") == 1
    assert rows(tmp_path / "run") == by_command
    assert len(RunStore.open(tmp_path / "run").starts()) == 2


def test_two_processes_on_the_cpu(
    tmp_path: Path, command: Command, by_command: dict[str, bytes], noctule_cli: Cli
) -> None:
    line = command(tmp_path)
    code, out, err = noctule_cli(*line, "--device", "cpu")
    assert code == 0, err
    assert "mean error" in out
    assert rows(tmp_path / "run") == by_command
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FINISHED


def test_a_killed_worker_is_said_and_one_process_can_finish_the_run(
    tmp_path: Path, command: Command, by_command: dict[str, bytes], noctule_cli: Cli
) -> None:
    folder = tmp_path / "run"
    line = [sys.executable, "-m", "noctule", *command(tmp_path, "--device", "cpu")]
    with subprocess.Popen(
        line,
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            wait_until(lambda: len(list(folder.glob(".writers/0*.lock"))) == 2)
            victim = next(
                one.content for one in writers_of(folder) if one.content.get("device")
            )
            os.kill(int(victim["pid"]), signal.SIGKILL)
            out, err = program.communicate(timeout=120)
        finally:
            program.kill()
    assert program.returncode == 2
    assert out == ""
    assert "a worker process was killed (signal 9)" in err
    assert "Traceback" not in err
    assert not list(folder.glob("rows/*"))
    assert noctule_cli(*command(tmp_path))[0] == 0
    assert rows(folder) == by_command


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, Rank(0, 1, 0)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Rank(3, 4, 1)),
        ({"RANK": "3"}, Rank(0, 1, 0)),
        (
            {
                "SLURM_PROCID": "5",
                "SLURM_NTASKS": "8",
                "SLURM_LOCALID": "2",
                "SLURM_STEP_ID": "0",
            },
            Rank(5, 8, 2),
        ),
        # A batch script without srun is a single process, whatever it has asked for.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, Rank(0, 1, 0)),
    ],
)
def test_ranks(environment: dict[str, str], rank: Rank) -> None:
    assert launched_rank(environment) == rank


@pytest.mark.parametrize("number", ["4", "-1", "x", ""])
def test_a_variable_that_is_no_rank_is_named(number: str) -> None:
    with pytest.raises(InputError, match=r"RANK and WORLD_SIZE: .* is not a rank"):
        launched_rank({"RANK": number, "WORLD_SIZE": "4"})


def test_a_rank_above_0_prints_nothing(
    tmp_path: Path, command: Command, noctule_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PROCID": "1", "NTASKS": "2", "LOCALID": "1", "STEP_ID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert noctule_cli(*command(tmp_path)) == (0, "", "")
    assert RunStore.open(tmp_path / "run").missing_slices() == []


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    here, second = Rank(), Rank(5, 8, 1)
    assert chosen_devices([], here) == [str(Settings().resolved_device())]
    assert chosen_devices(["cpu", "cpu"], here) == ["cpu", "cpu"]
    assert chosen_devices(["cpu", "cpu:0"], second) == ["cpu:0"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr(Settings, "resolved_device", lambda self: self.device)
    assert chosen_devices(["all"], here) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert chosen_devices(["cuda:3", "cuda:1"], here) == ["cuda:3", "cuda:1"]
    for names in ([], ["cuda"], ["all"]):
        assert chosen_devices(names, second) == ["cuda:1"]
    assert chosen_devices(["cuda:3"], second) == ["cuda:3"]
    with pytest.raises(InputError, match="are of several types"):
        chosen_devices(["cpu", "cuda:1"], here)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["all"], "there is no GPU. For two processes on a CPU, use --device cpu --device cpu"),
        (["cpu", "gpu"], "no device 'gpu'"),
        (["cpu"] * 1025, "1,025 processes, and 1,024 are allowed"),
    ],
)
def test_devices_that_are_not_there_are_named(
    names: list[str], words: str, monkeypatch: pytest.MonkeyPatch, noctule_cli: Cli
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code, out, err = noctule_cli("evaluate", *(f"--device={name}" for name in names))
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())


# Claims


def test_claims_leave_out_what_others_compute_or_have_finished(tmp_path: Path) -> None:
    finished = sharing_runs.run(tmp_path / "run")
    finished.slice_path(1).unlink()
    finished.slice_path(2).unlink()
    with RunStore.writing(tmp_path / "run", finished.identity, "cpu") as (store, writer):
        other = Writer(store.folder, "cpu")
        with exclusive(store.folder):
            other.join()
        assert other.claim(1)
        run = SimpleNamespace(store=store, writer=writer)
        claims = Claims([run], [0, 1, 2])
        ahead, behind = iter(claims), iter(claims)
        assert [next(ahead), *behind, *ahead] == [2, 2]
        assert not other.claim(2)
        assert other.claim(0)
        with exclusive(store.folder):
            assert not other.leave()
        assert list(Claims([run], [1])) == [0]


def test_a_slice_of_imagenet_c_is_small() -> None:
    images = np.zeros((400, 32, 32, 3), np.uint8), np.arange(400) % 3
    from noctule.data import open_dataset

    benchmark = load_benchmark("imagenet-c")
    source = LiveImages(
        load_classifier(ChannelMeans()), open_dataset(images), benchmark, Settings(device="cpu")
    )
    assert source.identity.slice_size == 32
    assert source.identity.num_slices == 13
