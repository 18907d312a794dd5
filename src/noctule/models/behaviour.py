"""A network's outputs for fixed images, which identify it beyond its state dict.

Wrappers around an ONNX session or a remote service have no parameters, so they all have the
same hash of weights. Their outputs distinguish them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from noctule.errors import InputError
from noctule.sampling import Stream, image_keys, key_of

PROBES = 4
BLOCKS = 7  # along each side of a probe
MOST_LOGITS = 64  # recorded for each probe

# By precision, the largest difference between two runs of the same network, as a share of the
# logits' standard deviation. A float32 has 24 bits (11 in TF32, which GPUs use for
# convolutions), a bfloat16 has 8 and a float16 11. An error of 2**-8 in each of many layers
# adds up to a few hundredths; different networks differ by about 1.
TOLERANCES = {"float32": 0.01, "float64": 0.01}
LOW_PRECISION_TOLERANCE = 0.1


def probe_images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Fixed images of random blocks, the same on every machine; `PROBES` of them repeat.

    Returns:
        uint8 (count, channels, height, width).

    >>> probe_images(5, 3, 32, 32)[::4].unique(dim=0).shape
    torch.Size([1, 3, 32, 32])
    """
    stream = Stream(image_keys(key_of("probe"), range(PROBES)))
    levels = stream.bits16(channels * BLOCKS**2).view(-1, channels, BLOCKS, BLOCKS) & 255
    rows, columns = (torch.arange(side) * BLOCKS // side for side in (height, width))
    images = levels.to(torch.uint8)[:, :, rows][..., columns]
    return images[torch.arange(count) % PROBES].contiguous()


def behaviour_of(logits_of: Callable[[Tensor], Tensor], images: Tensor) -> list[list[float]]:
    """Some of the logits for each distinct probe.

    Args:
        logits_of: From uint8 images to float32 logits (batch, classes).
        images: From `probe_images`, one batch.
    """
    logits = logits_of(images)[:PROBES]
    if logits.dim() != 2 or not bool(logits.isfinite().all()):
        return []  # the self-check or the evaluation reports what is wrong with them
    classes = logits.shape[1]
    chosen = torch.arange(min(classes, MOST_LOGITS)) * classes // min(classes, MOST_LOGITS)
    # Seven digits, which suffice for the precision of a float32.
    return [[float(f"{value:.7g}") for value in row] for row in logits[:, chosen].tolist()]


def refuse_other_behaviour(
    starts: Sequence[dict[str, Any]],
    behaviour: list[list[float]],
    *,
    precision: str,
    name: str,
    where: object,
) -> None:
    """Raise InputError if a network's outputs differ from those at the start of the run.

    Args:
        starts: The run's records of its starts; the first with a `behaviour` counts.
        behaviour: The network's outputs, from `behaviour_of`.
        precision: Precision of the run.
        name: Name of the network, for the message.
        where: The run folder, for the message.
    """
    recorded = next((start["behaviour"] for start in starts if start.get("behaviour")), None)
    if recorded is None:
        return
    try:
        before, now = (
            torch.tensor(rows, dtype=torch.float64) for rows in (recorded, behaviour)
        )
        comparable = before.shape == now.shape
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            "its record of the model's outputs cannot be read", where=where
        ) from error
    spread = float(before.std()) if before.numel() > 1 else 0.0
    spread = max(spread, 1e-6 * float(before.abs().max())) if before.numel() else 0.0
    allowed = TOLERANCES.get(precision, LOW_PRECISION_TOLERANCE) * spread
    if comparable and bool(((before - now).abs() <= allowed).all()):
        return
    difference = (
        f"by up to {float((before - now).abs().max()):.3g}" if comparable else "in number"
    )
    raise InputError(
        f"{name} differs from the model at the start of this run: its logits for fixed images "
        f"differ {difference}; {allowed:.1g} is allowed for rounding",
        where=where,
        remedy="It is another model with the same name, or its outputs are random. Choose "
        "another --out.",
    )
