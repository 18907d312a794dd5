"""Files that a user names, checked before anything in them is read.

A name may stand for a pipe that never ends, a file of a kilobyte for gigabytes once unpacked.
Whoever opens a user's file asks here first.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Final

from noctule.errors import InputError

MAX_TEXT_BYTES: Final = 64 * 2**20
"""Size a TOML or JSON file may have."""

MAX_LIST_BYTES: Final = 2**31
"""Size a file may have that names every image: 10 million of them in 200 bytes each."""

MAX_UNPACKED_BYTES: Final = 2**30
MAX_RATIO: Final = 100
"""An archive that unpacks to more than `MAX_UNPACKED_BYTES` may shrink by at most this factor.

Photographs and weights hardly shrink at all; arrays of small drawings shrink tenfold."""

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def reject_special_files(path: Path, *, folder_allowed: bool = False) -> None:
    """Refuse a path that exists but is not a regular file; links are followed.

    Opening a named pipe waits forever, and a device may never end. Nothing is said of what is
    not there or cannot be looked at: opening it has an error of its own.

    Args:
        path: What the user named.
        folder_allowed: Whether a folder will do as well.

    Raises:
        InputError: It is a named pipe, a socket, a device or a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a ValueError: the name has a NUL character
        return
    if stat.S_ISREG(mode) or (folder_allowed and stat.S_ISDIR(mode)):
        return
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    raise InputError(
        f"is {kind}, not a regular file", where=path, remedy="Pass the path of a file."
    )


def real_path(path: str | Path) -> Path:
    """An absolute path without links; `Path.resolve` raises RuntimeError at a loop of links."""
    return Path(os.path.realpath(path))


def read_text(path: Path) -> str:
    """The text of a TOML, JSON or similar small file, as UTF-8 with or without a BOM.

    Raises:
        InputError: It is missing, not a regular file, larger than `MAX_TEXT_BYTES`, cannot be
            read, or is not UTF-8.
    """
    reject_special_files(path)
    try:
        reject_large_files(path, MAX_TEXT_BYTES)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error


def reject_large_files(path: Path, max_bytes: int) -> None:
    """Refuse a file that is larger than what is written there can be.

    Raises:
        InputError: It is.
        OSError: It cannot be looked at.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(
            f"is too large: {size:,} bytes, where {max_bytes:,} are allowed", where=path
        )


def reject_zip_bombs(path: Path) -> None:
    """Refuse a ZIP archive whose directory promises far more than the file holds.

    zipfile and PyTorch never unpack more of an entry than the directory says. A file that is
    no ZIP archive passes.

    Raises:
        InputError: It unpacks to more than `MAX_UNPACKED_BYTES` and shrinks by more than
            `MAX_RATIO`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # whoever reads it says what is wrong
    packed = max(1, path.stat().st_size)
    if unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_RATIO * packed:
        raise InputError(
            f"unpacks to {unpacked:,} bytes, {unpacked // packed:,} times its size, as only a "
            "decompression bomb does",
            where=path,
            remedy="Save it without compression if you trust it.",
        )


def reject_beyond_memory(size_bytes: int, where: object) -> None:
    """Refuse to load what is larger than this machine's memory.

    Raises:
        InputError: It is.
    """
    memory = memory_bytes()
    if memory is not None and size_bytes > memory:
        raise InputError(
            f"needs {size_bytes:,} bytes of memory, and this machine has {memory:,}",
            where=where,
            remedy="Use a smaller file, images in a folder, or a .npy file, which is not "
            "loaded as a whole.",
        )


def memory_bytes() -> int | None:
    """The memory of this machine or, if that is less, of its container; None if unknown."""
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
