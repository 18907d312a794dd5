"""ImageNet-C: defocus_blur, gaussian_blur, zoom_blur."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions.draws import PerSeverity
from noctule.corruptions.filters import (
    disc_sums,
    extended,
    gaussian_filter,
    symmetric_sum,
)
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.pixels import REFERENCE_SIDE_PX, from_float, to_float
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage

SOURCE = "Hendrycks & Dietterich 2019"
# Added before truncation, because sums that should be integers end slightly below or above
# them; the released code's sums mostly do not lose a grey level.
LIFT = 2.0**-10
GAIN_AT_ONCE = 128  # bytes whose sum fits 16 bits, with a sign
_GRID_PX = 8  # half side of the grid on which the released code draws smaller discs


def scaled(length_px: float, images: Tensor) -> float:
    """Scale a length for 224 px with the shorter side of the images.

    Rounded to nine decimals, so that lengths of other datasets, which are stored as multiples,
    are recovered exactly.
    """
    return scaled_to(length_px, min(images.shape[2:]))


def scaled_to(length_px: float, side_px: int) -> float:
    """`scaled` for images with this shorter side."""
    return round(length_px * side_px / REFERENCE_SIDE_PX, 9)


def finished(
    values: Tensor, dtype: torch.dtype, *, released: bool, in_range: bool = True
) -> Tensor:
    """Clamp float32 values; for uint8, round them, or truncate them in released mode."""
    if released and dtype == torch.uint8:
        values.add_(LIFT)
    return from_float(values, dtype, truncate=released, in_range=in_range)


@corruption(
    family="blur",
    source=f"{SOURCE}: defocus_blur",
    draws={
        "radius_px": PerSeverity(3.0, 4.0, 6.0, 8.0, 10.0, highest=REFERENCE_SIDE_PX / 4),
        "edge_sigma": PerSeverity(0.1, 0.5, 0.5, 0.5, 0.5, highest=10.0),
    },
    bytes_per_value=32,
)
def defocus_blur(
    images: Images, released: bool = False, *, radius_px: PerImage, edge_sigma: PerImage
) -> Images:
    """Average over a disc with a soft edge; the image is mirrored at its borders.

    Args:
        released: Truncate to 8 bits, and soften the disc on a grid that ends 8 px from the
            centre, or at the radius if that is larger, and is mirrored there. Discs that reach
            its border gain weight: at 224 px, severities 4 and 5 brighten by about 1 %.
        radius_px: Radius of the disc at 224 px, scaled with the shorter side.
        edge_sigma: Standard deviation of the Gaussian that softens the disc, in pixels of the
            image, not scaled. It has 3 × 3 taps, or 5 × 5 if the scaled radius is above 8 px.
    """

    def change(part: Tensor, radius: float, sigma: float) -> Tensor:
        disc = Disc(scaled(radius, images), sigma)
        values = _defocused(part.flatten(0, 1), disc, released=released).view(part.shape)
        # The released code's larger discs brighten: white must not overflow to black.
        return finished(values, part.dtype, released=released, in_range=not released)

    return group_by_params(images, (radius_px, edge_sigma), change)


@dataclass(frozen=True)
class Disc:
    """A disc of pixels, and the Gaussian that softens its edge.

    Attributes:
        radius_px: Radius in pixels of the image.
        edge_sigma: Standard deviation of the Gaussian, in pixels of the image.
    """

    radius_px: float
    edge_sigma: float

    @property
    def reach(self) -> int:
        """Whole pixels from its centre to its border."""
        return int(self.radius_px)

    @property
    def half_widths(self) -> list[int]:
        """Half-widths in pixels, of the middle row and the rows below it."""
        square = math.floor(self.radius_px**2 + 1e-6)
        return [math.isqrt(square - row**2) for row in range(self.reach + 1)]

    @property
    def area(self) -> int:
        """Number of pixels."""
        widths = [2 * half + 1 for half in self.half_widths]
        return 2 * sum(widths) - widths[0]

    @property
    def soft(self) -> list[float]:
        """The weights of the Gaussian, from its centre outwards, without those below 1e-7."""
        taps = range(2 if self.radius_px <= _GRID_PX else 3)
        sigma = max(self.edge_sigma, 1e-3)
        weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in taps]
        weights = [weight for weight in weights if weight > 1e-7]
        total = 2 * sum(weights) - 1
        return [weight / total for weight in weights]

    @functools.cached_property
    def gain(self) -> list[tuple[float, list[list[int]]]]:
        """The difference of the released kernel: weights, and the offsets where they apply."""
        grid, soft = max(_GRID_PX, self.reach), self.soft
        line = np.arange(-grid, grid + 1)
        sharp = (line**2 + line[:, None] ** 2 <= self.radius_px**2 + 1e-6) / self.area
        margin = len(soft) - 1
        whole = _soften(np.pad(sharp, margin), soft, "constant")
        excess = np.pad(_soften(sharp, soft, "mirror"), margin) - whole
        excess, result = excess.round(12), []
        for weight in np.unique(excess[np.abs(excess) > 1e-7]).tolist():
            pixels = (np.argwhere(excess == weight) - (grid + margin)).tolist()
            result += [
                (weight, pixels[i : i + GAIN_AT_ONCE])
                for i in range(0, len(pixels), GAIN_AT_ONCE)
            ]
        return result


def _soften(
    disc: NDArray[np.float64], soft: list[float], mode: Literal["constant", "mirror"]
) -> NDArray[np.float64]:
    from scipy import ndimage  # takes a while to import

    weights = [*soft[:0:-1], *soft]
    for axis in (0, 1):
        disc = ndimage.correlate1d(disc, weights, axis=axis, mode=mode)
    return disc


def _defocused(planes: Tensor, disc: Disc, *, released: bool) -> Tensor:
    """Convolve planes (count, height, width): float32, in the units of the planes.

    Sums over discs are exact, because they are sums of integers: bytes, or multiples of 2^-24.
    """
    height, width = planes.shape[1:]
    margin = disc.reach + len(disc.soft) - 1
    if planes.dtype == torch.uint8:
        fixed, unit = planes.to(torch.int32), 1.0
    else:
        fixed, unit = (planes * 2.0**24).round_().to(torch.int64), 2.0**-24
    wide = extended(fixed, (margin, margin), (margin, margin), "mirror", fixed.dtype)
    total = disc_sums(wide, disc.half_widths).to(torch.float32)
    if len(disc.soft) > 1:
        total = symmetric_sum(symmetric_sum(total, disc.soft, 2), disc.soft, 1)
    total.mul_(1 / disc.area)
    for weight, pixels in disc.gain if released else ():
        part = torch.zeros_like(fixed)
        for row, column in pixels:
            corner = wide[:, margin + row :, margin + column :]
            part.add_(corner[:, :height, :width])
        total.add_(part.to(torch.float32).mul_(weight))
    return total.mul_(unit)


@corruption(
    family="blur",
    source=f"{SOURCE}: gaussian_blur",
    draws={"sigma_px": PerSeverity(1.0, 2.0, 3.0, 4.0, 6.0, highest=float(REFERENCE_SIDE_PX))},
    bytes_per_value=5,
)
def gaussian_blur(images: Images, released: bool = False, *, sigma_px: PerImage) -> Images:
    """Apply a Gaussian filter, truncated at four standard deviations; edge pixels are repeated.

    Args:
        released: Truncate to 8 bits instead of rounding.
        sigma_px: Standard deviation at 224 px, scaled with the shorter side.
    """

    def change(part: Tensor, sigma: float) -> Tensor:
        values = gaussian_filter(part, scaled(sigma, images))
        return finished(values, part.dtype, released=released)

    return group_by_params(images, (sigma_px,), change)


@corruption(
    family="blur",
    source=f"{SOURCE}: zoom_blur",
    draws={
        "largest": PerSeverity(1.11, 1.15, 1.2, 1.24, 1.3, lowest=1.0, highest=4.0),
        "step": PerSeverity(0.01, 0.01, 0.02, 0.02, 0.03, lowest=0.001, highest=1.0),
    },
    bytes_per_value=20,
)
def zoom_blur(
    images: Images, released: bool = False, *, largest: PerImage, step: PerImage
) -> Images:
    """Average the image zoomed by the factors 1, 1 + step, 1 + 2 · step, … and the largest.

    Args:
        released: Truncate to 8 bits, and count the image itself twice.
        largest: Last zoom factor, at least 1. The released code's ranges exclude their ends,
            except at severity 1; the values here are the last factors that it uses.
        step: Difference of successive zoom factors.
    """

    def change(part: Tensor, last: float, between: float) -> Tensor:
        factors = zoom_factors(last, between)
        values = to_float(part)
        total = values * (2 if released else 1)
        for factor in factors[1:]:
            layer = values
            for dim in (2, 3):
                first, share = (
                    taps.to(part.device) for taps in zoom_taps(part.shape[dim], factor)
                )
                share = share.view(-1, 1) if dim == 2 else share
                low, high = layer.index_select(dim, first), layer.index_select(dim, first + 1)
                layer = high.sub_(low).mul_(share).add_(low)
            total.add_(layer)
        total.mul_(1 / (len(factors) + released))
        return finished(total, part.dtype, released=released)

    return group_by_params(images, (largest, step), change)


def zoom_taps(side: int, factor: float) -> tuple[Tensor, Tensor]:
    """Where a zoomed image lies in the image, along an axis; see `filters.clipped_zoom`.

    Returns:
        For each pixel, the first of two pixels between which it lies, int64 (side,), and how
        far it is from it, float32 in [0, 1].

    >>> [values.tolist() for values in zoom_taps(4, 2.0)]
    [[1, 1, 1, 1], [0.0, 0.3333333432674408, 0.6666666865348816, 1.0]]
    """
    crop = math.ceil(side / factor)
    large = round(crop * factor)
    position = torch.arange(side, dtype=torch.float64) + (large - side) // 2
    position *= (crop - 1) / max(large - 1, 1)
    first = position.to(torch.int64).clamp(max=max(crop - 2, 0))
    return first + (side - crop) // 2, (position - first).to(torch.float32)


def zoom_factors(largest: float, step: float) -> list[float]:
    """1, 1 + step, … and the largest, like NumPy's `arange`: crops depend on the last bit.

    >>> zoom_factors(1.06, 0.02)
    [1.0, 1.02, 1.04, 1.06]
    """
    number = math.floor((largest - 1) / step + 1e-6) + 1
    return [1 + layer * ((1 + step) - 1) for layer in range(number)]
