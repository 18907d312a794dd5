"""Loops of noise with a given spectrum: blue_noise_sample, brownish_noise.

The Fourier transform is torch's, so that results have the bytes of the kernels; what comes
before and after it is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.corruptions.imagenet_c_bar.spectral import circle, spectrum_of
from noctule.corruptions.loops.compiling import cached, compiled, loop
from noctule.corruptions.loops.imagenet_c_bar.mixing import full_scale, store
from noctule.corruptions.loops.random import fill_bits16

_CPU = torch.device("cpu")
# A call of torch takes as long as such a transform; and larger ones do not fit in the cache.
_SMALL_PX = 1 << 13


@functools.cache
def _circle() -> NDArray[np.float32]:
    """Cosine and sine of 65,536 phases: float32 (65536, 2)."""
    return torch.view_as_real(circle(_CPU)).numpy()


def _blue(height: int, width: int) -> NDArray[np.float32]:
    return spectrum_of(height, width, "blue", _CPU).numpy()


def _brownish(height: int, width: int) -> NDArray[np.float32]:
    return spectrum_of(height, width, "brownish", _CPU).numpy()


def _noise(
    phases: Any, planes: int, mirrored: bool, amplitude: Any, circle: Any
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Noise for some planes at a time, of which the array is reused for the next ones.

    Yields:
        Which planes; their noise, first of two numbers: float32 (planes, height, width, 2).
    """
    bits = np.empty((planes, *amplitude.shape), np.uint16)
    fill_bits(phases, bits.reshape(-1))
    at_once = planes if amplitude.size <= _SMALL_PX else 1
    values = np.empty((at_once, *amplitude.shape, 2), np.float32)
    spectrum = torch.view_as_complex(torch.from_numpy(values))
    for first in range(0, planes, at_once):
        part = slice(first, first + at_once)
        fill_spectrum(bits[part], mirrored, amplitude, circle, values)
        torch.fft.ifft2(spectrum, out=spectrum)
        yield part, values


def _fill_spectrum(bits: Any, mirrored: bool, amplitude: Any, circle: Any, out: Any) -> None:
    """Fill with a spectrum of phases, uint16; see `_noise` of the torch kernel."""
    planes, height, width, _ = out.shape
    positive = (width + 1) // 2 if mirrored else 0
    for plane in range(planes):
        for y in range(height):
            row, opposite = bits[plane, y], bits[plane, height - 1 - y]
            sizes, values = amplitude[y], out[plane, y]
            for x in range(positive):
                k = opposite[width - 1 - x]
                values[x, 0], values[x, 1] = circle[k, 0] * sizes[x], circle[k, 1] * sizes[x]
            for x in range(positive, width):
                k = row[x]
                values[x, 0], values[x, 1] = circle[k, 0] * sizes[x], circle[k, 1] * sizes[x]


@compiled
def _deviation(noise: Any) -> Any:
    """The standard deviation of a plane, float32; see `_standardized` of the torch kernel."""
    height, width, _ = noise.shape
    total, squares = np.int64(0), np.int64(0)
    for y in range(height):
        row = noise[y]
        for x in range(width):
            whole = np.int64(np.int32(np.rint(row[x, 0] * np.float32(2**12))))
            total += whole
            squares += whole * whole
    mean = total / (height * width)
    return np.float32(np.sqrt(squares / (height * width) - mean * mean) * 2.0**-12)


def _fill_bits(key: Any, out: Any) -> None:
    fill_bits16(key, 0, out)


def _add_noise(image: Any, noise: Any, sigma: float, truncate: bool, out: Any) -> None:
    """Add noise, (planes, height, width, 2), to planes."""
    planes, height, width = image.shape
    top = full_scale(image)
    amount, values = np.float32(sigma * np.float64(top)), np.empty(width, np.float32)
    for plane in range(planes):
        deviation = _deviation(noise[plane])
        for y in range(height):
            row, change = image[plane, y], noise[plane, y]
            for x in range(width):
                values[x] = np.float32(row[x]) + change[x, 0] / deviation * amount
            store(values, top, truncate, out[plane, y])


def _blacken(image: Any, noise: Any, threshold: float, out: Any) -> None:
    """Blacken pixels where noise, (height, width, 2), is not above a threshold."""
    channels, height, width = image.shape
    deviation, black = _deviation(noise), np.zeros(1, image.dtype)[0]
    stays = np.empty(width, np.uint8)
    for y in range(height):
        level = noise[y]
        for x in range(width):
            stays[x] = level[x, 0] / deviation > np.float32(threshold)
        for c in range(channels):
            row, result = image[c, y], out[c, y]
            for x in range(width):
                result[x] = row[x] if stays[x] else black


fill_bits: Callable[..., None] = cached(_fill_bits, "fill_bits")
fill_spectrum: Callable[..., None] = cached(_fill_spectrum, "fill_spectrum")
add_noise: Callable[..., None] = cached(_add_noise, "add_noise")
blacken: Callable[..., None] = cached(_blacken, "blacken")


@loop("uint8", "float32", tables={"amplitude": _blue, "circle": _circle}, in_python=True)
def blue_noise_sample(
    image: Any,
    out: Any,
    threshold: float,
    phases: Any,
    released: bool,
    amplitude: Any,
    circle: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.spectral.blue_noise_sample`."""
    ((_, noise),) = _noise(phases, 1, released, amplitude, circle)
    blacken(image, noise[0], threshold, out)


@loop("uint8", "float32", tables={"amplitude": _brownish, "circle": _circle}, in_python=True)
def brownish_noise(
    image: Any,
    out: Any,
    sigma: float,
    phases: Any,
    released: bool,
    amplitude: Any,
    circle: Any,
) -> None:
    """See `noctule.corruptions.imagenet_c_bar.spectral.brownish_noise`."""
    for planes, noise in _noise(phases, len(image), released, amplitude, circle):
        add_noise(image[planes], noise, sigma, released, out[planes])
