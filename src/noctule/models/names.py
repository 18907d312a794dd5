"""The error for an architecture that a large zoo does not have."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from noctule.errors import InputError


def unknown_architecture(kind: str, name: str, known: Sequence[str]) -> InputError:
    """Names the nearest few only: the whole list would fill pages.

    >>> print(unknown_architecture("zoo model", "resnet5O", ["resnet50", "resnet18", "vgg11"]))
    unknown zoo model 'resnet5O'. Nearest: resnet50, resnet18 (of 3).
    """
    near = difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5) or list(known)[:5]
    return InputError(
        f"unknown {kind} '{name}'", remedy=f"Nearest: {', '.join(near)} (of {len(known)})."
    )
