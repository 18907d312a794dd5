"""What a pickle of weights may not ask for: memory far beyond its size.

PyTorch's restricted unpickler runs no code, but it does call `bytearray`, which makes gigabytes
of a number.
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
    """Refuse a weights file that becomes far larger in memory than it is on the disk.

    A damaged file passes: reading it says what is wrong.

    Raises:
        InputError: Its archive is a decompression bomb, its pickle makes memory of a number, or
            it is larger than the memory.
    """
    reject_zip_bombs(path)
    reject_beyond_memory(path.stat().st_size, path)
    with _pickle_stream(path) as stream:
        for word in _words(stream):
            if _INFLATING in word.split():
                raise InputError(
                    f"its pickle calls '{_INFLATING}', which no weights need and which can "
                    "fill the memory",
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
    """Every text in the pickles of a stream, names of what they call among them."""
    try:
        for _ in range(_PICKLES_IN_OLD_FILES):
            for _, argument, _ in pickletools.genops(stream):
                if isinstance(argument, str):
                    yield argument
    except Exception:  # damaged bytes make pickletools raise nearly anything
        return
