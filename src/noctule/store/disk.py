"""Files that appear whole or not at all, folders with one writer, and appended lines.

On a disk, or in an object store, where appended lines are objects of their own below the name
that the file would have. Either form is read anywhere, so that runs can be copied.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from noctule.errors import InputError, OutputError
from noctule.input_files import reject_large_files, reject_special_files
from noctule.remote import AnyPath, RemotePath, read_all

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
        reason = error.what if isinstance(error, InputError) else error.strerror or error
        what = f"cannot be written: {reason}"
        raise OutputError(what, where=where, remedy=remedy) from error


def refuse_unwritable(folder: AnyPath) -> None:
    """Check that a folder could be written, without writing anything.

    Of a store it is only known whether it can be read.

    Raises:
        OutputError: It, or the nearest folder above it that exists, cannot be written, or is a
            file.
        RemoteError: The store cannot be reached, or refuses.
    """
    if isinstance(folder, RemotePath):
        folder.exists()
        return
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not existing.is_dir():
        raise OutputError(
            "is not a folder",
            where=existing,
            remedy="Use a folder, or a new name, for the run.",
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError("cannot be written: Permission denied", where=existing)


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Write a file completely, or leave what was there; OSError if it cannot be written."""
    if isinstance(path, RemotePath):
        path.write_bytes(data)
        return
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


def temporaries_of(folder: AnyPath, name: str | None = None) -> list[Path]:
    """Temporary files that killed processes have left in a folder.

    Args:
        folder: The folder.
        name: Name of the file that was to be written; None for all.
    """
    pattern = r"\..+" if name is None else re.escape(f".{name}")
    ours = re.compile(rf"{pattern}\.[0-9a-f]{{16}}{re.escape(TEMPORARY_SUFFIX)}")
    if isinstance(folder, RemotePath) or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if ours.fullmatch(path.name) and is_file(path)]


def remove_temporaries(folder: AnyPath) -> None:
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


def is_file(path: AnyPath) -> bool:
    """Whether there is a regular file: no link, no folder, no pipe."""
    if isinstance(path, RemotePath):
        return path.is_file()
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def append_line(path: AnyPath, line: str, name: str | None = None) -> None:
    """Append a line of text, on its own line even if the last one was cut short by a kill.

    Args:
        path: The file.
        line: The text.
        name: Name of the line's object in a store, where a later line of the same name takes
            its place; None for one that follows all others.
    """
    if isinstance(path, RemotePath) or path.is_dir():
        name = name or f"{time.time_ns():020d}-{os.urandom(4).hex()}"
        write_atomically(path / name, f"{line}\n".encode())
        return
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "ab+") as file:
        text = f"{line}\n"
        file.write((text if _ends_a_line(file) else f"\n{text}").encode())
        _sync(file)


def append_record(path: AnyPath, data: Mapping[str, Any]) -> None:
    """Append a line of JSON; see `append_line`."""
    append_line(path, json.dumps(data))


def read_lines(path: AnyPath) -> list[str]:
    """The lines of a file, the last of which a kill may have cut short; none without a file.

    Raises:
        InputError: It is no file, or too large.
        OSError: It cannot be read.
    """
    if isinstance(path, RemotePath):
        parts = [path] if path.is_file() else [path / name for name in path.times()]
        texts = [one for one in read_all(parts, MAX_RECORDS_BYTES) if isinstance(one, bytes)]
    else:
        reject_special_files(path, folder_allowed=True)
        if not path.exists():
            return []
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            reject_special_files(file)
            reject_large_files(file, MAX_RECORDS_BYTES)
        texts = [file.read_bytes() for file in files]
    return [line for text in texts for line in text.decode("utf-8", "replace").split("\n")]


def read_records(path: AnyPath) -> list[dict[str, Any]]:
    """The JSON objects of a file, one per line, without lines cut short by a kill."""
    records = []
    for line in read_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # cut short: that start never took place
            continue
        if isinstance(value, dict):
            records.append(value)
    return records


def read_files(paths: Sequence[AnyPath], most_bytes: int) -> Iterator[bytes | OSError]:
    """The content of files, or why one cannot be read: it is too large, or no regular file.

    Raises:
        RemoteError: The store cannot be reached, or refuses.
    """
    remote = [path for path in paths if isinstance(path, RemotePath)]
    if remote:
        yield from read_all(remote, most_bytes + 1)
    for path in paths:
        if isinstance(path, Path):
            try:
                yield _read_file(path, most_bytes)
            except OSError as error:
                yield error


def _read_file(path: Path, most_bytes: int) -> bytes:
    reject_special_files(path)
    if (size := path.stat().st_size) > most_bytes:
        raise OSError(f"it has {size:,} bytes")
    return path.read_bytes()


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
