"""What a network is made of, in two numbers: enough to tell architectures apart."""

from __future__ import annotations

import hashlib
import json

from torch import nn


def architecture_fingerprint(module: nn.Module) -> dict[str, int | str]:
    """How many parameters a network has, and a hash of their shapes.

    The shapes count and the names do not, so that a wrapper that only normalises its input, or
    that renames layers, leaves the fingerprint as it is. Two architectures of the same shapes
    (such as with other strides) have the same fingerprint.

    Returns:
        `parameters`: numbers in all parameters. `shapes_sha256`: SHA-256 (hex) of the JSON of
        the sorted list of their shapes, equal ones as often as they occur.

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
