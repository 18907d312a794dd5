"""Files that appear whole or not at all, folders with one writer, and appended lines."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from noctule.errors import InputError, OutputError
from noctule.input_files import reject_large_files, reject_special_files

if TYPE_CHECKING:
    from filelock import BaseFileLock

TEMPORARY_SUFFIX = ".tmp"
LOCK_FILE = ".lock"
MAX_RECORDS_BYTES = 256 * 2**20  # hundreds of starts with the names of 20,000 classes
# What file systems answer that cannot sync a folder, or let nobody open one.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES})


@contextmanager
def output_errors(where: object, remedy: str | None = None) -> Iterator[None]:
    """Turn an OSError into an OutputError that names `where`."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise OutputError(what, where=where, remedy=remedy) from error


def refuse_unwritable(folder: Path) -> None:
    """Check that a folder could be written, without writing anything.

    Raises:
        OutputError: It, or the nearest folder above it that exists, cannot be written.
    """
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("cannot be written: Permission denied", where=existing)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely, or leave what was there; OSError if it cannot be written."""
    temporary = temporary_for(path)
    try:
        with _created(temporary) as file:
            file.write(data)
            _sync(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def temporary_for(path: Path) -> Path:
    """An unguessable name beside a file, where nobody can have planted a link."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")


def temporaries_of(folder: Path, name: str | None = None) -> list[Path]:
    """Temporary files that killed processes have left in a folder.

    Args:
        folder: The folder.
        name: Name of the file that was to be written; None for all.
    """
    pattern = r"\..+" if name is None else re.escape(f".{name}")
    ours = re.compile(rf"{pattern}\.[0-9a-f]{{16}}{re.escape(TEMPORARY_SUFFIX)}")
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if ours.fullmatch(path.name) and is_file(path)]


def remove_temporaries(folder: Path) -> None:
    """Remove temporary files of killed processes; the caller holds the folder's lock."""
    for path in temporaries_of(folder):
        path.unlink(missing_ok=True)


def file_lock(lock: Path, timeout_s: float = 0) -> BaseFileLock | None:
    """A lock on a file, or None if another process holds it for longer than the timeout.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        InputError: It is not a regular file, or its file system has no locks.
        OSError: It cannot be made.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    if os.path.lexists(lock) and not is_file(lock):
        raise InputError("is not a regular file", where=lock, remedy="Remove it.")
    held: BaseFileLock = FileLock(lock)
    try:
        held.acquire(timeout=timeout_s)
    except Timeout:
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # another machine removed it meanwhile
            return None
        raise
    if isinstance(held, SoftFileLock):  # filelock's substitute, which outlives its process
        held.release()
        raise InputError(
            "this file system has no locks",
            where=lock.parent,
            remedy="Choose a folder on another one, or have it mounted with locks (Lustre: "
            "-o flock).",
        )
    return held


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Make a folder, and lock it against other processes.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        folder: The folder.
        doing: What this process does, for the message in another process.

    Raises:
        InputError: Another process holds the lock.
        OutputError: The folder cannot be made or written.
    """
    lock = folder / LOCK_FILE
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = file_lock(lock)
    if held is None:
        raise InputError(
            f"another process is {doing} this folder",
            where=folder,
            remedy="Wait for it to end, or choose another folder.",
        )
    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # still held: whoever opened it meanwhile tries again


def is_file(path: Path) -> bool:
    """Whether there is a regular file: no link, no folder, no pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def append_line(path: Path, line: str) -> None:
    """Append a line of text, on its own line even if the last one was cut short by a kill."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "ab+") as file:
        text = f"{line}\n"
        file.write((text if _ends_a_line(file) else f"\n{text}").encode())
        _sync(file)


def append_record(path: Path, data: Mapping[str, Any]) -> None:
    """Append a line of JSON; see `append_line`."""
    append_line(path, json.dumps(data))


def read_records(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one per line, without lines cut short by a kill."""
    records = []
    reject_special_files(path)
    if not path.exists():
        return []
    reject_large_files(path, MAX_RECORDS_BYTES)
    text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # cut short: that start never took place
            continue
        if isinstance(value, dict):
            records.append(value)
    return records


def sha256_of(data: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(data).hexdigest()


def _created(path: Path) -> IO[bytes]:
    """A new file, open for writing; FileExistsError if anything exists there, even a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def _ends_a_line(file: IO[bytes]) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, if the file system can."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
