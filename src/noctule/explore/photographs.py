"""The photographs that the page can show; all are in memory, none has a path."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from PIL import Image
from torch import Tensor

from noctule.data.decode import decode_bytes
from noctule.data.photo_patches import CLASS_NAMES, photograph
from noctule.errors import InputError, UnreadableImageError
from noctule.models import Preprocessing

KEPT_UPLOADS: Final = 8
LARGEST_UPLOAD_BYTES: Final = 20_000_000
LARGEST_UPLOAD_PX: Final = 2**26
"""Pixels an uploaded photograph may have, about 67 million: 200 MB as RGB, and once more."""
LONGEST_UPLOAD_PX: Final = 2**15
"""Its longer side: resizing a very long line takes gigabytes."""

LARGEST_SIDE_PX: Final = 1024
"""Side an image may have after preprocessing; only models that do not resize meet it."""

GIVEN: Final = "given"
_ID_DIGITS = 16


class Photograph(NamedTuple):
    """A photograph as the corruptions see it.

    Attributes:
        key: what the page calls it.
        image_id: what its random numbers depend on.
        image: uint8 (channels, height, width), prepared.
        size_px: (width, height) before.
        source: the name of an embedded photograph, the path of a file, or None for an upload.
    """

    key: str
    image_id: str
    image: Tensor
    size_px: tuple[int, int]
    source: str | None


class Photographs:
    """The embedded photographs, one that was given by name, and the last uploads.

    Of an upload only the prepared image is kept: neither its file nor its metadata.

    Args:
        preprocessing: prepares every photograph.
        given: (source, image id, image) of a file to offer too.

    Raises:
        InputError: the file's image is too large for a model that does not resize.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        given: tuple[str, str, Image.Image] | None = None,
    ) -> None:
        self._preprocessing = preprocessing
        self._known: dict[str, Photograph] = {}
        self._uploads: OrderedDict[str, Photograph] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()
        self.given: Photograph | None = None
        if given is not None:
            source, image_id, image = given
            self.given = self._known[GIVEN] = self._prepared(GIVEN, image_id, image, source)

    def __getitem__(self, key: str) -> Photograph:
        """The photograph with this key.

        Raises:
            InputError: there is none, or no longer.
        """
        with self._lock:
            if found := self._known.get(key) or self._uploads.get(key):
                return found
            if key not in CLASS_NAMES:
                raise InputError(
                    "this photograph is not kept",
                    remedy=f"Add it again; the last {KEPT_UPLOADS} are kept.",
                )
            self._known[key] = self._prepared(key, key, photograph(key), key)
            return self._known[key]

    def add(self, data: bytes) -> Photograph:
        """Decode, prepare and keep an upload; its id is the start of its SHA-256.

        Raises:
            InputError: it is not an image that can be used.
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
                    remedy=f"Use one of at most {LONGEST_UPLOAD_PX:,} px a side.",
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
                remedy=f"Use one of at most {LARGEST_SIDE_PX} px a side.",
            )
        return Photograph(key, image_id, image, source_image.size, source)
