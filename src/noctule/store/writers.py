"""The processes that write one run folder: they share its slices, and may end at any moment.

    .lock                  held for moments: when a process joins or leaves, or appends a line
    .writers/HEX.json      one process: host, process id, device, time of its start
    .writers/HEX.lock      held by it until it ends
    .writers/000012.lock   held while slice 12 is computed
    failures.jsonl         one line per process that failed or was killed

All locks are the operating system's, which releases them when a process ends, however it ends.
In an object store, which has none, they are `leases`; .lock and HEX.lock are not needed there.
They only save work: should two processes compute the same slice, both write the same bytes, and
a slice appears whole or not at all. The last process to leave removes all but failures.jsonl.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noctule.errors import InputError
from noctule.remote import AnyPath, RemotePath
from noctule.store.disk import (
    LOCK_FILE,
    append_record,
    file_lock,
    is_file,
    output_errors,
    read_records,
)
from noctule.store.leases import Leases, living

if TYPE_CHECKING:
    from filelock import BaseFileLock

WRITERS_FOLDER = ".writers"
FAILURES_FILE = "failures.jsonl"
_DOOR_LIMIT_S = 60  # it is held for milliseconds
_NO_LAST_WORDS = "it ended without an error message: it was killed, or its machine failed"


@dataclass(frozen=True)
class WriterRecord:
    """One process that has joined and not left.

    Attributes:
        path: Its file.
        is_alive: Whether it still holds its lock; in a store, whether it has given a sign of
            life lately.
        content: Host, pid, device and started_utc, as far as they can be read.
    """

    path: AnyPath
    is_alive: bool
    content: Mapping[str, Any]


def writers_of(folder: AnyPath, now_s: float | None = None) -> list[WriterRecord]:
    """The processes that write into a run folder, and those that ended without leaving.

    Args:
        folder: The run folder.
        now_s: See `leases.living`.
    """
    if isinstance(folder, RemotePath):
        alive = living(folder / WRITERS_FOLDER, now_s)
        found = {folder / WRITERS_FOLDER / name: alive[name] for name in sorted(alive)}
        return [WriterRecord(path, found[path], _content(path)) for path in found]
    paths = sorted((folder / WRITERS_FOLDER).glob("*.json"))
    return [
        WriterRecord(path, _is_held(path.with_suffix(".lock")), _content(path))
        for path in paths
        if is_file(path)
    ]


def failures_of(folder: AnyPath) -> list[dict[str, Any]]:
    """What is recorded of processes that failed: time_utc, host, pid, device, error."""
    return read_records(folder / FAILURES_FILE)


@contextmanager
def exclusive(folder: AnyPath) -> Iterator[None]:
    """Exclude the other writers of a run folder for a moment; in a store, nobody needs to.

    Raises:
        InputError: Another process does so for too long, or the file system has no locks.
        OutputError: The folder cannot be written.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with output_errors(folder):
        held = file_lock(folder / LOCK_FILE, _DOOR_LIMIT_S)
    if held is None:
        raise InputError(
            "another process is writing a run into this folder, and seems to be stopped",
            where=folder,
            remedy="End it, or choose another folder.",
        )
    with held:
        yield


def in_turn(folder: AnyPath) -> AbstractContextManager[None]:
    """As `exclusive` if processes share this folder; for a single process, nothing."""
    if isinstance(folder, Path) and (folder / WRITERS_FOLDER).is_dir():
        return exclusive(folder)
    return nullcontext()


class FileLocks:
    """Locks of files that this process holds."""

    def __init__(self) -> None:
        self._held: dict[Path, BaseFileLock] = {}

    def acquire(self, path: Path) -> bool:
        """Lock a file; whether no other process holds it."""
        held = file_lock(path)
        if held is None:
            return False
        self._held[path] = held
        return True

    def release(self, path: Path) -> None:
        """Release a lock, and remove its file."""
        if (held := self._held.pop(path, None)) is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)  # still held: whoever opened it tries again
            held.release()

    def end(self) -> None:
        """Release all of them."""
        for path in list(self._held):
            self.release(path)


class Writer:
    """One of the processes that write a run folder: the current one.

    `join` and `leave` are called within `exclusive`.
    """

    _locks: Any  # FileLocks or Leases, for which `folder` is a path or an address

    def __init__(self, folder: AnyPath, device: str | None) -> None:
        self.folder = folder
        self.content = {
            "host": platform.node(),
            "pid": os.getpid(),
            "parent": os.getppid(),
            "device": device,
        }
        self.path = folder / WRITERS_FOLDER / f"{os.urandom(8).hex()}.json"
        self._locks = FileLocks()

    def join(self) -> None:
        """Record that this process writes, and the end of those that were killed."""
        if self.path.parent.is_symlink():
            raise InputError("is a link", where=self.path.parent, remedy="Remove it.")
        started = {"started_utc": datetime.now(UTC).isoformat(timespec="seconds")}
        content = json.dumps({**self.content, **started}).encode()
        if isinstance(self.path, RemotePath):
            self._locks = Leases(self.path, content)
            forget_dead(self.folder)
            return
        self.path.parent.mkdir(exist_ok=True)
        forget_dead(self.folder)
        if not self._locks.acquire(self.path.with_suffix(".lock")):
            raise OSError(f"{self.path}: its lock is held")
        self.path.write_bytes(content)

    def leave(self) -> bool:
        """Remove what `join` made; whether no other process writes."""
        try:
            parent = None if self.content["device"] else os.getpid()
            return forget_dead(self.folder, parent, but=self.path)
        finally:
            self._locks.end()
            self.path.unlink(missing_ok=True)

    def claim(self, index: int) -> bool:
        """Reserve a slice for this process; whether nobody else computes it."""
        return bool(self._locks.acquire(self._claim(index)))

    def release(self, index: int) -> None:
        """Give back a slice, finished or not."""
        self._locks.release(self._claim(index))

    def record_failure(self, error: BaseException) -> None:
        """Append a line to failures.jsonl, if that is possible."""
        with suppress(OSError, InputError), exclusive(self.folder):
            _record_failure(self.folder, self.content, str(error) or type(error).__name__)

    def _claim(self, index: int) -> AnyPath:
        return self.path.parent / f"{index:06d}.lock"


def forget_dead(folder: AnyPath, parent: int | None = None, but: AnyPath | None = None) -> bool:
    """Record that processes were killed, and remove what they left; whether none is alive.

    Call it within `exclusive`.

    Args:
        folder: The run folder.
        parent: Id of a process here that records itself why those ended that it has started.
        but: The record of this process, which does not count.
    """
    writers, host = writers_of(folder), platform.node()
    for writer in writers:
        if not writer.is_alive:
            if parent is None or (host, parent) != _parent_of(writer):
                _record_failure(folder, writer.content, _NO_LAST_WORDS)
            writer.path.unlink(missing_ok=True)
            if isinstance(writer.path, Path):
                writer.path.with_suffix(".lock").unlink(missing_ok=True)
    return not any(writer.is_alive for writer in writers if writer.path != but)


def remove_marks(folder: AnyPath) -> None:
    """Remove .writers and .lock; within `exclusive`, if no process is alive.

    In a store, one that has joined meanwhile renews its record, and may lose claims.
    """
    if isinstance(folder, RemotePath):
        for path in (folder / WRITERS_FOLDER).iterdir():
            path.unlink(missing_ok=True)
        return
    shutil.rmtree(folder / WRITERS_FOLDER, ignore_errors=True)
    (folder / LOCK_FILE).unlink(missing_ok=True)


def _is_held(lock: Path) -> bool:
    if not is_file(lock):
        return False
    try:
        held = file_lock(lock)
    except (OSError, InputError):  # not ours to open, so another user's process may hold it
        return True
    if held is None:
        return True
    held.release()
    return False


def _content(path: AnyPath) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes()[:10_000])
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _parent_of(writer: WriterRecord) -> tuple[object, object]:
    return writer.content.get("host"), writer.content.get("parent")


def _record_failure(folder: AnyPath, content: Mapping[str, Any], error: str) -> None:
    known = {key: content.get(key) for key in ("host", "pid", "device")}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_record(folder / FAILURES_FILE, {"time_utc": now, **known, "error": error[:2000]})
