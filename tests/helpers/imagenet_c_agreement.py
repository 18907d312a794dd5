"""ImageNet-C beside other packages: the same in every pixel, or in distribution.

The packages are those of imagenet_c_peers.py. Deterministic corruptions are compared image by
image. Of stochastic ones, many seeds are drawn on both sides, statistics of the change
(corrupted less clean, in [0, 1]) are taken of each, and their distributions are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats
from torch import Tensor

from corruption_cases import CROPS, photograph
from imagenet_c_peers import REFERENCES, Reference, RgbArray, call_reference
from noctule.compat import COMMON, VALIDATION
from noctule.corruptions import CORRUPTIONS, Corruption
from noctule.corruptions.draws import PerSeverity

NAMES = (*COMMON, *VALIDATION)
DETERMINISTIC = (
    "defocus_blur", "zoom_blur", "brightness_c", "contrast_c", "pixelate_c", "jpeg_compression",
    "gaussian_blur", "saturate",
)  # fmt: skip
STOCHASTIC = tuple(name for name in NAMES if name not in DETERMINISTIC)
# Spatial frequencies in cycles per image: octaves up to the diagonal's end.
BAND_EDGES = (1, 2, 4, 8, 16, 32, 64, 112, 159)
BANDS = tuple(f"power_{low}_db" for low in BAND_EDGES[:-1])
STATISTICS = (
    "mean_change", "red_less_blue", "mean_abs_change", "spread", "psnr_db", "slant",
    "shift_right_px", "shift_down_px", *BANDS,
)  # fmt: skip
Values = NDArray[np.float64]
Sample = dict[str, Values]


class Difference(NamedTuple):
    """Two images of a deterministic corruption.

    Attributes:
        psnr_db: of one against the other; infinite if they are the same.
        beyond_one_level: share of the values that differ by more than one of 255 levels.
        most_levels: by which a value differs.
    """

    psnr_db: float
    beyond_one_level: float
    most_levels: int


class Comparison(NamedTuple):
    """One statistic of a stochastic corruption, over the seeds of both sides.

    Attributes:
        theirs, ours: its means.
        their_sd, our_sd: its standard deviations over the seeds.
        p_mean: of Welch's test that the means are the same.
        p_distribution: of the Kolmogorov–Smirnov test that the distributions are.
    """

    theirs: float
    their_sd: float
    ours: float
    our_sd: float
    p_mean: float
    p_distribution: float


# ------------------------------------------------------------------------------------ two sides


def clean_image(crop: str) -> RgbArray:
    """uint8 (height, width, 3)."""
    return np.ascontiguousarray(photograph(crop).permute(1, 2, 0).numpy())


def their_images(name: str, crop: str, *, severity: int, seeds: Sequence[int]) -> RgbArray:
    """The reference's: uint8 (seeds, height, width, 3)."""
    image, published = clean_image(crop), CORRUPTIONS[name].published_name
    return np.stack(
        [
            call_reference(REFERENCES[name], published, image, severity=severity, seed=s)
            for s in seeds
        ]
    )


def our_images(name: str, crop: str, *, severity: int, seeds: Sequence[int]) -> RgbArray:
    """Ours, in released mode: uint8 (seeds, height, width, 3)."""
    return drawn(our_side(name), photograph(crop), severity=severity, seeds=seeds)


def our_side(name: str) -> Corruption:
    """What is compared with the reference."""
    return with_lengths_of(REFERENCES[name], CORRUPTIONS[name]).in_mode("released")


def drawn(
    corruption: Corruption, image: Tensor, *, severity: int, seeds: Sequence[int]
) -> RgbArray:
    """Versions of one image, uint8 (3, height, width): uint8 (seeds, height, width, 3)."""
    result = corruption(
        image.expand(len(seeds), -1, -1, -1),
        ids=[f"seed {s}" for s in seeds],
        severity=severity,
    )
    return np.ascontiguousarray(result.permute(0, 2, 3, 1).numpy())


def with_lengths_of(reference: Reference, corruption: Corruption) -> Corruption:
    """Ours with the reference's lengths, where these are others."""
    if reference.length_scale == 1:
        return corruption
    return corruption.with_tables(
        {
            key: [value * reference.length_scale for value in draw.values]
            for key, draw in corruption.draws.items()
            if isinstance(draw, PerSeverity) and key.endswith("_px")
        }
    )


# ----------------------------------------------------------------------------------- statistics


def difference(theirs: RgbArray, ours: RgbArray) -> Difference:
    """How far two images are apart."""
    levels = np.abs(ours.astype(np.int16) - theirs)
    mse = np.square(levels.astype(np.float64)).mean() / 255**2
    return Difference(
        psnr_db=float(-10 * np.log10(mse)) if mse else float("inf"),
        beyond_one_level=float((levels > 1).mean()),
        most_levels=int(levels.max()),
    )


def measure(clean: RgbArray, corrupted: RgbArray) -> Sample:
    """`STATISTICS` of each of some corrupted versions, (count,) each.

    `slant` is the share of the horizontal in the squared differences between neighbours of the
    change. `shift_..._px` is the displacement of the image that explains the change best, to
    first order. `power_k_db` is the power of the change, averaged over the channels, between k
    cycles per image and the next edge of `BAND_EDGES`: white noise of variance v has v. What
    a gain of the image explains is left out, since under fog it would drown the rest.
    """
    image = clean.astype(np.float32) / 255
    change = corrupted.astype(np.float32) / 255 - image
    means = change.mean(axis=(1, 2), dtype=np.float64)
    square = np.square(change).mean(axis=(1, 2, 3), dtype=np.float64)
    gray = change.mean(axis=3)
    across, down = (np.square(np.diff(gray, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1))
    right, lower = (_shift(gray, image.mean(axis=2), axis) for axis in (1, 0))
    return {
        "mean_change": means.mean(axis=1),
        "red_less_blue": means[:, 0] - means[:, 2],
        "mean_abs_change": np.abs(change).mean(axis=(1, 2, 3), dtype=np.float64),
        "spread": np.sqrt(square - np.square(means.mean(axis=1))),
        "psnr_db": -10 * np.log10(square),
        "slant": (across / (across + down)).astype(np.float64),
        "shift_right_px": right,
        "shift_down_px": lower,
        **_band_powers(_without_gain(gray, image.mean(axis=2))),
    }


def _shift(gray: NDArray[np.float32], image: NDArray[np.float32], axis: int) -> Values:
    """−Σ change · slope / Σ slope²: an image moved by s changes by −s · slope."""
    slope = np.gradient(image, axis=axis)
    moved = -np.tensordot(gray, slope, axes=2) / np.square(slope).sum()
    return moved.astype(np.float64)


def _without_gain(gray: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The change less the multiple of the image that explains most of it."""
    centred = image - image.mean()
    gain = np.tensordot(gray, centred, axes=2) / np.square(centred).sum()
    return gray - gain[:, None, None] * centred


def _band_powers(gray: NDArray[np.float32]) -> Sample:
    height, width = gray.shape[1:]
    power = np.square(np.abs(fft.rfft2(gray))) / (height * width)
    cycles = np.hypot(fft.fftfreq(height, 1 / height)[:, None], fft.rfftfreq(width, 1 / width))
    band = np.digitize(cycles, BAND_EDGES) - 1
    return {
        name: 10 * np.log10(power[:, band == number].mean(axis=1, dtype=np.float64))
        for number, name in enumerate(BANDS)
    }


def sample(
    side: Callable[..., RgbArray], name: str, *, severity: int, seeds: Sequence[int]
) -> Sample:
    """Statistics of each seed of one side, averaged over the photographs.

    Args:
        side: `their_images`, `our_images` or what takes their arguments.
        name: of the corruption.
        severity: 1 to 5.
        seeds: at least two.
    """
    samples = [
        measure(clean_image(crop), side(name, crop, severity=severity, seeds=seeds))
        for crop in CROPS
    ]
    return {key: np.mean([one[key] for one in samples], axis=0) for key in STATISTICS}


# ----------------------------------------------------------------------------------- comparison


def compare(theirs: Sample, ours: Sample) -> dict[str, Comparison]:
    """Compare the two sides, statistic by statistic."""
    return {key: _compare(theirs[key], ours[key]) for key in STATISTICS}


def _compare(theirs: Values, ours: Values) -> Comparison:
    return Comparison(
        theirs=float(theirs.mean()),
        their_sd=float(theirs.std(ddof=1)),
        ours=float(ours.mean()),
        our_sd=float(ours.std(ddof=1)),
        p_mean=float(stats.ttest_ind(theirs, ours, equal_var=False).pvalue),
        p_distribution=float(stats.ks_2samp(theirs, ours).pvalue),
    )


def p_values(compared: Mapping[str, Comparison]) -> list[float]:
    """Those of all statistics and both tests."""
    return [p for one in compared.values() for p in (one.p_mean, one.p_distribution)]


def smallest_p_value(p_values: Sequence[float]) -> float:
    """The smallest, corrected for their number: by Holm's and by Bonferroni's method the same.

    It is below any a with probability a at most, if the two sides are the same.

    >>> smallest_p_value([0.5, 0.02, 0.9])
    0.06
    """
    return min(1.0, min(p_values) * len(p_values))
