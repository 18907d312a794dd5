"""Compiled loops of occlusion: rhombus, arlequin, circle, obstruction, border."""

from __future__ import annotations

from typing import Any

from noctule.corruptions.loops.compiling import compiled, loop
from noctule.corruptions.loops.noc.stamps import (
    center,
    disc_rows,
    paint,
    rhombus_rows,
    stamp_margin_px,
)
from noctule.corruptions.loops.pixels import copy, fraction_to_index, scale_px, shade
from noctule.corruptions.loops.random import unit_interval, words


@loop("uint8", "float32")
def rhombus(image: Any, out: Any, count: int, stamps: Any) -> None:
    """See `noctule.corruptions.noc.occlusion.rhombus`."""
    _stamp(image, out, count, stamps, rhombus_rows(stamp_margin_px(image)))


@loop("uint8", "float32")
def circle(image: Any, out: Any, count: int, stamps: Any) -> None:
    """See `noctule.corruptions.noc.occlusion.circle`."""
    _stamp(image, out, count, stamps, disc_rows(stamp_margin_px(image)))


@compiled
def _stamp(image: Any, out: Any, count: int, stamps: Any, shape: Any) -> None:
    copy(image, out)
    margin_px = stamp_margin_px(image)
    for k in range(count):
        row, column = center(image, margin_px, stamps, k)
        gray = shade(unit_interval(words(stamps, k, 1)[0]), image)
        for plane in out:
            paint(plane, row, column, shape, margin_px, gray)


@loop("uint8", "float32")
def arlequin(image: Any, out: Any, count: int, color: Any, stamps: Any) -> None:
    """See `noctule.corruptions.noc.occlusion.arlequin`."""
    copy(image, out)
    margin_px = stamp_margin_px(image)
    shape = rhombus_rows(margin_px)
    for k in range(count):
        row, column = center(image, margin_px, stamps, k)
        for c in range(3):
            value = shade(unit_interval(words(color, c, 0)[0]), image)
            paint(out[c], row, column, shape, margin_px, value)


@loop("uint8", "float32")
def obstruction(
    image: Any,
    out: Any,
    side_px: int,
    top_fraction: float,
    left_fraction: float,
    gray: float,
) -> None:
    """See `noctule.corruptions.noc.occlusion.obstruction`."""
    copy(image, out)
    height, width = image.shape[1:]
    side = min(scale_px(side_px, image), min(height, width))
    top = fraction_to_index(top_fraction, height - side + 1)
    left = fraction_to_index(left_fraction, width - side + 1)
    _fill(out, top, top + side, left, left + side, shade(gray, image))


@loop("uint8", "float32")
def border(image: Any, out: Any, thickness_px: int, gray: float) -> None:
    """See `noctule.corruptions.noc.occlusion.border`."""
    copy(image, out)
    height, width = image.shape[1:]
    value = shade(gray, image)
    inset = min(scale_px(thickness_px, image), min(height, width))
    _fill(out, 0, inset, 0, width, value)
    _fill(out, height - inset, height, 0, width, value)
    _fill(out, inset, height - inset, 0, inset, value)
    _fill(out, inset, height - inset, width - inset, width, value)


@compiled
def _fill(out: Any, top: int, bottom: int, left: int, right: int, value: Any) -> None:
    """Fill a rectangle in all channels."""
    for plane in out:
        for y in range(top, bottom):
            line = plane[y, left:right]
            for x in range(len(line)):
                line[x] = value
