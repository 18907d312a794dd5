"""Checks of the user's files before their content is read.

A path may lead to a pipe that never ends, and an archive of a kilobyte may unpack to gigabytes.
Every function that opens a user's file checks it here first.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Final

from noctule.errors import InputError
from noctule.remote import AnyPath, RemoteError

MAX_TEXT_BYTES: Final = 64 * 2**20
"""Largest size of a TOML or JSON file."""

MAX_LIST_BYTES: Final = 2**31
"""Largest size of a file that lists all images: 10 million images with 200 bytes each."""

MAX_UNPACKED_BYTES: Final = 2**30
MAX_RATIO: Final = 100
"""Largest compression ratio of archives that unpack to more than `MAX_UNPACKED_BYTES`.

Photographs and weights are hardly compressible; arrays of small drawings shrink tenfold."""

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def reject_special_files(path: AnyPath, *, folder_allowed: bool = False) -> None:
    """Reject a path that exists but is not a regular file; links are followed.

    Opening a named pipe blocks forever, and reading a device may never end. A path that does
    not exist or is not accessible passes, because opening it raises an error of its own.

    Args:
        path: Path from the user.
        folder_allowed: Whether folders pass too.

    Raises:
        InputError: The path is a named pipe, a socket, a device or a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: the path contains a NUL character
        return
    if stat.S_ISREG(mode) or (folder_allowed and stat.S_ISDIR(mode)):
        return
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    raise InputError(
        f"is {kind}, not a regular file", where=path, remedy="Pass the path of a file."
    )


def real_path(path: str | Path) -> Path:
    """The absolute path without links; unlike `Path.resolve`, without errors for link loops."""
    return Path(os.path.realpath(path))


def read_text(path: AnyPath) -> str:
    """Read a TOML, JSON or similar small file, in UTF-8 with or without a byte order mark.

    Raises:
        InputError: The file is missing, not regular, larger than `MAX_TEXT_BYTES`, unreadable
            or not UTF-8.
    """
    reject_special_files(path)
    try:
        reject_large_files(path, MAX_TEXT_BYTES)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=path) from error
    except RemoteError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error


def reject_large_files(path: AnyPath, max_bytes: int) -> None:
    """Reject a file that is larger than such files can be.

    Raises:
        InputError: The file has more than `max_bytes`.
        OSError: The file is missing or not accessible.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(
            f"is too large: {size:,} bytes; at most {max_bytes:,} are allowed", where=path
        )


def reject_zip_bombs(path: Path) -> None:
    """Reject a ZIP archive that unpacks to far more than its own size.

    The sizes are those in the archive's directory; zipfile and PyTorch never unpack more. Files
    that are not ZIP archives pass.

    Raises:
        InputError: The archive unpacks to more than `MAX_UNPACKED_BYTES`, and to more than
            `MAX_RATIO` times its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # reading the file raises an error of its own
    packed = max(1, path.stat().st_size)
    if unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_RATIO * packed:
        raise InputError(
            f"unpacks to {unpacked:,} bytes, {unpacked // packed:,} times its size, as only a "
            "decompression bomb does",
            where=path,
            remedy="Save it without compression if you trust it.",
        )


def reject_beyond_memory(size_bytes: int, where: object) -> None:
    """Reject data that is larger than the memory of this machine.

    Raises:
        InputError: The data is larger.
    """
    memory = memory_bytes()
    if memory is not None and size_bytes > memory:
        raise InputError(
            f"needs {size_bytes:,} bytes of memory, but this machine has {memory:,}",
            where=where,
            remedy="Use a smaller file, a folder of images, or a .npy file, which is read "
            "piece by piece.",
        )


def memory_bytes() -> int | None:
    """The memory of this machine or, if smaller, of its container; None if unknown."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdecimal():
            memory = min(memory, int(limit))
    return memory
