"""Whether clean images from elsewhere show the same part of the scene as the stored images.

Published sets hold images that are resized and cropped already; the clean images beside them
are whole photographs, which the model's preprocessing crops its own way. If the two ways
differ, the clean error is of another field of view than the errors under corruption.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
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
"""Difference of correlations beyond which one field of view is said to fit better.

On photographs, a crop of 88 % instead of 97 % of the side costs about 0.1, JPEG and mild
corruptions cost both the same."""


def warn_if_fields_of_view_differ(
    stored: StoredSet, prepare: Callable[[Image.Image], Image.Image], present: Preprocessing
) -> None:
    """Warn if stored images look like another crop of the clean images than the model's.

    Args:
        stored: The set, with clean images from elsewhere.
        prepare: What makes a clean image like a stored one.
        present: What the model does with either, then.

    Warns:
        NoctuleWarning: Another usual crop fits the stored images clearly better.
    """
    if stored.clean_from != "data":
        return
    ways = {"": prepare, **_usual_ways(*stored.image_px)}
    found = [_correlations(pair, list(ways.values()), present) for pair in _pairs(stored)]
    if not found:
        return
    # The median: some corruptions move or blur the image, most do not.
    typical = np.median(np.array(found), axis=0)
    best = int(np.argmax(typical))
    if typical[best] > typical[0] + MARGIN:
        warnings.warn(
            f"{stored.name}: the clean images are cropped otherwise than the stored images, "
            f"which look {list(ways)[best]} (correlation {typical[best]:.2f}, with the model's "
            f"own crop {typical[0]:.2f}). The clean error and relative scores compare "
            "different parts of the images.",
            NoctuleWarning,
            stacklevel=2,
        )


def _usual_ways(height: int, width: int) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """How published sets of this size are made of photographs, in words."""
    assert isinstance(PUBLISHED.resize_px, int) and PUBLISHED.crop_px is not None  # noqa: PT018
    side = min(height, width)
    published = round(side * PUBLISHED.resize_px / PUBLISHED.crop_px[0])
    crop = (height, width)
    ways = {
        f"resized to {published} px and cropped to {side} px (--resize {published} "
        f"--crop {side})": Preprocessing(resize_px=published, crop_px=crop),
        f"resized to {side} px and cropped (--resize {side} --crop {side})": Preprocessing(
            resize_px=side, crop_px=crop
        ),
        "squeezed to their size": Preprocessing(resize_px=crop),
        "cropped without resizing": Preprocessing(crop_px=crop),
    }
    return {told: _image_maker(one) for told, one in ways.items()}


def _image_maker(preprocessing: Preprocessing) -> Callable[[Image.Image], Image.Image]:
    def made(image: Image.Image) -> Image.Image:
        return Image.fromarray(preprocessing.prepare(image).permute(1, 2, 0).numpy())

    return made


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
    pair: tuple[Image.Image, Image.Image],
    ways: list[Callable[[Image.Image], Image.Image]],
    present: Preprocessing,
) -> NDArray[np.float64]:
    clean, stored = pair
    target = _thumbnail(present.prepare(stored))
    shown = [_thumbnail(present.prepare(way(clean))) for way in ways]
    return np.array([float((target * one).mean()) for one in shown])


def _thumbnail(image: Tensor) -> NDArray[np.float64]:
    """Small, grey, of mean 0 and standard deviation 1; a plain image is all 0."""
    grey = image.double().mean(dim=0, keepdim=True)
    small = torch.nn.functional.adaptive_avg_pool2d(grey, SIDE_PX).numpy()
    centred = small - small.mean()
    deviation = centred.std()
    scaled: NDArray[np.float64] = centred / deviation if deviation > 1e-6 else centred * 0
    return scaled
