"""Images at addresses of object stores, such as s3://bucket/folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from noctule.cache_folder import cache_folder
from noctule.data import imagenet
from noctule.data.dataset import Dataset
from noctule.data.encoded import MAX_IMAGE_BYTES, EncodedDataset, class_folders, is_used
from noctule.data.files import SPLIT_NAMES, LeftOut, base_name, printable
from noctule.data.registry import (
    DataRequest,
    check_options,
    data_source,
    has_labels,
    source_of,
)
from noctule.data.sources.flat import labels_of
from noctule.data.sources.tar import expanded
from noctule.errors import InputError, OutputError
from noctule.remote import STORES, RemotePath, address_of, read_all

_LOCAL: Final = ("file", "local")
_IN_FOLDERS: Final = (".tar", ".parquet", ".arrow")
_LISTS: Final = (".csv", ".tsv")
# Images that are read in order are fetched this many at a time: one wait for the store.
AHEAD: Final = 32
MAX_AHEAD_BYTES: Final = 1 << 26


class RemoteDataset(EncodedDataset):
    """One image per object below an address, each fetched when it is read.

    Args:
        root: The address.
        names: Names of the images below it.
        sizes: Size of each object in bytes.
        left_out: Description of the objects that are not used.
    """

    def __init__(
        self,
        root: RemotePath,
        class_names: Sequence[str],
        names: Sequence[str],
        labels: Sequence[int],
        *,
        sizes: Sequence[int],
        left_out: str,
    ) -> None:
        self._root = root
        self._names = tuple(names)
        self._fetched: dict[int, bytes | OSError] = {}
        self._last = -1
        super().__init__(
            base_name(Path("/", root.key)),
            class_names,
            list(map(printable, names)),
            labels,
            sizes=sizes,
            domain=imagenet.domain_of(names, class_names, labels),
            left_out=left_out,
        )

    def encoded(self, index: int) -> bytes:
        """See `EncodedDataset.encoded`; RemoteError if the store fails."""
        if index not in self._fetched:
            self._fetch(range(index, index + (AHEAD if index == self._last + 1 else 1)))
        self._last = index
        found = self._fetched.pop(index)
        if isinstance(found, OSError):
            raise found
        return found

    def _fetch(self, indices: range) -> None:
        """Fetch an image, and those after it unless they are large."""
        sizes = self.sizes[indices.start : indices.stop]
        fitting = max(1, int((sizes.cumsum() <= MAX_AHEAD_BYTES).sum()))
        chosen = range(indices.start, indices.start + min(fitting, len(sizes)))
        # Stores refuse to give a part of an empty object.
        there = [index for index in chosen if self.sizes[index]]
        found = read_all([self.file(index) for index in there], MAX_IMAGE_BYTES)
        fetched = dict(zip(there, found, strict=True))
        self._fetched = {index: fetched.get(index, b"") for index in chosen}

    def file(self, index: int) -> RemotePath:
        """See `EncodedDataset.file`."""
        return self._root / self._names[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_fetched": {}}


def _is_address(request: DataRequest) -> bool:
    return address_of(request.text or request.path) is not None


@data_source(
    "remote",
    ("s3://BUCKET/FOLDER or FILE", "class folders, archives or tables in an object store"),
    claims=_is_address,
    takes_labels=True,
)
def open_remote(request: DataRequest) -> Dataset:
    """Open the images at an address.

    Below the address lie class folders, as of `noctule.data.sources.folder`, or, with a labels
    file on a disk, the images of a flat folder. Their objects are fetched when they are read.
    An archive, table or array file, a range of tar archives or a folder of archives or tables
    is copied to the cache folder and opened there, as a file on a disk. Ids are those of the
    same data on a disk.

    Raises:
        InputError: The address is wrong, there is nothing, or what there is cannot be used.
        RemoteError: The store cannot be reached, or refuses.
    """
    address = address_of(request.path)
    assert address is not None
    if address[0] in _LOCAL:
        return _open_on_disk(request, Path(f"/{address[1]}"))
    if address[0] not in STORES:
        raise InputError(
            f"noctule does not read addresses of {address[0]}",
            where=f"{address[0]}://{address[1]}",
            remedy=f"Use {', '.join(f'{known}://' for known in STORES)}, or copy the data to a "
            "disk.",
        )
    path = RemotePath.parse(address, "DATA")
    dataset = _open(request, path)
    options = f"?{urlencode(request.options, quote_via=quote)}" if request.options else ""
    dataset.source = {"spec": f"{path}{options}"}
    return dataset


def _open(request: DataRequest, path: RemotePath) -> Dataset:
    if path.suffix.lower() in _LISTS:
        raise InputError(
            "lists files, whose paths mean nothing in a store",
            where=path,
            remedy="Use the folder of the images, or copy both to a disk.",
        )
    shards = expanded(path.name)
    if len(shards) > 1 or path.is_file():
        return _open_copies(request, path, {name: path.parent / name for name in shards})
    sizes = path.sizes_below()
    if not sizes:
        raise InputError(
            "there is nothing at this address",
            where=path,
            remedy="Check its spelling; names in stores are case-sensitive.",
        )
    if request.labels_file is None and _holds_files(sizes):
        files = {name: path / name for name in sizes if name.lower().endswith(_IN_FOLDERS)}
        return _open_copies(request, path, files, in_folder=True)
    check_options(request.options, (), path)
    if request.labels_file is not None:
        return _open_flat(path, request.labels_file, sizes)
    return _open_folders(path, sizes)


def _holds_files(names: Mapping[str, int]) -> bool:
    """Whether a folder holds archives or tables, not images."""
    left_out = LeftOut()
    return not any(is_used(name, left_out) for name in names) and any(
        name.lower().endswith(_IN_FOLDERS) for name in names
    )


def _open_folders(path: RemotePath, sizes: Mapping[str, int]) -> Dataset:
    left_out = LeftOut()
    used = [name for name in sizes if is_used(name, left_out)]
    folders = class_folders(dict(enumerate(name.split("/") for name in used)), left_out, path)
    if {name.lower() for name in folders.class_names} <= SPLIT_NAMES:
        raise InputError(
            f"its folders are named like splits, not classes: {', '.join(folders.class_names)}",
            where=path,
            remedy=f"Use one of them, such as {path / folders.class_names[-1]}.",
        )
    return RemoteDataset(
        path,
        list(map(printable, folders.class_names)),
        folders.names,
        folders.labels,
        sizes=[sizes[name] for name in folders.names],
        left_out=str(left_out),
    )


def _open_flat(path: RemotePath, labels_file: Path, sizes: Mapping[str, int]) -> Dataset:
    left_out = LeftOut()
    names = [name for name in sizes if "/" not in name and is_used(name, left_out)]
    class_names, labels = labels_of(names, labels_file, path)
    return RemoteDataset(
        path,
        class_names,
        names,
        labels,
        sizes=[sizes[name] for name in names],
        left_out=str(left_out),
    )


def _open_copies(
    request: DataRequest,
    path: RemotePath,
    files: Mapping[str, RemotePath],
    *,
    in_folder: bool = False,
) -> Dataset:
    """Copy files to the cache folder, and open them there."""
    try:
        tokens = [f"{name} {file.version()}" for name, file in files.items()]
    except FileNotFoundError as error:
        raise InputError(f"an object is missing: {error}", where=path) from error
    key = hashlib.blake2b("\n".join([str(path), *tokens]).encode(), digest_size=12).hexdigest()
    folder = cache_folder() / "objects" / key
    root = folder / path.name if in_folder else folder
    for name, file in files.items():
        _copy(file, root / name)
    return _open_on_disk(request, folder / path.name)


def _copy(source: RemotePath, target: Path) -> None:
    """Copy an object, unless it is there, as a whole or not at all."""
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".")
        os.close(handle)
        try:
            source.copy_to(Path(name))
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    except InputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{source} cannot be copied here: {error.strerror or error}",
            where=error.filename or target,
            remedy="Make room, or set NOCTULE_CACHE_DIR to a folder with more.",
        ) from error


def _open_on_disk(request: DataRequest, path: Path) -> Dataset:
    local = DataRequest(str(path), path, request.labels_file, request.options)
    source = source_of(local)
    if source is None:
        raise InputError(
            "is no file of images that noctule can open",
            where=request.text or path,
            remedy="Use a folder, .tar, .zip, .parquet, .npz or .npy: noctule list datasets.",
        )
    if request.labels_file is not None and not source.takes_labels:
        raise has_labels(request.text or str(path), request.labels_file)
    check_options(request.options, source.options, path)
    return source.open(local)
