"""Refuse pickles that allocate far more memory than their size.

PyTorch's restricted unpickler runs no code, but it calls `bytearray`, which can allocate
gigabytes for a single number.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from noctule.errors import InputError
from noctule.input_files import reject_beyond_memory, reject_zip_bombs

_INFLATING: Final = "bytearray"
_PICKLES_IN_OLD_FILES: Final = 5  # magic number, version, system, weights, names of storages


def reject_inflating_pickle(path: Path) -> None:
    """Refuse a weights file that is far larger in memory than on disk.

    A damaged file passes, because reading it raises a better error.

    Raises:
        InputError: The archive is a decompression bomb, the pickle calls `bytearray`, or the
            file is larger than the available memory.
    """
    reject_zip_bombs(path)
    reject_beyond_memory(path.stat().st_size, path)
    with _pickle_stream(path) as stream:
        for word in _words(stream):
            if _INFLATING in word.split():
                raise InputError(
                    f"its pickle calls '{_INFLATING}', which weights do not need and which can "
                    "exhaust the memory",
                    where=path,
                    remedy="Save the weights alone: torch.save(model.state_dict(), path), or "
                    "with safetensors.",
                )


@contextmanager
def _pickle_stream(path: Path) -> Iterator[IO[bytes]]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if names:
            with archive.open(names[0]) as entry:
                yield entry
        else:
            with path.open("rb") as stream:
                yield stream


def _words(stream: IO[bytes]) -> Iterator[str]:
    """All strings in the pickles of a stream, including the names of called objects."""
    try:
        for _ in range(_PICKLES_IN_OLD_FILES):
            for _, argument, _ in pickletools.genops(stream):
                if isinstance(argument, str):
                    yield argument
    except Exception:  # pickletools can raise any exception for damaged files
        return
