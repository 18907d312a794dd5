"""A zip archive with one folder of images per class."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from noctule.data import imagenet
from noctule.data.encoded import (
    ClassFolders,
    EncodedDataset,
    check_member,
    in_class_folders,
    is_used,
)
from noctule.data.files import LeftOut, base_name, printable
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError, shown
from noctule.input_files import reject_special_files, reject_zip_bombs

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1  # bit of a member's flags


class ZipDataset(EncodedDataset):
    """The images in a zip archive, read from it one by one.

    Args:
        file: The archive.
        members: Directory entry of each image.
        folders: Classes and paths of the images.
        left_out: Description of the members that are not used.
    """

    def __init__(
        self,
        file: Path,
        members: Sequence[zipfile.ZipInfo],
        folders: ClassFolders,
        left_out: str,
    ) -> None:
        self._file = file.absolute()
        self._members = [member.filename for member in members]
        self._archive: tuple[int, zipfile.ZipFile] | None = None
        super().__init__(
            base_name(file),
            list(map(printable, folders.class_names)),
            list(map(printable, folders.names)),
            folders.labels,
            sizes=[member.file_size for member in members],
            domain=imagenet.domain_of(folders.names, folders.class_names, folders.labels),
            left_out=left_out,
        )

    def encoded(self, index: int) -> bytes:
        """See `EncodedDataset.encoded`."""
        # A forked process must not share the position of its parent's file.
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = (os.getpid(), zipfile.ZipFile(self._file))
        return self._archive[1].read(self._members[index])

    def file(self, index: int) -> Path:
        """See `EncodedDataset.file`."""
        del index
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_archive": None}


def _is_zip(request: DataRequest) -> bool:
    return request.path.suffix.lower() == ".zip" and request.path.exists()


@data_source(
    "zip",
    ("FILE.zip?split=FOLDER", "an archive with one folder of images per class"),
    claims=_is_zip,
    opens_paths=True,
    options=("split",),
)
def open_zipped(request: DataRequest) -> ZipDataset:
    """The images in a zip archive; see `open_zip`."""
    return open_zip(request.path, request.options.get("split"))


def open_zip(file: Path, split: str | None = None) -> ZipDataset:
    """Open a zip archive of class folders, without unpacking it.

    Classes, order, ids and fingerprint are those of the folder that was archived
    (`noctule.data.sources.folder`).

    Args:
        file: The archive; its members are stored or deflated.
        split: Folder of the split to use, if the archive has several.

    Raises:
        InputError: The archive is damaged or encrypted, unpacks to far more than its size, has
            no class folders, or a member is a link or has a path outside the archive.
    """
    reject_special_files(file)
    reject_zip_bombs(file)
    left_out = LeftOut()
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(
            f"is not a zip archive that can be read: {error}",
            where=file,
            remedy="Download or create it again.",
        ) from error
    images: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = check_member(member.filename, file)
        if member.is_dir() or not is_used(name, left_out):
            continue
        _check_image(member, file)
        if name in images:
            raise InputError(f"has two members '{shown(name)}'", where=file)
        images[name] = member
    folders = in_class_folders(list(images), split, left_out, file)
    in_order = list(images.values())
    chosen = [in_order[index] for index in folders.order]
    return ZipDataset(file, chosen, folders, str(left_out))


def _check_image(member: zipfile.ZipInfo, file: Path) -> None:
    where = f"{file}, member '{shown(member.filename)}'"
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(
            "is a link", where=where, remedy="Create the archive again, with links resolved."
        )
    if member.flag_bits & _ENCRYPTED:
        raise InputError("is encrypted", where=where, remedy="Save it without a password.")
    if member.compress_type not in _METHODS:
        raise InputError(
            f"is compressed by method {member.compress_type}",
            where=where,
            remedy="Create the archive again, stored or deflated.",
        )
