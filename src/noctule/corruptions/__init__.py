"""The corruptions: one registry, one package per benchmark, one file per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from noctule.corruptions.containers import as_batch
from noctule.corruptions.draws import SEVERITIES
from noctule.corruptions.registry import CORRUPTIONS, corruption
from noctule.corruptions.spec import MODES, Corruption, Mode
from noctule.registry import import_modules

ImagesT = TypeVar("ImagesT")

__all__ = ["CORRUPTIONS", "MODES", "SEVERITIES", "Corruption", "Mode", "corrupt", "corruption"]

for _benchmark in ("noc", "imagenet_c", "imagenet_c_bar"):  # in the order of listings
    import_modules(f"{__name__}.{_benchmark}")


def corrupt(
    images: ImagesT,
    name: str,
    *,
    ids: Sequence[str | int] | Tensor | None = None,
    seed: int = 0,
    severity: int | None = None,
    mode: Mode = "paper",
    **fixed: float | int | str | Tensor,
) -> ImagesT:
    """Corrupt a batch of images, each independently of the others.

    The same id, seed and severity give the same result in any batch, process and on any device.
    Without ids, random numbers depend on the content of each image, so that a transform can
    pass one image per call. Pass another seed, such as the number of the epoch, to draw other
    random numbers.

    Args:
        images: uint8, or float32 in [0, 1]; a tensor (batch, channels, height, width) with 1 or
            3 channels, on any device. Never modified. float32 values up to 1e-6 outside [0, 1],
            as left by rounding, are clamped. Also a tensor (channels, height, width), a NumPy
            array (height, width, channels) or (batch, height, width, channels), or a PIL image
            of mode RGB or L.
        name: A name in `noctule.CORRUPTIONS`.
        ids: An integer or string for each image; 5 and "5" are the same id. By default, a
            64-bit hash of each image, see `noctule.corruptions.content.content_ids`; float32
            images are rounded to 8 bits for the hash.
        seed: Seed of all random numbers.
        severity: 1 (mild) to 5 (severe), or None for the full published range.
        mode: "paper" for what the publication describes, "released" for what the authors'
            released code does, mistakes included.
        **fixed: Parameters to set instead of drawing them: one value, or one for each image.

    Returns:
        The corrupted images, with the type, shape, dtype and device of the input.

    Raises:
        InputError: The name, mode or a parameter is unknown, or the images or the severity are
            unsuitable.

    >>> import torch
    >>> images = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    >>> corrupt(images, "brightness", change=0.2)[0, 0, 0, 0].item()
    151
    """
    batch, restore = as_batch(images, name)
    corrupted = CORRUPTIONS[name].in_mode(mode)(
        batch, ids=ids, seed=seed, severity=severity, **fixed
    )
    result: ImagesT = restore(corrupted)
    return result
