"""ImageNet-C: defocus_blur, gaussian_blur, zoom_blur."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.filters import (
    as_channels,
    clipped_zoom,
    disc_sums,
    extended,
    gaussian_filter,
    symmetric_sum,
)
from noctule.corruptions.grouping import group_by_params, map_chunks
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, to_int16_levels
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Hendrycks & Dietterich 2019"
# Added before truncation: sums of what is a whole number end a hair below or above it, here and
# in the released code, which mostly keeps whole numbers.
LIFT = 2.0**-10
# So many values are averaged over discs at once: 16-bit numbers take less of a cache.
DEFOCUSED_AT_ONCE = 10 * 224**2
# So many are zoomed at once: planes of 224 px that fill vectors as channels do.
ZOOMED_AT_ONCE = 48 * 224**2
_GRID_PX = 8  # the released code draws smaller discs on a grid of this half side


def scaled(length_px: float, images: Tensor) -> float:
    """A length given for 224 px, for these images.

    To nine decimals, so that lengths of other datasets, given as multiples, come back exactly.
    """
    return round(length_px * min(images.shape[2:]) / REFERENCE_SIDE_PX, 9)


def finished(
    values: Tensor, dtype: torch.dtype, *, released: bool, in_range: bool = True
) -> Tensor:
    """Float32 in the units of `dtype`, clamped; uint8 is rounded, or truncated as published.

    For `map_chunks`: see `to_int16_levels`.
    """
    if released and dtype == torch.uint8:
        values.add_(LIFT)
    return to_int16_levels(values, dtype, truncate=released, in_range=in_range)


@corruption(
    family="blur",
    source=f"{SOURCE}: defocus_blur",
    draws={
        "radius_px": PerSeverity(3.0, 4.0, 6.0, 8.0, 10.0, highest=REFERENCE_SIDE_PX / 4),
        "edge_sigma": PerSeverity(0.1, 0.5, 0.5, 0.5, 0.5, highest=10.0),
    },
)
def defocus_blur(
    images: Images, released: bool = False, *, radius_px: PerImage, edge_sigma: PerImage
) -> Images:
    """Average over a disc with a softened edge; the image is mirrored at its borders.

    Released mode truncates to 8 bits. It also softens the disc on a grid that is reflected at
    its own border, which lies 8 px from the middle, or at the radius if that is larger. Discs
    that reach it gain weight there: at 224 px, severities 4 and 5 brighten by about 1 %.

    Args:
        images: See `noctule.corrupt`.
        released: See above.
        radius_px: Of the disc at 224 px, scaled with the shorter side.
        edge_sigma: Of the Gaussian that softens the disc, in pixels of the image, not scaled.
            It has 3 × 3 taps, or 5 × 5 if the radius is above 8 px of the image.
    """

    def change(part: Tensor, radius: float, sigma: float) -> Tensor:
        disc = Disc(scaled(radius, images), sigma)

        def defocus(few: Tensor) -> Tensor:
            values = _defocused(few, disc, released=released)
            # The released code's larger discs brighten: white must not become black.
            in_range = not released
            return finished(values, images.dtype, released=released, in_range=in_range)

        planes = part.flatten(0, 1)
        return map_chunks(defocus, planes, at_once=DEFOCUSED_AT_ONCE).view_as(part)

    return group_by_params(images, (radius_px, edge_sigma), change)


@dataclass(frozen=True)
class Disc:
    """A disc of pixels, and the Gaussian that softens its edge."""

    radius_px: float
    edge_sigma: float

    @property
    def reach(self) -> int:
        """How many whole pixels it reaches from the middle."""
        return int(self.radius_px)

    @property
    def half_widths(self) -> list[int]:
        """How many pixels it reaches to the side, in the middle row and in those below it."""
        square = math.floor(self.radius_px**2 + 1e-6)
        return [math.isqrt(square - row**2) for row in range(self.reach + 1)]

    @property
    def area(self) -> int:
        """Its number of pixels."""
        widths = [2 * half + 1 for half in self.half_widths]
        return 2 * sum(widths) - widths[0]

    @property
    def soft(self) -> list[float]:
        """The weights of the Gaussian, from its middle outwards, without those below 1e-7."""
        places = range(2 if self.radius_px <= _GRID_PX else 3)
        sigma = max(self.edge_sigma, 1e-3)
        weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in places]
        weights = [weight for weight in weights if weight > 1e-7]
        total = 2 * sum(weights) - 1
        return [weight / total for weight in weights]

    @functools.cached_property
    def gain(self) -> list[tuple[float, list[list[int]]]]:
        """What the released kernel has more than this: weights, and their rows and columns."""
        grid, soft = max(_GRID_PX, self.reach), self.soft
        line = np.arange(-grid, grid + 1)
        sharp = (line**2 + line[:, None] ** 2 <= self.radius_px**2 + 1e-6) / self.area
        margin = len(soft) - 1
        whole = _soften(np.pad(sharp, margin), soft, "constant")
        excess = np.pad(_soften(sharp, soft, "mirror"), margin) - whole
        excess, result = excess.round(12), []
        for weight in np.unique(excess[np.abs(excess) > 1e-7]).tolist():
            pixels = (np.argwhere(excess == weight) - (grid + margin)).tolist()
            # Only as many at a time as 16 bits can sum.
            result += [(weight, pixels[i : i + 256]) for i in range(0, len(pixels), 256)]
        return result


def _soften(
    disc: NDArray[np.float64], soft: list[float], mode: Literal["constant", "mirror"]
) -> NDArray[np.float64]:
    weights = [*soft[:0:-1], *soft]
    for axis in (0, 1):
        disc = ndimage.correlate1d(disc, weights, axis=axis, mode=mode)
    return disc


def _defocused(planes: Tensor, disc: Disc, *, released: bool) -> Tensor:
    """Convolve (planes, height, width): float32, in the planes' units.

    Discs are summed in whole numbers, exactly: bytes around 0, or multiples of 2^-24.
    """
    soft = disc.soft
    margin = disc.reach + len(soft) - 1
    if planes.dtype == torch.uint8:
        small = torch.int16 if disc.reach < 128 else torch.int32
        fixed, start = planes.bitwise_xor(128).view(torch.int8), 128.0
        wide = extended(fixed, (margin, margin), (margin, margin), "mirror", small)
    else:
        fixed, start = (planes * 2.0**24).round_(), 0.0
        wide = extended(fixed, (margin, margin), (margin, margin), "mirror", torch.float64)
    pitch, flat = wide.shape[2], wide.flatten()
    total = disc_sums(flat, disc.half_widths, pitch)[None]
    for step in (1, pitch) if len(soft) > 1 else ():
        shorter = total.shape[1] - 2 * step * (len(soft) - 1)
        total = symmetric_sum(total, soft, step, total.new_empty(1, shorter))
    total.mul_(1 / disc.area)
    middle = start
    for weight, pixels in disc.gain if released else ():
        part = torch.zeros_like(total, dtype=wide.dtype)
        for row, column in pixels:
            part.add_(flat[(margin + row) * pitch + margin + column :][: total.shape[1]])
        total.add_(part.to(torch.float32).mul_(weight))
        middle += start * weight * len(pixels)
    if planes.dtype == torch.float32:
        total.mul_(2.0**-24)
    place = (wide.shape[1] * pitch, pitch, 1)
    return total.add_(middle).as_strided(planes.shape, place)


@corruption(
    family="blur",
    source=f"{SOURCE}: gaussian_blur",
    draws={"sigma_px": PerSeverity(1.0, 2.0, 3.0, 4.0, 6.0, highest=float(REFERENCE_SIDE_PX))},
    bytes_per_value=5,
)
def gaussian_blur(images: Images, released: bool = False, *, sigma_px: PerImage) -> Images:
    """Filter with a Gaussian that ends at four standard deviations; edge pixels are repeated.

    Released mode truncates to 8 bits.

    Args:
        images: See `noctule.corrupt`.
        released: See above.
        sigma_px: Standard deviation at 224 px, scaled with the shorter side.
    """

    def change(part: Tensor, sigma: float) -> Tensor:
        values = gaussian_filter(part, scaled(sigma, images))
        return finished(values, part.dtype, released=released).to(part.dtype)

    return group_by_params(images, (sigma_px,), change)


@corruption(
    family="blur",
    source=f"{SOURCE}: zoom_blur",
    draws={
        "largest": PerSeverity(1.11, 1.15, 1.2, 1.24, 1.3, lowest=1.0, highest=4.0),
        "step": PerSeverity(0.01, 0.01, 0.02, 0.02, 0.03, lowest=0.001, highest=1.0),
    },
)
def zoom_blur(
    images: Images, released: bool = False, *, largest: PerImage, step: PerImage
) -> Images:
    """Average the image zoomed by 1, 1 + step, 1 + 2 · step, … and the largest factor.

    Released mode truncates to 8 bits, and counts the image itself twice.

    Args:
        images: See `noctule.corrupt`.
        released: See above.
        largest: The last zoom factor, at least 1. The released ranges leave out their
            ends, but for that of the first severity; those here are the last factors they
            reach.
        step: Between zoom factors.
    """

    def change(part: Tensor, last: float, between: float) -> Tensor:
        factors = zoom_factors(last, between)

        def zoom(few: Tensor) -> Tensor:
            values = as_channels(few)
            total = values * (2 if released else 1)
            for factor in factors[1:]:
                total.add_(clipped_zoom(values, factor))
            total.div_(len(factors) + released)
            # Bytes before they are put side by side again, which takes longer with more.
            levels = finished(total, part.dtype, released=released).to(part.dtype)
            return levels[0, : len(few)]

        planes = part.flatten(0, 1)
        return map_chunks(zoom, planes, at_once=ZOOMED_AT_ONCE).view_as(part)

    return group_by_params(images, (largest, step), change)


def zoom_factors(largest: float, step: float) -> list[float]:
    """1, 1 + step, … and the largest, as NumPy's `arange`: crops depend on the last bit.

    >>> zoom_factors(1.06, 0.02)
    [1.0, 1.02, 1.04, 1.06]
    """
    number = math.floor((largest - 1) / step + 1e-6) + 1
    return [1 + layer * ((1 + step) - 1) for layer in range(number)]
