"""Jobs in this process and in several: all are done, reports arrive, failures end the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from noctule.errors import InputError, NoctuleError
from noctule.evaluation.execution import Report, run_jobs

CPU = [torch.device("cpu")]


def note(job: tuple[Path, int], device: torch.device, report: Report) -> None:
    folder, number = job
    (folder / str(number)).write_text(f"{os.getpid()} {torch.get_num_threads()} {device}")
    report(number)


def meet(job: tuple[Path, int], device: torch.device, report: Report) -> None:
    """Waits for the other one, so that each needs a process of its own."""
    folder, number = job
    (folder / str(number)).write_text(str(device))
    _wait_until(lambda: len(list(folder.iterdir())) == 2)


def refuse(job: int, device: torch.device, report: Report) -> None:
    if job == 1:
        raise InputError("this job is refused", where="job 1", remedy="Leave it out.")
    time.sleep(600)


def die(job: int, device: torch.device, report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(job: Path, device: torch.device, report: Report) -> None:
    job.write_text(str(os.getpid()))
    time.sleep(600)


def run(function: Any, jobs: list[Any], processes: int) -> list[Any]:
    reports: list[Any] = []
    run_jobs(
        function, jobs, processes=processes, devices=CPU, threads=1, on_report=reports.append
    )
    return reports


@pytest.mark.parametrize("processes", [1, 2])
def test_every_job_is_done_once(tmp_path: Path, processes: int) -> None:
    before = torch.get_num_threads()
    reports = run(note, [(tmp_path, number) for number in range(5)], processes)
    assert sorted(reports) == list(range(5))
    texts = [path.read_text().split() for path in tmp_path.iterdir()]
    assert {tuple(words[1:]) for words in texts} == {("1", "cpu")}
    here = {words[0] for words in texts} == {str(os.getpid())}
    assert here == (processes == 1)
    assert torch.get_num_threads() == before


def test_every_process_has_a_device_of_its_own(tmp_path: Path) -> None:
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    run_jobs(
        meet,
        [(tmp_path, 0), (tmp_path, 1)],
        processes=2,
        devices=devices,
        threads=1,
        on_report=print,
    )
    assert {path.read_text() for path in tmp_path.iterdir()} == {"cpu", "cpu:0"}


def test_a_failure_keeps_its_message_and_ends_the_others() -> None:
    started = time.monotonic()
    with pytest.raises(NoctuleError, match=r"job 1: this job is refused\. Leave it out\."):
        run(refuse, [0, 1], 2)
    assert time.monotonic() - started < 300


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(NoctuleError, match="was killed"):
        run(die, [0, 1], 2)


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from noctule.evaluation.execution import run_jobs; import test_execution as t\n"
        "if __name__ == '__main__':\n"
        "    jobs = [Path(sys.argv[2]) / str(k) for k in range(2)]\n"
        "    run_jobs(t.linger, jobs, processes=2, devices=t.CPU, threads=1, on_report=print)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    pids = tmp_path / "pids"
    pids.mkdir()
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, str(script), here, str(pids)]) as parent:
        try:
            _wait_until(lambda: len(list(pids.iterdir())) == 2)
        finally:
            parent.kill()
    children = [int(path.read_text()) for path in pids.iterdir()]
    assert len(children) == 2
    _wait_until(lambda: not any(map(_alive, children)))


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():  # a zombie is not alive
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within two minutes")
