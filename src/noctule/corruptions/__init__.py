"""The corruptions: one registry, one file per family."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from noctule.corruptions import noc

# isort: split
# The ImageNet-NOC corruptions come first in the registry, then these.
from noctule.corruptions import imagenet_c, imagenet_c_bar
from noctule.corruptions.draws import SEVERITIES
from noctule.corruptions.registry import CORRUPTIONS, corruption
from noctule.corruptions.spec import MODES, Corruption, Mode

__all__ = [
    "CORRUPTIONS",
    "MODES",
    "SEVERITIES",
    "Corruption",
    "Mode",
    "corrupt",
    "corruption",
    "imagenet_c",
    "imagenet_c_bar",
    "noc",
]  # fmt: skip


def corrupt(
    images: Tensor,
    name: str,
    *,
    ids: Sequence[str | int] | Tensor | None = None,
    seed: int = 0,
    severity: int | None = None,
    mode: Mode = "paper",
    **fixed: float | int | str | Tensor,
) -> Tensor:
    """Corrupt a batch of images; each image on its own, by its id.

    Without ids, the random numbers of an image come from its content: the same image is
    corrupted alike in every batch, process and on every device, and different images get
    different random numbers, also one image per call, as in a transform. Give another seed
    (such as the number of the epoch) for other random numbers.

    Args:
        images: uint8, or float32 in [0, 1]; (batch, channels, height, width) with 1 or 3
            channels, on any device. Never written to. Values that float32 arithmetic has
            carried beyond [0, 1], by up to 1e-6, are clamped.
        name: a name in `noctule.CORRUPTIONS`.
        ids: What the images are called, a whole number or a string for each; 5 and "5" are the
            same. The same id, seed and severity give the same result in any batch. By default a
            64-bit hash of each image, see `noctule.sampling.content_ids`; float32 images are
            rounded to 8 bits for it.
        seed: chooses the benchmark's random numbers.
        severity: 1 (mild) to 5 (severe), or None for the full published range.
        mode: "paper", or "released" for what the released code does, mistakes included.
        **fixed: parameters to set instead of drawing them, one value or one for each image.

    Returns:
        The corrupted images, of the same shape, dtype and device.

    Raises:
        InputError: unknown name, mode or parameter, unsuitable images or severity.

    >>> import torch
    >>> images = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    >>> corrupt(images, "brightness", change=0.2)[0, 0, 0, 0].item()
    151
    """
    return CORRUPTIONS[name].in_mode(mode)(
        images, ids=ids, seed=seed, severity=severity, **fixed
    )
