"""The packages that ImageNet-C is compared with, and which of them is the reference for what.

The authors' own program, make_imagenet_c.py of hendrycks/robustness, is not a package and needs
ImageMagick. Three packages were made from it, and each changed something. `REFERENCES` says
which of them computes what the program does, and how what is left of a difference is removed.

Nothing here is part of noctule: the packages keep their global random generators.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PACKAGES = ("imagecorruptions", "imgcorr", "corrupt_tta")
FROST_TEXTURES_DRAWN = 5  # of six: what the authors' program draws among
RgbArray = NDArray[np.uint8]


class Reference(NamedTuple):
    """What one corruption is compared with.

    Attributes:
        package: whose function is called.
        why: what the other packages changed, or what this one changed and how it is removed.
        rounded: whether its floats are rounded to bytes, and not truncated.
        length_scale: by what the lengths in our tables are multiplied to be the package's.
    """

    package: str
    why: str
    rounded: bool = False
    length_scale: float = 1.0


_SAME = "The authors' code."
_HSV = "The authors' code; corrupt-tta converts to HSV in float32."
# By our names, in the order of the authors' list.
REFERENCES = {
    "gaussian_noise": Reference("imgcorr", _SAME),
    "shot_noise": Reference("imgcorr", _SAME),
    "impulse_noise": Reference("imgcorr", _SAME),
    "defocus_blur": Reference("imgcorr", _SAME),
    "glass_blur": Reference(
        "imgcorr", "The authors' code; corrupt-tta exchanges pixels in another order."
    ),
    "motion_blur": Reference(
        "imgcorr",
        "ImageMagick's motion blur, reimplemented; ImageMagick rounds, so its result is "
        "rounded here. corrupt-tta averages with equal weights on both sides.",
        rounded=True,
    ),
    "zoom_blur": Reference(
        "imgcorr",
        "The authors' code; images enlarged by more than one pixel too much, which does not "
        "occur at 224 px, are cropped on one side instead of both.",
    ),
    "snow": Reference(
        "imgcorr",
        "The authors' code, except that the flakes are blurred before they are converted to "
        "bytes. corrupt-tta averages with equal weights on both sides.",
    ),
    "frost": Reference(
        "corrupt_tta",
        "The authors' code, with a sixth texture, whose draws are omitted here. imgcorr "
        "enlarges the textures by 10 %.",
    ),
    "fog": Reference(
        "imgcorr", "The authors' code; corrupt-tta uses one decay for all severities."
    ),
    "brightness_c": Reference("imgcorr", _HSV),
    "contrast_c": Reference("imgcorr", _SAME),
    "elastic_transform": Reference(
        "corrupt_tta",
        "The authors' code, with lengths for 224 px instead of 244; noctule's are shortened "
        "accordingly here. imgcorr has no affine part.",
        length_scale=224 / 244,
    ),
    "pixelate_c": Reference(
        "imgcorr", "The authors' code; nearest-neighbour enlargement is equivalent."
    ),
    "jpeg_compression": Reference("imgcorr", _SAME),
    "speckle_noise": Reference("imgcorr", _SAME),
    "gaussian_blur": Reference("imgcorr", _SAME),
    "spatter": Reference(
        "imgcorr", "The authors' code; corrupt-tta implements spatter differently."
    ),
    "saturate": Reference("imgcorr", _HSV),
}  # fmt: skip

# These do other, mostly less, work than the authors' program: one convolution instead of a line
# of Gaussian weights, another spatter, and displacements without the affine part.
OTHER_WORK = {
    ("corrupt_tta", "motion_blur"),
    ("corrupt_tta", "snow"),
    ("corrupt_tta", "spatter"),
    ("imagecorruptions", "elastic_transform"),
    ("imgcorr", "elastic_transform"),
}


def call_reference(
    reference: Reference, published_name: str, image: RgbArray, *, severity: int, seed: int
) -> RgbArray:
    """The reference's image of one seed.

    Args:
        reference: one of `REFERENCES`.
        published_name: of the corruption.
        image: uint8 (height, width, 3).
        severity: 1 to 5.
        seed: of the random generators of NumPy and of Numba.
    """
    function = peer_functions(reference.package)[published_name]
    seed_generators(seed, frost=published_name == "frost")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = np.asarray(function(image, severity))
    return (np.rint(result) if reference.rounded else result).astype(np.uint8)


def seed_generators(seed: int, *, frost: bool = False) -> None:
    """Seed NumPy's generator and Numba's; for frost, with one that leaves the sixth texture."""
    while True:
        np.random.seed(seed)
        # The first number that frost draws is that of the texture.
        if not frost or np.random.randint(1, 7) <= FROST_TEXTURES_DRAWN:
            break
        seed += 1_000_000
    np.random.seed(seed)
    _numba_seeding()(seed)


@functools.cache
def _numba_seeding() -> Callable[[int], None]:
    """Compiled functions have a generator of their own, which only compiled code can seed."""
    from numba import njit

    @njit
    def seed_compiled(seed: int) -> None:
        np.random.seed(seed)

    return seed_compiled


@functools.cache
def peer_functions(package: str) -> dict[str, Callable[[RgbArray, int], Any]]:
    """A package's functions by published name, from uint8 (height, width, 3) and a severity.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    module = import_peer(package)
    functions = module.corruption_dict
    if package == "corrupt_tta":
        return dict(functions)
    return {name: _from_array(function) for name, function in functions.items()}


def _from_array(function: Callable[[Image.Image, int], Any]) -> Callable[[RgbArray, int], Any]:
    return lambda image, severity: function(Image.fromarray(image), severity)


@functools.cache  # what is adapted once must not be adapted again
def import_peer(package: str) -> types.ModuleType:
    """Import one of `PACKAGES`, with stand-ins for what is gone from today's libraries.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        with _setuptools_of_then(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is missing: the comparison with other packages needs it, and "
            "`make setup` installs it"
        ) from error
    functions = importlib.import_module(f"{package}.corruptions")
    if package == "imagecorruptions":
        _modernise(functions)
    if package != "corrupt_tta":
        _seed_impulses(functions)
    return module


@contextmanager
def _setuptools_of_then() -> Iterator[None]:
    """Stands in for pkg_resources, which setuptools no longer has."""

    def resource_filename(module: str, path: str) -> str:
        return str(Path(str(sys.modules[module].__file__)).parent / path)

    before = sys.modules.get("pkg_resources")
    stand_in = types.ModuleType("pkg_resources")
    stand_in.__dict__["resource_filename"] = resource_filename
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]
        if before is not None:
            sys.modules["pkg_resources"] = before


def _modernise(module: types.ModuleType) -> None:
    """Give a module the NumPy and the Gaussian filter that it was written for."""
    numpy_then = types.ModuleType("numpy")
    numpy_then.__dict__.update(np.__dict__, float_=np.float64)
    gaussian_now = module.__dict__["gaussian"]

    def gaussian_then(*args: Any, multichannel: bool = False, **kwargs: Any) -> Any:
        return gaussian_now(*args, channel_axis=-1 if multichannel else None, **kwargs)

    module.__dict__.update(np=numpy_then, gaussian=gaussian_then)


def _seed_impulses(module: types.ModuleType) -> None:
    """Let scikit-image's noise, whose generator is new each time, start from NumPy's."""
    skimage = module.__dict__["sk"]

    def random_noise(*args: Any, **kwargs: Any) -> Any:
        return skimage.util.random_noise(*args, rng=np.random.randint(1 << 31), **kwargs)

    module.__dict__["sk"] = types.SimpleNamespace(
        util=types.SimpleNamespace(random_noise=random_noise), color=skimage.color
    )
