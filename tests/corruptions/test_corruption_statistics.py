"""The distribution of each corruption's effect against that of the released code.

The reference (reference/noc_reference_stats.json) gives, for each corruption and each of two
224 × 224 crops, mean, standard deviation and five quantiles of several measures over 200 draws
of the released code. Ours are taken over DRAWS draws with a fixed seed, as uint8.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from corruption_cases import CROPS, coffee, photograph
from noctule.corruptions import CORRUPTIONS
from repository import REFERENCE

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = json.loads((REFERENCE / "noc_reference_stats.json").read_text("utf-8"))
NAMES = [name for name in REFERENCE if not name.startswith("_")]
REFERENCE_DRAWS = 200
DRAWS = 1000
BATCH = 10
MEASURES = (
    "mean_abs_change", "mean_change", "psnr_db", "change_red", "change_green", "change_blue",
)  # fmt: skip
# Taken on float images: rounding to bytes moves it where all pixels change a little.
COUNT_CHANGED = {
    "artifacts", "vertical_artifacts", "rhombus", "arlequin", "circle", "rain", "obstruction",
    "border", "salt_pepper",
}  # fmt: skip
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
# Ours are rounded to whole levels. Where most pixels change by little, or by few amounts, that
# moves all of them, by less than this; elsewhere only the reference's decimals count.
ROUNDED = {"quantization", "pixelate", "contrast", "gray_scale", "thumbnail_resize"}
ROUNDING, ROUNDING_DB = 0.001, 0.05
DECIMALS, DECIMALS_DB = 6e-6, 6e-6
# Pillow rounds to whole levels after each of four passes, which adds .00006 to the mean, a
# seventieth of a severity; ours rounds once and adds nothing.
BIAS = {"thumbnail_resize": 0.0001}
Sample = dict[str, NDArray[np.float64]]


def measures_of(name: str) -> tuple[str, ...]:
    return (*MEASURES, "changed_pixels") if name in COUNT_CHANGED else MEASURES


def measure(image: torch.Tensor, corrupted: torch.Tensor) -> Sample:
    """The reference's measures of each corrupted image, in [0, 1] units."""
    change = (corrupted.to(torch.float32) - image) / 255
    flat = change.flatten(2)
    red, green, blue = flat.mean(dim=2).T.to(torch.float64).numpy()
    size = flat[0].numel()
    mse = (torch.linalg.vector_norm(flat, dim=(1, 2)).to(torch.float64) ** 2 / size).numpy()
    return {
        "mean_abs_change": torch.linalg.vector_norm(flat, 1, dim=(1, 2)).numpy() / size,
        "mean_change": (red + green + blue) / 3,
        "psnr_db": -10 * np.log10(mse[mse > 0]),
        "change_red": red,
        "change_green": green,
        "change_blue": blue,
        "changed_pixels": (change.abs().amax(dim=1) > 1.01 / 255)
        .to(torch.float32)
        .mean(dim=(1, 2))
        .numpy(),
    }


@pytest.fixture(scope="module", params=NAMES)
def compared(request: pytest.FixtureRequest) -> tuple[str, dict[str, Sample]]:
    """Our draws of one corruption on both crops."""
    name = request.param
    samples = {}
    for number, crop in enumerate(CROPS):
        image = photograph(crop)
        pieces = []
        for start in range(0, DRAWS, BATCH):
            ids = [f"{crop}/{draw}" for draw in range(start, start + BATCH)]
            batch = image.expand(BATCH, -1, -1, -1)
            pieces.append(measure(image, CORRUPTIONS[name](batch, ids=ids, seed=number)))
        samples[crop] = {key: np.concatenate([p[key] for p in pieces]) for key in pieces[0]}
    return name, samples


def test_the_reference_covers_what_was_published() -> None:
    names = {CORRUPTIONS[name].name for name in NAMES}
    published = {name for name, c in CORRUPTIONS.items() if c.source.startswith("Laugros")}
    assert names == published - {"uniform"}  # of which only the range was published
    assert all(set(REFERENCE[name]) == set(CROPS) for name in NAMES)


def standard_errors(
    ours: NDArray[np.float64], theirs: dict[str, Any], bias: float = 0.0
) -> float:
    """Distance of the means, less a known bias, in units of their common standard error."""
    error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs["std"] / np.sqrt(REFERENCE_DRAWS))
    distance = max(0.0, abs(ours.mean() - theirs["mean"]) - bias)
    return float(distance / (error + 1e-6))  # the reference has 6 decimals


def quantile_pvalue(
    ours: NDArray[np.float64], quantiles: list[float], tolerance: float
) -> float:
    """Chi-square test on the counts of our draws between the reference's quantiles.

    The reference's quantiles are those of a sample too, which adds its share to the variance:
    the differences of two empirical distributions. Where many draws have one value, a quantile
    stands within a jump; any share in the jump agrees with it, so the nearest is taken.
    """
    shares = np.concatenate([[0], QUANTILES, [1]])
    below = [(ours < q - tolerance).mean() for q in quantiles]
    up_to = [(ours <= q + tolerance).mean() for q in quantiles]
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
        if (
            errors := standard_errors(
                sample[key], REFERENCE[name][crop][key], BIAS.get(name, 0.0)
            )
        )
        > 4
    }
    assert far == {}


COMPARISONS = sum(len(measures_of(name)) * len(CROPS) for name in NAMES)


def tolerance_of(name: str, key: str) -> float:
    if key == "psnr_db":
        return ROUNDING_DB if name in ROUNDED else DECIMALS_DB
    return ROUNDING if name in ROUNDED else DECIMALS


def test_quantiles(compared: tuple[str, dict[str, Sample]]) -> None:
    name, samples = compared
    pvalues = {
        (crop, key): quantile_pvalue(
            sample[key], REFERENCE[name][crop][key]["q"], tolerance_of(name, key)
        )
        for crop, sample in samples.items()
        for key in measures_of(name)
    }
    assert {key: p for key, p in pvalues.items() if p < 0.001 / COMPARISONS} == {}


def test_the_quantile_test_has_the_right_size_and_power() -> None:
    """On normal samples: p-values are uniform if all is equal, small if the mean is .6 off."""
    random = np.random.default_rng(0)
    equal, shifted = [], []
    for _ in range(2000):
        theirs, ours = random.normal(size=REFERENCE_DRAWS), random.normal(size=DRAWS)
        quantiles = list(np.quantile(theirs, QUANTILES))
        equal.append(quantile_pvalue(ours, quantiles, 0.0))
        shifted.append(quantile_pvalue(ours + 0.6, quantiles, 0.0))
    assert np.mean(np.array(equal) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(shifted) < 0.001 / COMPARISONS) > 0.95
    few = np.repeat([0.0, 1.0, 2.0], 100)  # a third each: the quantiles stand within jumps
    assert quantile_pvalue(few, [0, 0, 1, 2, 2], 0.0) == pytest.approx(1)
    assert quantile_pvalue(few, [0, 0, 0, 1, 2], 0.0) < 0.001


# ---------------------------------------------------- noise, whose exact distribution is known


def noise_of(name: str, **given: float) -> NDArray[np.float64]:
    """What is added to mid-gray float32 images: (images, 3, 64, 64)."""
    gray = torch.full((20, 3, 64, 64), 0.5)
    return (CORRUPTIONS[name](gray, ids=range(20), **given) - gray).to(torch.float64).numpy()


def test_gaussian_is_half_normal() -> None:
    added = noise_of("gaussian", sigma=0.1)
    assert stats.kstest(added.ravel(), stats.halfnorm(scale=0.1).cdf).pvalue > 1e-4
    assert_white(added)


def test_uniform_is_uniform() -> None:
    added = noise_of("uniform", amplitude=0.2)
    assert stats.kstest(added.ravel(), stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-4
    assert_white(added)


def assert_white(added: NDArray[np.float64]) -> None:
    """No correlation between neighbours along any axis, channels and images included."""
    centered = added - added.mean()
    for axis in range(4):
        product = np.delete(centered, 0, axis) * np.delete(centered, -1, axis)
        z = product.mean() / centered.var() * np.sqrt(product.size)
        assert abs(z) < 4, axis


@pytest.mark.parametrize("amount", [0.003, 0.032, 0.2])
def test_salt_and_pepper_falls_on_each_element_alike(amount: float) -> None:
    """Specks are drawn by their gaps: that must be the same as a coin for each element."""
    images = torch.full((400, 3, 16, 40), 128, dtype=torch.uint8)
    result = (
        CORRUPTIONS["salt_pepper"](images, ids=range(400), amount=amount).flatten(1).numpy()
    )
    hit = result != 128
    assert stats.binomtest(int(hit.sum()), hit.size, amount).pvalue > 1e-4
    assert stats.binomtest(int((result == 255).sum()), int(hit.sum())).pvalue > 1e-4
    assert set(np.unique(result)) == {0, 128, 255}
    # Each place as likely, the counts of images binomial, and neighbours independent.
    assert stats.chisquare(hit.sum(axis=0).reshape(-1, 16).sum(axis=1)).pvalue > 1e-4
    variance = hit.sum(axis=1).var() / (hit.shape[1] * amount * (1 - amount))
    assert abs(variance - 1) < 4 * np.sqrt(2 / len(hit))
    for lag in (1, 2, 40, 640):
        both = int((hit[:, lag:] & hit[:, :-lag]).sum())
        assert stats.binomtest(both, hit[:, lag:].size, amount**2).pvalue > 1e-4, lag


def test_specks_of_a_mild_severity_are_among_those_of_a_severe_one() -> None:
    images = coffee().expand(4, -1, -1, -1)
    mild, severe = (
        CORRUPTIONS["salt_pepper"](images, ids=range(4), severity=severity)
        for severity in (1, 5)
    )
    kept = mild != images
    assert mild[kept].equal(severe[kept])
    assert (severe != images).sum() > 3 * kept.sum()
