"""Worker processes that die, stall or cannot start, and machines without memory."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from noctule import processes
from noctule.data import Dataset
from noctule.errors import (
    InputError,
    MachineError,
    NoctuleWarning,
    UnreadableImageError,
    machine_error,
    machine_errors,
)
from noctule.evaluation import loading
from noctule.evaluation.execution import Report, run_jobs
from noctule.evaluation.loading import Batch, in_order, load_batches
from noctule.models import Preprocessing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits differ")
HERE = os.getpid()
CPU = [torch.device("cpu")]


class Scenes(Dataset):
    """Noise of a fixed size; `fault` is called with the index before an image is read."""

    def __init__(self, fault: Callable[[int], None] = lambda index: None, side: int = 16):
        super().__init__("scenes", ["a", "b"], [f"{k}" for k in range(12)], [0, 1] * 6)
        self.fault, self.side = fault, side

    def read(self, index: int) -> Image.Image:
        self.fault(index)
        noise = np.random.default_rng(index).integers(0, 256, (self.side, self.side, 3))
        return Image.fromarray(noise.astype(np.uint8))

    def content(self) -> Iterator[bytes]:
        yield b""


def in_worker(fault: Callable[[], Any], at: int = 5) -> Callable[[int], None]:
    def check(index: int) -> None:
        if index == at and os.getpid() != HERE:
            fault()

    return check


def batches(dataset: Dataset, workers: int = 2, size: int = 2) -> list[Batch]:
    return list(load_batches(dataset, Preprocessing(), in_order(dataset, size), workers))


def same(these: list[Batch], those: list[Batch]) -> bool:
    return all(
        a.ids == b.ids
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.images, b.images)
        and a.unreadable == b.unreadable
        for a, b in zip(these, those, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
def test_batches_do_not_depend_on_workers(workers: int) -> None:
    def spoil(index: int) -> None:
        if index in (2, 6, 7):  # one of a batch, and a whole batch
            raise UnreadableImageError(str(index), "damaged")

    dataset = Scenes(spoil)
    assert same(batches(dataset, workers), batches(dataset, 0))


def test_a_consumer_that_leaves_early_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())
    for _ in load_batches(Scenes(), Preprocessing(), in_order(Scenes(), 2), 2):
        break
    assert set(multiprocessing.active_children()) == before


def test_nothing_of_the_users_is_changed() -> None:
    handlers = {one: signal.getsignal(one) for one in (signal.SIGCHLD, signal.SIGINT)}
    environment = dict(os.environ)
    state = torch.get_rng_state()
    batches(Scenes())
    assert {one: signal.getsignal(one) for one in handlers} == handlers
    assert dict(os.environ) == environment
    assert torch.equal(torch.get_rng_state(), state)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_killed_worker_is_said(capfd: Any) -> None:
    dataset = Scenes(in_worker(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(MachineError, match=r"killed \(signal 9\).*fewer --workers"):
        batches(dataset)
    assert capfd.readouterr().err == ""


def test_a_worker_that_exits_is_said(capfd: Any) -> None:
    with pytest.raises(MachineError, match="ended with status 3"):
        batches(Scenes(in_worker(lambda: os._exit(3))))
    assert capfd.readouterr().err == ""


def no_memory() -> None:
    np.empty((1 << 60,), np.uint8)


@pytest.mark.parametrize("workers", [0, 2])
def test_exhausted_memory_is_no_images_fault(workers: int, capfd: Any) -> None:
    """An image that could be read with more memory must not count as unreadable."""

    def exhaust(index: int) -> None:
        try:
            if index == 5:
                no_memory()
        except MemoryError as error:  # what `decode_file` does with any error
            raise UnreadableImageError("5", "damaged") from error

    with pytest.raises(MachineError, match=r"memory is exhausted.*--workers"):
        batches(Scenes(exhaust), workers)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_users_own_error_arrives_with_its_type(workers: int) -> None:
    def fail(index: int) -> None:
        if index == 5:
            raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user") as caught:
        batches(Scenes(fail), workers)
    if workers:
        assert "in fail" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "fault",
    [lambda: time.sleep(600), lambda: os.kill(os.getpid(), signal.SIGSTOP)],
    ids=["sleeps", "stopped"],
)
def test_a_worker_that_does_nothing_is_said(
    fault: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE_LIMIT_S", 1)
    began = time.monotonic()
    with pytest.raises(MachineError, match="has done nothing for 1 s"):
        batches(Scenes(in_worker(fault)))
    assert time.monotonic() - began < 60


def test_a_worker_stopped_in_the_middle_of_a_batch_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "SILENCE_LIMIT_S", 1)
    dataset = Scenes(side=600)  # more than a socket holds, so that sending is under way
    loaded = load_batches(dataset, Preprocessing(), in_order(dataset, 2), 1)
    next(loaded)
    time.sleep(0.5)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(MachineError, match="has done nothing for 1 s"):
        list(loaded)


def test_slow_images_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SILENCE_LIMIT_S", 3)
    slow = Scenes(lambda index: time.sleep(1.1 if index < 4 else 0))
    assert len(batches(slow, workers=1, size=12)) == 1  # 4.4 s for the batch


def test_without_file_handles_it_is_decoded_here_and_said() -> None:
    expected = batches(Scenes(), 0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 4, before[1]))
    message = "^5 worker processes cannot be started: too many files are open"
    try:
        with pytest.warns(NoctuleWarning, match=message):
            found = batches(Scenes(), 5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert same(found, expected)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM])
def test_where_no_process_can_be_made_it_is_decoded_here_and_said(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.warns(NoctuleWarning, match="^2 worker processes cannot be started: "):
        assert same(batches(Scenes(), 2), batches(Scenes(), 0))


def daemonic(done: Any) -> None:
    reports: list[Any] = []
    options = {"devices": CPU, "threads": 1, "on_report": reports.append}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run_jobs(note_process, [1, 2], processes=2, **options)
        equal = same(batches(Scenes(), 2), batches(Scenes(), 0))
    done.send((equal, reports == [os.getpid()] * 2, [str(one.message) for one in said]))


def note_process(job: int, device: torch.device, report: Report) -> None:
    report(os.getpid())


def test_inside_a_daemonic_process_it_is_done_there_and_said() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=daemonic, args=(theirs,), daemon=True)
    process.start()
    assert ours.poll(120)
    equal, here, said = ours.recv()
    process.join()
    assert equal
    assert here
    assert [one.split(" cannot be started: ")[0] for one in said] == [
        "2 processes", "2 worker processes"
    ]  # fmt: skip
    assert all("this is a daemonic process" in one for one in said)


def exhaust(job: int, device: torch.device, report: Report) -> None:
    no_memory()


def mistake(job: int, device: torch.device, report: Report) -> None:
    raise ZeroDivisionError("of the job")


@pytest.mark.parametrize(
    ("job", "raised", "words"),
    [
        (exhaust, MachineError, "the memory is exhausted"),
        (mistake, ZeroDivisionError, "of the job"),
    ],
)
def test_a_job_that_fails_is_said_once(
    job: Any, raised: type[Exception], words: str, capfd: Any
) -> None:
    with pytest.raises(raised, match=words):
        run_jobs(job, [1, 2], processes=2, devices=CPU, threads=1, on_report=print)
    assert capfd.readouterr().err == ""


def test_a_script_that_noctule_started_again_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    processes.end_if_unguarded()
    monkeypatch.setenv("NOCTULE_STARTING", "1")
    processes.end_if_unguarded()  # not while a script is imported
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    assert left == []
    with pytest.raises(processes.CannotStartError, match="lacks the guard"):
        run_without_fallback()
    processes.end_if_unguarded()
    assert left == [processes._UNGUARDED_EXIT]


def run_without_fallback() -> None:
    with processes.started(loading._send_batches, [None], daemon=True):
        pass


def caused(cause: Exception) -> Exception:
    error = InputError("the model failed, check --crop")
    error.__cause__ = cause
    return error


def cuda_error() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.lib.ArrowMemoryError("malloc of size 64 failed"),
        cuda_error(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        caused(MemoryError()),
        caused(caused(cuda_error())),
    ],
    ids=repr,
)
def test_every_librarys_word_for_no_memory_is_known(error: Exception) -> None:
    message = r"^the memory is exhausted.*--batch-size"
    with pytest.raises(MachineError, match=message), machine_errors():
        raise error


def test_a_remedy_that_fits_better_is_kept() -> None:
    error = MachineError("the networks do not fit", remedy="Use --models-at-once 2.")
    error.__cause__ = cuda_error()
    assert machine_error(error) is error


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_known(code: int) -> None:
    found = machine_error(UnreadableImageError("a", "x"))
    assert found is None
    found = machine_error(caused(OSError(code, "Too many open files")))
    assert "too many files are open" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory, said a user"),
        OSError(errno.ENOENT, "No such file", "out of memory.png"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_stay_as_they_are(error: BaseException) -> None:
    assert machine_error(error) is None


def test_really_exhausted_memory_of_torch_is_known() -> None:
    with pytest.raises(MachineError, match="the memory is exhausted"), machine_errors():
        torch.empty(1 << 60, dtype=torch.uint8)
