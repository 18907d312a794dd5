"""Small archives of images for the tests of noctule.data."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def tar_of(file: Path, members: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar archive of these members."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=format) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def zip_of(file: Path, folder: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive of a folder, with the folder's own name in front."""
    with zipfile.ZipFile(file, "w", method) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder.parent))
    return file
