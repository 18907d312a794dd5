"""Runs on a Ray cluster: the same rows, whatever happens to its processes and machines."""

from __future__ import annotations

import functools
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noctule.errors import InputError, MachineError
from noctule.evaluation.loop import live_images, run_images
from noctule.evaluation.ray_cluster import VERSIONS, Node, RayTasks, check_address, check_nodes
from noctule.evaluation.sources import ImageSource
from sharing_runs import IMAGES, network, rows, run, wait_until
from stripes import LENIENT, QUICK, Stripes

HERE = str(Path(__file__).parent)


def source(device: str, error: Exception | None = None) -> ImageSource:
    if error is not None:
        raise error
    return live_images(network(), Stripes(IMAGES), QUICK, settings=LENIENT)


def evaluate_on_ray(folder: Path, **options: Any) -> Any:
    tasks = RayTasks(functools.partial(source, **options), "cpu")
    return run_images(source("cpu"), out=folder, fill=tasks.fill)


def test_addresses() -> None:
    for address in ("slurm", "ray:", "http://ray", "ray://"):
        with pytest.raises(InputError, match="unknown"):
            check_address(address)
    with pytest.raises(InputError, match="no Ray cluster answers"):
        check_address("ray://127.0.0.1:9")
    with pytest.raises(InputError, match="no Ray cluster answers"):
        check_address("ray://127.0.0.1:99999")


def test_machines_that_cannot_take_part() -> None:
    folder = Path("run")
    check_nodes([Node("a", VERSIONS, True)], folder)
    with pytest.raises(InputError, match=r"a has noctule 0\.0, and this machine has"):
        check_nodes([Node("a", ("0.0", *VERSIONS[1:]), True)], folder)
    with pytest.raises(InputError, match="a has PyTorch 1, and"):
        check_nodes([Node("a", (*VERSIONS[:2], "1"), True)], folder)
    with pytest.raises(InputError, match="b does not see the run folder"):
        check_nodes([Node("a", VERSIONS, True), Node("b", VERSIONS, False)], folder)


def test_the_command_refuses_an_address_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "noctule", "evaluate", "--on", "ray://127.0.0.1:9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no Ray cluster answers" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not [*tmp_path.rglob("rows")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("local") / "run"
    run(folder)
    return rows(folder)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one core each beside the head, which computes nothing."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("NOCTULE_TEST_SLEEP_S", "0.3")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, *sys.path]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def writers(folder: Path) -> list[int]:
    """The processes of tasks that write into the folder."""
    found = []
    for path in (folder / ".writers").glob("*.json"):
        try:
            pid = json.loads(path.read_text("utf-8"))["pid"]
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, KeyError):
            continue
        if b"ray::" in command:
            found.append(pid)
    return found


pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray
linux = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")


@pytest.mark.slow
def test_a_run_on_a_cluster_gives_the_same_rows(
    cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    evaluate_on_ray(tmp_path / "run")
    assert rows(tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_an_error_in_a_task_is_the_error_of_the_run(cluster: Any, tmp_path: Path) -> None:
    planted = InputError("planted in a task", where="here")
    with pytest.raises(InputError, match="planted in a task"):
        evaluate_on_ray(tmp_path / "run", error=planted)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        evaluate_on_ray(tmp_path / "run", error=ZeroDivisionError("a bug"))


def disturbed(folder: Path, disturb: Any) -> None:
    """A run, and something that happens once it computes."""

    def wait_and_disturb() -> None:
        wait_until(lambda: writers(folder))
        time.sleep(0.5)
        disturb()

    thread = threading.Thread(target=wait_and_disturb)
    thread.start()
    try:
        evaluate_on_ray(folder)
    finally:
        thread.join()


@pytest.mark.slow
@linux
def test_a_killed_task(cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    disturbed(folder, lambda: os.kill(writers(folder)[0], signal.SIGKILL))
    assert rows(folder) == undisturbed


@pytest.mark.slow
@linux
def test_a_lost_machine(cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    disturbed(
        folder,
        lambda: cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False),
    )
    assert rows(folder) == undisturbed


@pytest.mark.slow
@linux
def test_a_killed_driver(cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    folder = tmp_path / "run"
    code = "import sys; from pathlib import Path; from test_ray import evaluate_on_ray; "
    driver = subprocess.Popen(
        [sys.executable, "-c", code + "evaluate_on_ray(Path(sys.argv[1]))", str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
    )
    wait_until(lambda: writers(folder))
    driver.kill()
    driver.wait()
    evaluate_on_ray(folder)
    assert rows(folder) == undisturbed


@pytest.mark.slow
@linux
def test_tasks_that_die_again_and_again(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noctule.evaluation.ray_cluster.RETRIES", 0)
    folder = tmp_path / "run"

    def kill() -> None:
        for pid in writers(folder):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(MachineError, match="a process or machine of Ray failed"):
        disturbed(folder, kill)
