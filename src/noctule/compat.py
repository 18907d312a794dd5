"""A drop-in replacement for the package imagecorruptions.

`from imagecorruptions import corrupt` becomes `from noctule.compat import corrupt`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.arguments import whole_number
from noctule.corruptions import CORRUPTIONS, SEVERITIES, Corruption, Mode
from noctule.corruptions.checks import check_size
from noctule.corruptions.content import array_ids
from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.loops import driver
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.errors import InputError, unknown_name

# In the order of `corruption_number` in imagecorruptions.
COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur",
    "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness_c", "contrast_c",
    "elastic_transform", "pixelate_c", "jpeg_compression",
)  # fmt: skip
VALIDATION = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
_SUBSETS = {
    "common": COMMON,
    "validation": VALIDATION,
    "all": COMMON + VALIDATION,
    "noise": COMMON[:3],
    "blur": COMMON[3:7],
    "weather": COMMON[7:11],
    "digital": COMMON[11:],
}


def get_corruption_names(subset: str = "common") -> list[str]:
    """The published names of ImageNet-C's corruptions.

    Args:
        subset: "common" (the 15 benchmark corruptions), "validation" (the 4 others), "all",
            "noise", "blur", "weather" or "digital".

    Raises:
        InputError: The subset is unknown.

    >>> get_corruption_names("validation")
    ['speckle_noise', 'gaussian_blur', 'spatter', 'saturate']
    """
    if not isinstance(subset, str) or subset not in _SUBSETS:
        raise unknown_name("subset", subset, _SUBSETS)
    return [CORRUPTIONS[name].published_name for name in _SUBSETS[subset]]


def corrupt(
    image: NDArray[np.uint8],
    severity: int = 1,
    corruption_name: str | None = None,
    corruption_number: int = -1,
    *,
    seed: int = 0,
    mode: Mode = "released",
) -> NDArray[np.uint8]:
    """Corrupt one image, with the signature of `imagecorruptions.corrupt`.

    As in that package, lengths are in pixels of the image and do not scale with its size as
    elsewhere in noctule; below 224 px they are limited to what the corruption allows.

    Departures: random numbers depend on the content of the image and the seed, not on NumPy's
    global generator, so that results are the same in every process. Pass another seed, such as
    the number of the epoch, to draw other random numbers. Where imagecorruptions changed the
    authors' code for ImageNet-C, this function follows the authors: elastic_transform has its
    affine part, frost textures are not enlarged, and both scale with the image.

    Args:
        image: uint8 (height, width), (height, width, 1) or (height, width, 3); sides of at
            least 16 px.
        severity: 1 (mild) to 5 (severe).
        corruption_name: One of `get_corruption_names("all")`.
        corruption_number: Index into these names, used if `corruption_name` is None.
        seed: Seed of the random numbers.
        mode: "released", like that package, or "paper"; see `noctule.corrupt`.

    Returns:
        uint8 (height, width, 3).

    Raises:
        InputError: The image, severity, name or number is unsuitable.

    >>> image = np.full((32, 32, 3), 100, dtype=np.uint8)
    >>> corrupt(image, severity=3, corruption_name="contrast")[0, 0].tolist()
    [100, 100, 100]
    """
    name = _name(corruption_name, corruption_number)
    severity = whole_number(severity, "severity", low=SEVERITIES[0], high=SEVERITIES[-1])
    pixels = _as_rgb(image)
    height, width, _ = pixels.shape
    check_size(height, width, name)
    corruption = _in_pixels(CORRUPTIONS[name].in_mode(mode), min(height, width))
    ids = array_ids(pixels[None]) if corruption.is_random(severity) else None
    drawn = corruption.draw(ids, seed, severity)
    result = np.empty_like(pixels)
    batch, out = (array.transpose(2, 0, 1)[None] for array in (pixels, result))
    if not driver.run(corruption, batch, out, drawn):
        out[...] = corruption.apply_kernel(torch.from_numpy(batch), drawn).numpy()
    return result


@functools.lru_cache(maxsize=1024)
def _in_pixels(corruption: Corruption, side_px: int) -> Corruption:
    """The corruption with the published lengths in pixels of an image of this size."""
    scale = REFERENCE_SIDE_PX / side_px
    tables = {
        key: [min(value * scale, draw.highest) for value in draw.values]
        for key, draw in corruption.draws.items()
        if isinstance(draw, PerSeverity) and key.endswith("_px")
    }
    if corruption.name == "elastic_transform" or not tables:
        return corruption
    return corruption.with_tables(tables)


def _name(name: str | None, number: int) -> str:
    if name is None:
        last = len(_SUBSETS["all"]) - 1
        remedy = f"Pass a corruption_name, or a number from 0 to {last}."
        return _SUBSETS["all"][
            whole_number(number, "corruption_number", low=0, high=last, remedy=remedy)
        ]
    if not isinstance(name, str) or name not in _by_published_name():
        raise unknown_name("corruption", name, _by_published_name())
    return _by_published_name()[name]


@functools.cache
def _by_published_name() -> dict[str, str]:
    return dict(zip(get_corruption_names("all"), _SUBSETS["all"], strict=True))


def _as_rgb(image: Any) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        remedy = "Pass a NumPy array of dtype uint8."
        raise InputError(f"is of type {kind}", where="image", remedy=remedy)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise InputError(
            f"has shape {image.shape}",
            where="image",
            remedy="Pass (height, width), or (height, width, 1 or 3).",
        )
    pixels: NDArray[np.uint8] = image
    if pixels.shape[2] == 3 and pixels.flags.carray:
        return pixels
    # Loops are compiled for arrays that can be written to.
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")
