"""Compiled loops of colour: brightness."""

from __future__ import annotations

from typing import Any

from noctule.corruptions.loops.compiling import loop
from noctule.corruptions.loops.pixels import add_clamped, add_clamped_float32


@loop("uint8")
def brightness(image: Any, out: Any, change: float) -> None:
    """See `noctule.corruptions.noc.color.brightness`."""
    add_clamped(image.ravel(), change, out.ravel())


@loop("float32", name="brightness")
def brightness_float32(image: Any, out: Any, change: float) -> None:
    """See `noctule.corruptions.noc.color.brightness`."""
    add_clamped_float32(image.ravel(), change, out.ravel())
