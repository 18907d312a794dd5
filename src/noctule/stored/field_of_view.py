"""Whether clean images from elsewhere show the same part of the scene as the stored images.

Published sets hold images that are resized and cropped already; the clean images beside them
are whole photographs, which the model's preprocessing crops its own way. If the two ways
differ, the clean error is of another field of view than the errors under corruption.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from noctule.benchmarks import Condition
from noctule.errors import NoctuleWarning, UnreadableImageError
from noctule.models import Preprocessing
from noctule.stored.plan import PUBLISHED
from noctule.stored.read import StoredSet

SAMPLED_IMAGES: Final = 24
SIDE_PX: Final = 32
MARGIN: Final = 0.03
"""Difference of correlations above which one field of view fits better.

On photographs, a crop of 88 % instead of 97 % of the side costs about 0.1, JPEG and mild
corruptions cost both the same."""


def warn_if_fields_of_view_differ(
    stored: StoredSet, whole: Preprocessing, cropped: Preprocessing
) -> None:
    """Warn if stored images look like another crop of the clean images than the model's.

    Args:
        stored: The set, with clean images from elsewhere.
        whole: What the model does with clean images.
        cropped: What the model does with stored images.

    Warns:
        NoctuleWarning: Another usual crop fits the stored images clearly better.
    """
    if stored.clean_from != "data":
        return
    crops = _usual_crops(*stored.image_px)
    correlations = [
        _correlations(clean, image, whole, crops.values(), cropped)
        for clean, image in _pairs(stored)
    ]
    if not correlations:
        return
    # The median: some corruptions move or blur the image, most do not.
    own, *others = np.median(np.array(correlations), axis=0)
    best = int(np.argmax(others))
    if others[best] > own + MARGIN:
        warnings.warn(
            f"{stored.name}: the clean images are cropped otherwise than the stored images, "
            f"which look {list(crops)[best]} (correlation {others[best]:.2f}, with the model's "
            f"own crop {own:.2f}). The clean error and relative scores compare "
            "different parts of the images.",
            NoctuleWarning,
            stacklevel=2,
        )


def _usual_crops(height: int, width: int) -> dict[str, Preprocessing]:
    """How published sets of this size are made of photographs, by a description."""
    assert isinstance(PUBLISHED.resize_px, int) and PUBLISHED.crop_px is not None  # noqa: PT018
    side = min(height, width)
    published = round(side * PUBLISHED.resize_px / PUBLISHED.crop_px[0])
    crop = (height, width)
    return {
        f"resized to {published} px and cropped to {side} px (--resize {published} "
        f"--crop {side})": Preprocessing(resize_px=published, crop_px=crop),
        f"resized to {side} px and cropped (--resize {side} --crop {side})": Preprocessing(
            resize_px=side, crop_px=crop
        ),
        "squeezed to their size": Preprocessing(resize_px=crop),
        "cropped without resizing": Preprocessing(crop_px=crop),
    }


def _pairs(stored: StoredSet) -> Iterator[tuple[Image.Image, Image.Image]]:
    """(clean image, the same stored under a mild condition) of some images."""
    lowest = min(one.severity or 0 for one in stored.images if one.corruption is not None)
    mild = [one for one in stored.images if one.corruption and (one.severity or 0) == lowest]
    count = min(SAMPLED_IMAGES, len(stored))
    for number, index in enumerate(np.linspace(0, len(stored) - 1, count).round().astype(int)):
        try:
            clean = stored.images[Condition()].read(int(index))
            yield clean, stored.images[mild[number % len(mild)]].read(int(index))
        except UnreadableImageError:
            continue


def _correlations(
    clean: Image.Image,
    stored: Image.Image,
    whole: Preprocessing,
    crops: Iterable[Preprocessing],
    cropped: Preprocessing,
) -> list[float]:
    """Correlation of a stored image with the clean one, in the model's crop and the others."""
    as_stored = (
        Image.fromarray(crop.prepare(clean).permute(1, 2, 0).numpy()) for crop in crops
    )
    shown = [whole.prepare(clean), *(cropped.prepare(image) for image in as_stored)]
    target = _thumbnail(cropped.prepare(stored))
    return [float((target * _thumbnail(image)).mean()) for image in shown]


def _thumbnail(image: Tensor) -> NDArray[np.float64]:
    """Small, grey, of mean 0 and standard deviation 1; a plain image is all 0."""
    grey = image.double().mean(dim=0, keepdim=True)
    small = torch.nn.functional.adaptive_avg_pool2d(grey, SIDE_PX).numpy()
    centred = small - small.mean()
    deviation = centred.std()
    scaled: NDArray[np.float64] = centred / deviation if deviation > 1e-6 else centred * 0
    return scaled
