"""Faults of the machine that take long to plant: `make test-faults`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals of Linux")
NOCTULE = [sys.executable, "-m", "noctule"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of 224 px in two classes."""
    folder = tmp_path_factory.mktemp("images")
    for k in range(300):
        place = folder / f"c{k % 2}"
        place.mkdir(exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((224, 224)).save(place / f"{k:03d}.png")
    return folder


@pytest.fixture(scope="module")
def benchmark_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "b.toml"
    path.write_text(
        'name = "b"\ntitle = "B"\nsource = "x"\ncorruptions = ["shear"]\nlevels = [1]\n'
    )
    return path


@pytest.fixture(scope="module")
def python_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a module of a network that is small, but for 224 px."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tiny_net.py").write_text(
        "def net():\n"
        "    import torch\n"
        "    torch.manual_seed(0)\n"
        "    pooled = torch.nn.AvgPool2d(224), torch.nn.Flatten()\n"
        "    return torch.nn.Sequential(*pooled, torch.nn.Linear(3, 2))\n"
    )
    return f"{folder}:{os.environ.get('PYTHONPATH', '')}"


@pytest.fixture
def evaluate(
    images: Path, benchmark_file: Path, python_path: str, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`noctule evaluate`, after some shell commands."""

    def run(shell: str, *options: object) -> subprocess.CompletedProcess[str]:
        command = [*NOCTULE, "evaluate", "tiny_net:net", images, "-b", benchmark_file]
        command += ["--out", tmp_path / "run", "--no-self-check", "--device", "cpu", *options]
        return subprocess.run(
            ["bash", "-c", shell + ' exec "$@"', "bash", *map(str, command)],
            env={**os.environ, "PYTHONPATH": python_path},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


SCRIPT = """
import sys, multiprocessing
import noctule, tiny_net

def work(workers):
    method, data, benchmark, out = sys.argv[1:]
    settings = noctule.Settings(device="cpu", batch_size=64, workers=workers, self_check=False)
    net = tiny_net.net()
    data = own(data) if "own" in globals() else data
    run = noctule.evaluate(net, data, benchmark, out=out, settings=settings).run
    return run.rows().num_rows
"""
OWN_DATA = """
class Own(type(noctule.open_dataset(sys.argv[2]))):
    pass

open_dataset = noctule.open_dataset
def own(data):
    dataset = open_dataset(data)
    dataset.__class__ = Own
    return dataset
"""
UNGUARDED = """
multiprocessing.set_start_method(sys.argv[1], force=True)
print("rows", work(2))
"""
IN_POOL = """
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print("rows", pool.map(work, [2])[0])
"""


@pytest.mark.parametrize(
    ("text", "method", "words"),
    [
        (OWN_DATA + UNGUARDED, "spawn", "the script lacks the guard `if __name__ =="),
        (OWN_DATA + UNGUARDED, "forkserver", "the script lacks the guard `if __name__ =="),
        (UNGUARDED, "spawn", ""),  # nothing of the script is needed
        (UNGUARDED, "forkserver", ""),
        (IN_POOL, "fork", "this is a daemonic process"),
        (IN_POOL, "spawn", "this is a daemonic process"),
    ],
)
def test_where_no_process_can_start_it_is_said_and_done_here(
    text: str,
    method: str,
    words: str,
    images: Path,
    benchmark_file: Path,
    python_path: str,
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + text)
    done = subprocess.run(
        [sys.executable, script, method, images, benchmark_file, tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "rows 600\n"), done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == (2 if words else 0)  # the warning, the line of code


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(("workers", "batch"), [(8, 32), (2, 256)])
def test_little_shared_memory_is_enough(workers: int, batch: int, evaluate: Any) -> None:
    small = "mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 99;"
    shell = f"unshare -m bash -c '{small} exec \"$@\"' bash "
    done = evaluate(f"run() {{ {shell} \"$@\"; }}; run \"$@\"; exit;", "--workers", workers,
                    "--batch-size", batch)  # fmt: skip
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr


def test_one_processor_means_one_worker() -> None:
    code = "from noctule.evaluation.execution import usable_cores as n; print(n())"
    command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "1\n"


@pytest.mark.parametrize("files", [12, 14, 16, 20, 24])
def test_few_file_handles(files: int, evaluate: Any) -> None:
    done = evaluate(f"ulimit -n {files};", "--workers", 4)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    # How the network's images are prepared is said whatever the limit.
    of_files = [line for line in done.stderr.splitlines() if "tiny_net:net" not in line]
    if done.returncode == 2 or of_files:
        assert "too many files are open" in done.stderr


@pytest.mark.parametrize("megabytes", [300, 1000, 2500, 3500, 4000, 4500, 5000])
def test_a_limit_of_memory(megabytes: int, evaluate: Any) -> None:
    done = evaluate(f"ulimit -v {1000 * megabytes};", "--workers", 2, "--batch-size", 256)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert "the memory is exhausted" in done.stderr


def test_charts_under_a_limit_of_memory(evaluate: Any, tmp_path: Path) -> None:
    assert evaluate("").returncode == 0
    command = [*NOCTULE, "report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", *command],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("noctule: charts cannot be drawn")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def children_of(parent: int) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent_of_it = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent_of_it == parent:
            found |= {int(place.name)} | children_of(int(place.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_decoding_process_that_is_killed_or_stopped_is_said(
    sent: signal.Signals, images: Path, python_path: str, tmp_path: Path
) -> None:
    command = [
        *NOCTULE,
        "evaluate",
        "tiny_net:net",
        str(images),
        "--out",
        str(tmp_path / "run"),
    ]
    command += ["--no-self-check", "--device", "cpu", "--batch-size", "16", "--workers", "2"]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        try:
            deadline = time.monotonic() + 240
            while len(forked := forks_of(program.pid)) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(forked[0], sent)
            _, error = program.communicate(timeout=200)
        finally:
            program.kill()
    words = "was killed (signal 9)" if sent == signal.SIGKILL else "has done nothing for 60 s"
    assert program.returncode == 2, error
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize("seconds", [0.5, 1, 2, 3, 4, 6, 8])
def test_no_process_outlives_a_killed_study(seconds: float, tmp_path: Path) -> None:
    """At whatever moment of their start: they end within seconds, without a word."""
    errors = tmp_path / "errors"
    command = [*NOCTULE, "study", "run", "photo-patches-demo", "--out", str(tmp_path / "study")]
    with errors.open("wb") as stream, subprocess.Popen(
        [*command, "--processes", "2", "--device", "cpu"],
        stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True,
    ) as program:  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not children_of(program.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(seconds)
            below = children_of(program.pid)
        finally:
            program.kill()
    assert below
    deadline = time.monotonic() + 3
    while any(map(alive, below)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, below))
    assert "Traceback" not in errors.read_text()
    assert "Error" not in errors.read_text()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_studys_process_that_is_killed_or_stopped_is_said(
    sent: signal.Signals, tmp_path: Path
) -> None:
    command = [*NOCTULE, "study", "run", "photo-patches-demo", "--out", str(tmp_path / "study")]
    with subprocess.Popen(
        [*command, "--processes", "2", "--device", "cpu"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        try:
            deadline = time.monotonic() + 240
            ends = tmp_path / "study/models"
            while not list(ends.glob("*/*")) and time.monotonic() < deadline:
                time.sleep(0.1)
            workers = [pid for pid in children_of(program.pid) if is_worker(pid)]
            os.kill(workers[0], sent)
            _, error = program.communicate(timeout=120)
        finally:
            program.kill()
    words = "was killed (signal 9)" if sent == signal.SIGKILL else "has done nothing for 60 s"
    assert program.returncode == 2
    assert words in error
    assert "Traceback" not in error


def is_worker(pid: int) -> bool:
    return b"spawn_main" in arguments_of(pid)


def forks_of(parent: int) -> list[int]:
    """The processes below one that run the same program."""
    return [pid for pid in children_of(parent) if arguments_of(pid) == arguments_of(parent)]


def arguments_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
