"""The photographs that the page can show, all held in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from PIL import Image
from torch import Tensor

from noctule.data.decode import decode_bytes
from noctule.data.sources.photo_patches import CLASS_NAMES, photograph
from noctule.errors import InputError, UnreadableImageError
from noctule.models import Preprocessing
from noctule.report.sheet import LARGEST_SIDE_PX

KEPT_UPLOADS: Final = 8
LARGEST_UPLOAD_BYTES: Final = 20_000_000
LARGEST_UPLOAD_PX: Final = 2**26
"""Largest number of pixels of an upload: 67 million, 200 MB as RGB, needed twice."""
LONGEST_UPLOAD_PX: Final = 2**15
"""Longest side of an upload: resizing a very long image takes gigabytes."""

FILE_KEY: Final = "file"
_ID_DIGITS = 16


class Photograph(NamedTuple):
    """A prepared photograph.

    Attributes:
        key: Its key on the page.
        image_id: Image id, which determines its random numbers.
        image: Prepared image, uint8 (channels, height, width).
        size_px: (width, height) before preprocessing.
        source: Name of an embedded photograph, path of a file, or None for an upload.
    """

    key: str
    image_id: str
    image: Tensor
    size_px: tuple[int, int]
    source: str | None


class Photographs:
    """The embedded photographs, the one from the command line, and the latest uploads.

    Only the prepared image of an upload is kept, not its file or metadata.

    Args:
        preprocessing: Preprocessing of every photograph.
        file: (source, image id, image) of the file named on the command line.

    Raises:
        InputError: The file's image is too large for a model that does not resize.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        file: tuple[str, str, Image.Image] | None = None,
    ) -> None:
        self._preprocessing = preprocessing
        self._known: dict[str, Photograph] = {}
        self._uploads: OrderedDict[str, Photograph] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()
        self.file_photo: Photograph | None = None
        if file is not None:
            source, image_id, image = file
            self.file_photo = self._known[FILE_KEY] = self._prepared(
                FILE_KEY, image_id, image, source
            )

    def __getitem__(self, key: str) -> Photograph:
        """The photograph with this key.

        Raises:
            InputError: It is unknown or no longer kept.
        """
        with self._lock:
            if photo := self._known.get(key) or self._uploads.get(key):
                return photo
            if key not in CLASS_NAMES:
                raise InputError(
                    "this photograph is no longer kept",
                    remedy=f"Add it again; the last {KEPT_UPLOADS} are kept.",
                )
            self._known[key] = self._prepared(key, key, photograph(key), key)
            return self._known[key]

    def add(self, data: bytes) -> Photograph:
        """Decode, prepare and keep an upload, whose id is the start of its SHA-256.

        Raises:
            InputError: It is not a usable image.
        """
        image_id = hashlib.sha256(data).hexdigest()[:_ID_DIGITS]
        with self._decoding:  # one at a time: decoding may take a few hundred megabytes
            try:
                image = decode_bytes(data, image_id, largest_px=LARGEST_UPLOAD_PX)
            except UnreadableImageError as error:
                raise InputError(f"this file cannot be used: {error.reason}") from error
            if max(image.size) > LONGEST_UPLOAD_PX:
                raise InputError(
                    f"this photograph is {max(image.size):,} px long",
                    remedy=f"Use one with at most {LONGEST_UPLOAD_PX:,} px per side.",
                )
            added = self._prepared(image_id, image_id, image, None)
        with self._lock:
            self._uploads[image_id] = added
            self._uploads.move_to_end(image_id)
            while len(self._uploads) > KEPT_UPLOADS:
                self._uploads.popitem(last=False)
            return added

    def _prepared(
        self, key: str, image_id: str, source_image: Image.Image, source: str | None
    ) -> Photograph:
        image = self._preprocessing.prepare(source_image)
        height, width = image.shape[1:]
        if max(height, width) > LARGEST_SIDE_PX:
            raise InputError(
                f"this photograph has {width} × {height} px, and the model does not resize it",
                remedy=f"Use one with at most {LARGEST_SIDE_PX} px per side.",
            )
        return Photograph(key, image_id, image, source_image.size, source)
