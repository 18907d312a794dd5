"""photo-patches: a dataset that needs no download.

Its images are crops of sixteen photographs in the scikit-image and scikit-learn packages; the
class of a crop is its photograph. Each photograph is divided like a chessboard into tiles of
about 144 px. Black tiles are for training and white tiles for testing. No crop leaves its tile,
so the splits share no pixels.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from noctule.data.dataset import Dataset
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError
from noctule.extras import require

Split = Literal["train", "test"]

IMAGE_SIDE_PX: Final = 64
CROP_SIDES_PX: Final = (72, 84, 96, 112)
"""Sides of the crops before they are scaled to 64 px."""

CROPS_PER_CLASS: Final[dict[Split, int]] = {"train": 320, "test": 64}

_TILE_SIDE_PX = 144
# Two guards make 8 px, one JPEG block, so that no block spans two crops of different tiles.
_GUARD_PX = 4
# Crops with less contrast are plain sky or black border and do not identify a photograph.
_LEAST_CONTRAST = 8.0
# The R2 low-discrepancy sequence (M. Roberts 2018) times 2^32, for integer arithmetic.
_R2 = (3242174889, 2447445414)


class _Photo(NamedTuple):
    package: str
    path: str
    sha256: str
    shrink: int = 1


class Rectangle(NamedTuple):
    """A region of a photograph in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


_PHOTOS: Final = {
    "astronaut": _Photo(
        "skimage",
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    "brick": _Photo(
        "skimage",
        "data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    "camera": _Photo(
        "skimage",
        "data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    "cat": _Photo(
        "skimage",
        "data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    "china": _Photo(
        "sklearn",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    "coffee": _Photo(
        "skimage",
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    "coins": _Photo(
        "skimage",
        "data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    ),
    "flower": _Photo(
        "sklearn",
        "datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
    "grass": _Photo(
        "skimage",
        "data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    ),
    "gravel": _Photo(
        "skimage",
        "data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
    "hubble": _Photo(
        "skimage",
        "data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    "moon": _Photo(
        "skimage",
        "data/moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    ),
    "motorcycle": _Photo(
        "skimage",
        "data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    ),
    "retina": _Photo(
        "skimage",
        "data/retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        shrink=2,
    ),
    "rocket": _Photo(
        "skimage",
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    "tissue": _Photo(
        "skimage",
        "data/ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    ),
}

CLASS_NAMES: Final = tuple(_PHOTOS)


class PhotoPatches(Dataset):
    """One split of photo-patches: 64 × 64 RGB crops in 16 balanced classes.

    The classes alternate, so any 16 consecutive images contain each class once.

    Args:
        split: Split: "train" (5,120 crops) or "test" (1,024 crops).

    Raises:
        InputError: A photograph is missing, or differs from the one on which the reference
            errors were measured.
    """

    in_memory = True

    def __init__(self, split: Split = "test") -> None:
        self.split = split
        count = CROPS_PER_CLASS[split]
        self._rectangles = {name: _choose_crops(name, split, count) for name in CLASS_NAMES}
        order = [(name, i) for i in range(count) for name in CLASS_NAMES]
        super().__init__(
            name=f"photo-patches/{split}",
            class_names=CLASS_NAMES,
            ids=[f"photo-patches/{split}/{name}/{i:04d}" for name, i in order],
            labels=np.tile(np.arange(len(CLASS_NAMES)), count),
            domain=f"photo-patches/{split}",
        )

    def __reduce__(self) -> tuple[type[PhotoPatches], tuple[Split]]:
        # Worker processes cut their own crops from the installed photographs.
        return (PhotoPatches, (self.split,))

    def rectangle(self, index: int) -> Rectangle:
        """The region of `photograph` that image `index` shows."""
        number, class_index = divmod(index, len(CLASS_NAMES))
        return self._rectangles[CLASS_NAMES[class_index]][number]

    def read(self, index: int) -> Image.Image:
        """Image `index`, 64 × 64 RGB: cropped first, so that pixels outside have no effect."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        crop = photograph(CLASS_NAMES[self.labels[index]]).crop(self.rectangle(index))
        return crop.resize((IMAGE_SIDE_PX, IMAGE_SIDE_PX), Image.Resampling.BICUBIC)

    def content(self) -> Iterator[bytes]:
        """The pixel values of all crops."""
        return (self.read(index).tobytes() for index in range(len(self)))


def _is_embedded(request: DataRequest) -> bool:
    return request.text in ("photo-patches", "photo-patches/test", "photo-patches/train")


@data_source(
    "photo-patches",
    ("photo-patches", "embedded: 1,024 test crops of 16 photographs, 64 × 64"),
    ("photo-patches/test", "embedded: another name of photo-patches"),
    ("photo-patches/train", "embedded: the 5,120 crops to train on"),
    claims=_is_embedded,
)
def open_photo_patches(request: DataRequest) -> PhotoPatches:
    """Open the embedded dataset with this name."""
    return PhotoPatches("train" if request.text == "photo-patches/train" else "test")


@lru_cache(maxsize=len(_PHOTOS))
def photograph(class_name: str) -> Image.Image:
    """The RGB photograph of a class at the scale of the crops (retina: half size).

    The result is cached: copy it before modifying it.

    Raises:
        InputError: The installed package does not contain the expected file.
    """
    photo = _PHOTOS[class_name]
    file = _package_folder(photo.package) / photo.path
    if not file.is_file():
        raise _wrong_photo(photo, "is missing")
    if hashlib.sha256(file.read_bytes()).hexdigest() != photo.sha256:
        raise _wrong_photo(photo, "is not the photograph that defines this dataset")
    with Image.open(file) as opened:
        return opened.convert("RGB").reduce(photo.shrink)


def tiles(width_px: int, height_px: int, split: Split) -> list[Rectangle]:
    """The tiles of one split, without their guards.

    >>> [tuple(tile) for tile in tiles(288, 288, "train")]
    [(4, 4, 140, 140), (148, 148, 284, 284)]
    """
    columns, rows = round(width_px / _TILE_SIDE_PX), round(height_px / _TILE_SIDE_PX)
    colour = ("train", "test").index(split)
    return [
        Rectangle(
            left=width_px * column // columns + _GUARD_PX,
            top=height_px * row // rows + _GUARD_PX,
            right=width_px * (column + 1) // columns - _GUARD_PX,
            bottom=height_px * (row + 1) // rows - _GUARD_PX,
        )
        for row in range(rows)
        for column in range(columns)
        if (row + column) % 2 == colour
    ]


def _choose_crops(class_name: str, split: Split, count: int) -> list[Rectangle]:
    """The first `count` candidates with enough contrast, alternating between tiles."""
    photo = photograph(class_name)
    grey = np.asarray(photo.convert("L"))
    chosen: list[Rectangle] = []
    for candidate in _candidates(tiles(photo.width, photo.height, split), limit=8 * count):
        left, top, right, bottom = candidate
        if grey[top:bottom, left:right].std() >= _LEAST_CONTRAST:
            chosen.append(candidate)
        if len(chosen) == count:
            return chosen
    raise InputError(f"found {len(chosen)} of {count} crops", where=f"photo-patches/{split}")


def _candidates(regions: list[Rectangle], limit: int) -> Iterator[Rectangle]:
    """Squares of alternating sides, evenly spread over the regions."""
    for i in range(limit):
        k, turn = divmod(i, len(regions))
        region, side = regions[turn], CROP_SIDES_PX[k % len(CROP_SIDES_PX)]
        left = region.left + _spread(k, _R2[0], region.right - region.left - side + 1)
        top = region.top + _spread(k, _R2[1], region.bottom - region.top - side + 1)
        yield Rectangle(left, top, left + side, top + side)


def _spread(k: int, step: int, count: int) -> int:
    return ((k + 1) * step % 2**32) * count >> 32


def _package_folder(package: str) -> Path:
    require("photos")
    # Not imported: scikit-image and scikit-learn take seconds to import.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None  # both packages have an __init__.py
    return Path(spec.origin).parent


def _wrong_photo(photo: _Photo, what: str) -> InputError:
    return InputError(
        f"the photograph {photo.package}/{photo.path} {what}",
        where="photo-patches",
        remedy="Install versions that contain it: pip install scikit-image==0.26 "
        "scikit-learn==1.9.",
    )
