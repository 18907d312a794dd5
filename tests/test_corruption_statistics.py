"""The distribution of each corruption's effect against that of the published code.

The reference (reference/noc_reference_stats.json) gives, for each corruption and each of two
224 × 224 crops, mean, standard deviation and five quantiles of several measures over 200 draws
of the published code. Ours are taken over DRAWS draws with a fixed seed, as uint8.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corruption_cases import CROPS, coffee, photograph
from numpy.typing import NDArray
from scipy import stats

from noctule.corruptions import CORRUPTIONS

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "noc_reference_stats.json").read_text("utf-8")
)
NAMES = [name for name in REFERENCE if not name.startswith("_")]
REFERENCE_DRAWS = 200
DRAWS = 1000
SLOW = dict.fromkeys(["blur", "hue", "thumbnail_resize", "rain", "gaussian", "elastic"], 500)
MEASURES = (
    "mean_abs_change", "mean_change", "psnr_db", "change_red", "change_green", "change_blue",
)  # fmt: skip
# Taken on float pictures: rounding to bytes moves it where all pixels change a little.
COUNT_CHANGED = {
    "artifacts", "vertical_artifacts", "rhombus", "arlequin", "circle", "rain", "obstruction",
    "border", "salt_pepper",
}  # fmt: skip
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
# The reference's rounding to 5 decimals, and ours of the pictures to whole levels: together
# they can move the few values that quantization and pixelate have.
BLUR_OF_VALUES = {"psnr_db": 0.05}
BLUR_OTHERWISE = 0.001
Sample = dict[str, NDArray[np.float64]]


def measures_of(name: str) -> tuple[str, ...]:
    return (*MEASURES, "changed_pixels") if name in COUNT_CHANGED else MEASURES


def measure(image: torch.Tensor, corrupted: torch.Tensor) -> Sample:
    """The reference's measures of each corrupted picture, in [0, 1] units."""
    change = corrupted.to(torch.int16) - image
    red, green, blue = (change.sum(dim=(2, 3), dtype=torch.float64) / 255 / 224**2).T.numpy()
    pixels = change.abs()
    mse = pixels.to(torch.float32).square_().mean(dim=(1, 2, 3), dtype=torch.float64) / 255**2
    return {
        "mean_abs_change": pixels.mean(dim=(1, 2, 3), dtype=torch.float64).numpy() / 255,
        "mean_change": (red + green + blue) / 3,
        "psnr_db": -10 * np.log10(mse[mse > 0].numpy()),
        "change_red": red,
        "change_green": green,
        "change_blue": blue,
        "changed_pixels": (pixels.amax(dim=1) > 1).to(torch.float64).mean(dim=(1, 2)).numpy(),
    }


@pytest.fixture(scope="module", params=NAMES)
def compared(request: pytest.FixtureRequest) -> tuple[str, dict[str, Sample]]:
    """Our draws of one corruption on both crops."""
    name = request.param
    samples = {}
    for number, crop in enumerate(CROPS):
        image = photograph(crop)
        pieces = []
        for start in range(0, SLOW.get(name, DRAWS), 50):
            ids = [f"{crop}/{draw}" for draw in range(start, start + 50)]
            batch = image.expand(50, -1, -1, -1)
            pieces.append(measure(image, CORRUPTIONS[name](batch, ids=ids, seed=number)))
        samples[crop] = {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}
    return name, samples


def test_the_reference_covers_what_was_published() -> None:
    names = {CORRUPTIONS[name].name for name in NAMES}
    assert names == set(CORRUPTIONS) - {"uniform"}  # of which only the range was published
    assert all(set(REFERENCE[name]) == set(CROPS) for name in NAMES)


def standard_errors(ours: NDArray[np.float64], theirs: dict[str, Any]) -> float:
    """Distance of the means in units of their common standard error."""
    error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs["std"] / np.sqrt(REFERENCE_DRAWS))
    return float(abs(ours.mean() - theirs["mean"]) / (error + 1e-6))


def quantile_pvalue(ours: NDArray[np.float64], quantiles: list[float], blur: float) -> float:
    """Chi-square test on the counts of our draws between the reference's quantiles.

    The reference's quantiles are those of a sample too, which adds its share to the variance:
    the differences of two empirical distributions. Where many draws have one value, a quantile
    stands within a jump; any share in the jump agrees with it, so the nearest is taken.
    """
    shares = np.concatenate([[0], QUANTILES, [1]])
    below = [(ours < q - blur).mean() for q in quantiles]
    up_to = [(ours <= q + blur).mean() for q in quantiles]
    ours_below = np.concatenate([[0], np.clip(QUANTILES, below, up_to), [1]])
    expected, found = np.diff(shares), np.diff(ours_below)
    statistic = np.square(found - expected) / expected / (1 / len(ours) + 1 / REFERENCE_DRAWS)
    return float(stats.chi2.sf(statistic.sum(), len(quantiles)))


def test_means(compared: tuple[str, dict[str, Sample]]) -> None:
    name, samples = compared
    far = {
        (crop, key): errors
        for crop, sample in samples.items()
        for key in measures_of(name)
        if (errors := standard_errors(sample[key], REFERENCE[name][crop][key])) > 4
    }
    assert far == {}


COMPARISONS = sum(len(measures_of(name)) * len(CROPS) for name in NAMES)


def test_quantiles(compared: tuple[str, dict[str, Sample]]) -> None:
    name, samples = compared
    rejected = {}
    for crop, sample in samples.items():
        for key in measures_of(name):
            blur = BLUR_OF_VALUES.get(key, BLUR_OTHERWISE)
            pvalue = quantile_pvalue(sample[key], REFERENCE[name][crop][key]["q"], blur)
            if pvalue < 0.001 / COMPARISONS:
                rejected[crop, key] = pvalue
    assert rejected == {}
