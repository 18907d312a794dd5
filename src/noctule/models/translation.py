"""Preprocessing that is translated from another library's, and compared with it on an image."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from PIL import Image

from noctule.errors import InputError
from noctule.models.behaviour import probe_images
from noctule.models.preprocessing import Preprocessing

MAX_DIFFERENCE = 4.0
"""Allowed mean difference between the two preprocessings, in levels of 255.

Rounding, another library's resizing and a crop shifted by one pixel stay below; a crop that is
left out, other channels or another range do not."""


def check_translation(
    theirs: Callable[[Image.Image], torch.Tensor], own: Preprocessing
) -> None:
    """Compare two preprocessings on a smooth image of 640 × 480 px.

    Args:
        theirs: From an image to the network's input (channels, height, width).
        own: The translation.

    Raises:
        InputError: The inputs differ in size, or by more than `MAX_DIFFERENCE`.
    """
    blocks = probe_images(1, 3, 7, 7)[0].permute(1, 2, 0).numpy()
    image = Image.fromarray(blocks).resize((640, 480), Image.Resampling.BICUBIC)
    image = image.convert(own.mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(image)
    ours = own.normalise(own.prepare(image))
    if expected.shape != ours.shape:
        sizes = (" × ".join(map(str, one.shape)) for one in (expected, ours))
        raise InputError("its images have the size {}, not {}".format(*sizes))
    levels_per_unit = 255 * torch.tensor(own.std)[:, None, None]
    difference = float(((expected - ours).abs() * levels_per_unit).mean())
    if not difference <= MAX_DIFFERENCE:
        raise InputError(f"its pixels differ by {difference:.0f} levels on average")


def untranslated(spec: str, kind: str, what: str) -> InputError:
    """The error for a preprocessing that cannot be translated.

    Args:
        spec: Name of the model.
        kind: Name of the preprocessing in the other library.
        what: What is wrong with it.
    """
    return InputError(
        f"its {kind} cannot be used: {what}",
        where=spec,
        remedy="Load the model in a function of your own, and return its preprocessing too: "
        "package.module:function (in Python, load_classifier(…, preprocessing=…)).",
    )
