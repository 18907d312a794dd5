"""Files of object stores such as S3, through fsspec, where a path is an address.

Of a store it is asked only what all of them keep: an object appears whole or not at all,
whoever lists objects sees all that were put before, and an object can be put only if there is
none of its name, which the store decides in one step.
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from noctule.errors import InputError

STORES: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "'noctule[remote]'"),
    "gs": ("gcsfs", "gcsfs"),
    "gcs": ("gcsfs", "gcsfs"),
    "az": ("adlfs", "adlfs"),
    "abfs": ("adlfs", "adlfs"),
    "memory": ("fsspec", "'noctule[remote]'"),
}
"""Schemes whose objects can be written whole, with the module and how to install it."""

REMEDY = (
    "Check the address, the credentials and the network. Finished work is kept: rerun the same "
    "command to resume."
)
# Path has removed slashes.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}([^/].*)", re.DOTALL)
_PART_BYTES = 1 << 24
_AT_ONCE = 32  # objects that are fetched together
# What an object's time is called, by the store.
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class RemoteError(InputError, OSError):
    """An object store cannot be reached, or refuses."""


def address_of(value: object) -> tuple[str, str] | None:
    """Scheme and rest of an address, also of one that `Path` has mangled; None for a path.

    >>> address_of("s3://bucket/key"), address_of(Path("s3://bucket/key"))
    (('s3', 'bucket/key'), ('s3', 'bucket/key'))
    >>> address_of("runs/mine"), address_of("C:/runs")
    (None, None)
    """
    if not isinstance(value, str | os.PathLike):
        return None
    text = os.fspath(value)
    match = _ADDRESS.fullmatch(text.replace("\\", "/")) if isinstance(text, str) else None
    return None if match is None or Path(text).exists() else (match[1], match[2].rstrip("/"))


@dataclass(frozen=True, order=True)
class RemotePath:
    """The address of an object, or of all objects below it; as `pathlib.Path` where it can be.

    There are no folders: those of objects that exist are there.

    Attributes:
        scheme: Such as "s3".
        key: Bucket and name.
    """

    scheme: str
    key: str

    @classmethod
    def parse(cls, address: tuple[str, str], where: str) -> RemotePath:
        """The path of an address.

        Raises:
            InputError: Its scheme is unknown, a package is not installed, or the address has
                parts such as "..".
        """
        scheme, key = address
        if scheme not in STORES:
            raise InputError(
                f"'{scheme}://{key}': files of {scheme} are not written whole or not at all",
                where=where,
                remedy=f"Use {', '.join(f'{known}://' for known in STORES)}, or mount the "
                "store and use a folder.",
            )
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise InputError(
                f"'{scheme}://{key}' is not an address",
                where=where,
                remedy="Leave out . and ..",
            )
        module, package = STORES[scheme]
        for name in ("fsspec", module):
            if importlib.util.find_spec(name) is None:
                raise InputError(
                    f"'{scheme}://{key}' needs the package {name}, which is not installed",
                    where=where,
                    remedy=f"Install it with: pip install {package}",
                )
        return cls(scheme, key)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: object) -> RemotePath:
        return RemotePath(self.scheme, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """The address without the last part."""
        return RemotePath(self.scheme, self.key.rpartition("/")[0])

    @property
    def suffix(self) -> str:
        """Such as ".json"."""
        return PurePosixPath(self.name).suffix

    def absolute(self) -> RemotePath:
        """The address itself."""
        return self

    resolve = expanduser = absolute

    @property
    def _fs(self) -> Any:
        import fsspec

        # A listing that is kept would lack what other processes have written since.
        return fsspec.filesystem(self.scheme, use_listings_cache=False)

    def exists(self) -> bool:
        """Whether there is an object, or one below."""
        return bool(self._info())

    def is_file(self) -> bool:
        """Whether there is an object."""
        return self._info().get("type") == "file"

    def is_dir(self) -> bool:
        """Whether there is an object below."""
        return self._info().get("type") == "directory"

    def is_symlink(self) -> bool:
        """False: stores have none."""
        return False

    def stat(self) -> os.stat_result:
        """Kind, size and time; FileNotFoundError if there is nothing."""
        info = self._info()
        if not info:
            raise FileNotFoundError(f"{self} does not exist")
        kind = stat.S_IFREG if info["type"] == "file" else stat.S_IFDIR
        now = _time_of(info)
        return os.stat_result((kind, 0, 0, 0, 0, 0, int(info["size"] or 0), now, now, now))

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies directly below."""
        return iter([self / name for name in self.times()])

    def times(self) -> dict[str, float]:
        """Names of the objects directly below, and when they were put, by the store's clock.

        The times are seconds since 1970, or 0 if the store does not tell.
        """
        try:
            with _failures(self):
                listed = self._fs.ls(self.key, detail=True)
        except FileNotFoundError:
            return {}
        names = {one["name"].rstrip("/").rpartition("/")[2]: _time_of(one) for one in listed}
        return {name: names[name] for name in sorted(names) if name}

    def names_below(self) -> list[str]:
        """Names of all objects below, at any depth, without this address."""
        with _failures(self):
            found = self._fs.find(self.key)
        return sorted(name.lstrip("/").removeprefix(f"{self.key}/") for name in found)

    def sizes_below(self) -> dict[str, int]:
        """Sizes in bytes of all objects below, by their names in order; see `names_below`."""
        with _failures(self):
            found = self._fs.find(self.key, detail=True)
        sizes = {
            name.lstrip("/").removeprefix(f"{self.key}/"): int(info["size"] or 0)
            for name, info in found.items()
        }
        # A program that shows folders may have put an object for each.
        return {name: sizes[name] for name in sorted(sizes) if name and not name.endswith("/")}

    def version(self) -> str:
        """A text that changes with the content; FileNotFoundError if there is no object."""
        with _failures(self):
            return str(self._fs.ukey(self.key))

    def copy_to(self, file: Path) -> None:
        """Copy the object to a file, part by part; OSError if the disk is full."""
        with _failures(self):
            stream = self._fs.open(self.key, "rb")
        with stream, file.open("wb") as target:
            while True:
                with _failures(self):
                    data = stream.read(_PART_BYTES)
                if not data:
                    return
                target.write(data)

    def read_bytes(self) -> bytes:
        """The object; FileNotFoundError if there is none."""
        with _failures(self):
            return bytes(self._fs.cat_file(self.key))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The object as text."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: bytes) -> None:
        """Put the object, in place of what there is."""
        with _failures(self):
            self._fs.pipe_file(self.key, data)

    def create(self, data: bytes) -> bool:
        """Put the object if there is none; whether it was put."""
        try:
            with _failures(self):
                self._fs.pipe_file(self.key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            with _failures(self):
                self._fs.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _info(self) -> Mapping[str, Any]:
        try:
            with _failures(self):
                info: Mapping[str, Any] = self._fs.info(self.key)
        except FileNotFoundError:
            return {}
        return info


AnyPath = Path | RemotePath


def refuse_private(path: AnyPath) -> None:
    """Refuse the memory of this process, for what several processes are to share.

    Raises:
        InputError: It is.
    """
    if isinstance(path, RemotePath) and path.scheme == "memory":
        raise InputError(
            "is the memory of one process, and several are to write there",
            where=path,
            remedy="Use a folder or an address that all of them see, or one process.",
        )


def read_all(paths: Sequence[RemotePath], most_bytes: int) -> Iterator[bytes | OSError]:
    """The content of objects, many at a time, or why one cannot be read.

    Args:
        paths: Of one store.
        most_bytes: Of larger objects, only the first bytes are read.

    Raises:
        RemoteError: The store cannot be reached, or refuses.
    """
    for start in range(0, len(paths), _AT_ONCE):
        part = paths[start : start + _AT_ONCE]
        fs = part[0]._fs
        keys = [path.key for path in part]
        with _failures(part[0]):
            found = fs.cat_ranges(keys, 0, most_bytes, on_error="return")
        for path, data in zip(part, found, strict=True):
            if isinstance(data, Exception):
                try:
                    with _failures(path):
                        raise data
                except FileNotFoundError as error:
                    yield error
            else:
                yield bytes(data)


@contextmanager
def _failures(path: RemotePath) -> Iterator[None]:
    """Turn what a store's package raises into a RemoteError, and leave what code asks for."""
    try:
        yield
    except (FileNotFoundError, FileExistsError) as error:
        if "bucket does not exist" in str(error):
            raise RemoteError(str(error), where=path, remedy=REMEDY) from error
        raise
    except Exception as error:
        cause = getattr(error.__cause__, "response", None) or {}
        if cause.get("Error", {}).get("Code") == "ConditionalRequestConflict":
            raise FileExistsError(f"{path} is being put") from error
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = " ".join(said.split())[:300]
        reason = "access is denied" if isinstance(error, PermissionError) else "the store fails"
        raise RemoteError(f"{reason}: {text}", where=path, remedy=REMEDY) from error


def _time_of(info: Mapping[str, Any]) -> float:
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if value is not None:
            return value.timestamp() if isinstance(value, datetime) else float(value)
    return 0.0
