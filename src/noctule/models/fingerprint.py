"""Fingerprints that distinguish architectures by the shapes of their parameters."""

from __future__ import annotations

import hashlib
import json

from torch import nn


def architecture_fingerprint(module: nn.Module) -> dict[str, int | str]:
    """The number of parameters of a network, and a hash of their shapes.

    Names are not included, so wrappers that normalise the input or rename layers do not change
    the fingerprint. Architectures that differ only in other settings, such as strides, have the
    same fingerprint.

    Returns:
        `parameters`: Number of scalar parameters. `shapes_sha256`: SHA-256 (hex) of the JSON of
        the sorted list of all shapes.

    >>> architecture_fingerprint(nn.Linear(3, 2))["parameters"]
    8
    >>> small, wrapped = nn.Linear(3, 2), nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> architecture_fingerprint(small) == architecture_fingerprint(wrapped)
    True
    """
    shapes = sorted(list(parameter.shape) for parameter in module.parameters())
    text = json.dumps(shapes, separators=(",", ":"))
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "shapes_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
