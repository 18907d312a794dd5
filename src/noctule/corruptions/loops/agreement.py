"""Whether a compiled loop and its torch kernel make the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noctule.corruptions.draws import SEVERITIES
from noctule.corruptions.fields import uniform_field
from noctule.corruptions.registry import CORRUPTIONS
from noctule.corruptions.spec import MODES
from noctule.sampling import Stream, image_keys, key_of

SIZES_PX = ((16, 16), (47, 33), (32, 75), (224, 224))
"""Height and width: the smallest, odd and oblong ones, and that of ImageNet."""


def differences(
    name: str, sizes_px: Sequence[tuple[int, int]] = SIZES_PX, *, images: int = 2, seed: int = 0
) -> list[str]:
    """Where a corruption's loop and its kernel give different pixels.

    Both run on random images of these sizes, grey and in colour, of both dtypes, in every mode
    and at every severity.

    Args:
        name: A corruption.
        sizes_px: Heights and widths.
        images: Number of images of each size.
        seed: Seed of the images and of the corruption.

    Returns:
        One line for each case that differs; none if the corruption has no loop.

    Raises:
        InputError: The corruption is unknown.

    >>> differences("brightness", [(16, 16)])
    []
    """
    found = []
    for mode in MODES if CORRUPTIONS[name].has_modes else MODES[:1]:
        corruption = CORRUPTIONS[name].in_mode(mode)
        for batch in _batches(sizes_px, images, corruption.channels, seed):
            for severity in (*SEVERITIES, None):
                drawn = corruption.draw(range(images), seed, severity)
                by_loop = corruption(batch, ids=range(images), seed=seed, severity=severity)
                off = (by_loop.double() - corruption.apply_kernel(batch, drawn).double()).abs()
                if bool(off.any()):
                    shape = " × ".join(map(str, batch.shape[1:]))
                    found.append(
                        f"{name}, {mode} mode, severity {severity}, {batch.dtype}, {shape}: "
                        f"{int((off > 0).sum())} of {off.numel()} values, by {off.max():g}"
                    )
    return found


def _batches(
    sizes_px: Sequence[tuple[int, int]], count: int, channels: int | None, seed: int
) -> list[Tensor]:
    """Random images from smooth to rough, and black and white ones among them."""
    random = Stream(image_keys(key_of("agreement", seed), range(count)))
    batches = []
    for height, width in sizes_px:
        for number in (channels,) if channels else (1, 3):
            shape = (count, number, height, width)
            coarse = uniform_field(random, number * 36).view(count, number, 6, 6)
            smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
            noise = uniform_field(random, math.prod(shape[1:])).view(shape) - 0.5
            values = (1.6 * smooth - 0.3 + 0.2 * noise).clamp(0, 1)
            batches += [(255 * values).round().to(torch.uint8), values]
    return batches
