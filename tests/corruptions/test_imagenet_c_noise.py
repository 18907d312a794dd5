"""ImageNet-C's noises: their distributions, released behaviour, and the other datasets' tables.

The expected distributions are analytic: the released code draws from NumPy's normal, Poisson
and uniform generators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from corruption_cases import check_both_dtypes, sample_images
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.corruptions.loops.imagenet_c.noise import BIN_BITS, _count, _ends, _guide
from oracles.imagenet_c_noise import ORACLES
from oracles.threefry import WordStream

pytestmark = pytest.mark.usefixtures("one_thread")

# By dataset: 224 px, CIFAR (32 px), Tiny-ImageNet (64 px).
TABLES: dict[tuple[str, str], Any] = {
    ("gaussian_noise", "sigma"): (
        (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.10),
        (0.04, 0.08, 0.12, 0.15, 0.18),
    ),
    ("shot_noise", "photons"): (
        (60, 25, 12, 5, 3), (500, 250, 100, 75, 50), (250, 100, 50, 30, 15),
    ),
    ("impulse_noise", "amount"): (
        (0.03, 0.06, 0.09, 0.17, 0.27), (0.01, 0.02, 0.03, 0.05, 0.07),
        (0.01, 0.02, 0.05, 0.08, 0.14),
    ),
    ("speckle_noise", "sigma"): (
        (0.15, 0.2, 0.35, 0.45, 0.6), (0.06, 0.1, 0.12, 0.16, 0.2),
        (0.15, 0.2, 0.25, 0.3, 0.35),
    ),
}  # fmt: skip
TRUNCATED = ("gaussian_noise", "speckle_noise", "shot_noise")
each_table = pytest.mark.parametrize(
    ("name", "key", "values"),
    [(*names, values) for names, tables in TABLES.items() for values in tables],
)


def expected(name: str, images: torch.Tensor, **parameters: Any) -> NDArray[np.float64]:
    """The oracle's images, ids being positions, not yet rounded."""
    keys = CORRUPTIONS[name].sample(range(len(images)))["noise"].keys
    words = [WordStream(tuple(word % 2**32 for word in key)) for key in keys.tolist()]
    oracle = ORACLES[name].image
    return np.stack(
        [
            oracle(image.to(torch.int64).numpy(), noise=noise, **parameters)
            for image, noise in zip(images, words, strict=True)
        ]
    )


@pytest.mark.parametrize("name", [name for name, _ in TABLES])
def test_the_table_for_224_px(name: str) -> None:
    ((key, tables),) = [(k, t) for (n, k), t in TABLES.items() if n == name]
    for severity, value in zip(SEVERITIES, tables[0], strict=True):
        assert CORRUPTIONS[name].sample([0], severity=severity)[key].tolist() == [value]


@each_table
def test_the_tables_of_all_datasets(name: str, key: str, values: tuple[float, ...]) -> None:
    images, corruption = sample_images(5, 32, 32), CORRUPTIONS[name].with_tables({key: values})
    for severity, value in zip(SEVERITIES, values, strict=True):
        wanted = expected(name, images, **{key: value})
        check_both_dtypes(corruption, images, severity, wanted)


@each_table
def test_released_mode_truncates_bytes(name: str, key: str, values: tuple[float, ...]) -> None:
    images, corruption = sample_images(5, 32, 32), CORRUPTIONS[name].with_tables({key: values})
    released = corruption.in_mode("released")
    assert corruption.has_modes == (name in TRUNCATED)
    for severity, value in zip(SEVERITIES, values, strict=True):
        wanted = expected(name, images, **{key: value})
        result = released(images, ids=range(len(images)), severity=severity).numpy()
        # Photons make whole levels, which float64 may miss by its last bit.
        near = np.floor(wanted + (1e-4 if name == "shot_noise" else 0))
        assert (result == near).mean() > 0.9999
        assert np.abs(result - near).max() <= 1
        exact = images / 255
        assert released(exact, ids=range(len(exact)), severity=severity).equal(
            corruption(exact, ids=range(len(exact)), severity=severity)
        )


# -------------------------------------------------------------------------------- distributions


def drawn(name: str, severity: int, value: int, side: int = 224, **modes: Any) -> NDArray[Any]:
    """The results of a flat image: uint8 (150,528,) at 224 px."""
    corruption = CORRUPTIONS[name].in_mode(modes.get("mode", "paper"))
    flat = torch.full((1, 3, side, side), value, dtype=torch.uint8)
    return corruption(flat, ids=[f"{value}"], severity=severity).flatten().numpy()


def assert_counts(results: NDArray[Any], chances: NDArray[np.float64]) -> None:
    """Chi-square of how often each of 256 levels occurs, rare ones together."""
    counts = np.bincount(results, minlength=256).astype(float)
    wanted = chances * len(results)
    rare = wanted < 10
    assert counts[rare].sum() <= wanted[rare].sum() + 6 * np.sqrt(wanted[rare].sum() + 1)
    counts, wanted = counts[~rare], wanted[~rare]
    statistic = ((counts - wanted) ** 2 / wanted).sum()
    assert stats.chi2.sf(statistic, max(1, len(counts) - 1)) > 1e-5


def chances_of(cdf: Any, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance of each level, given up to where values become it; the last goes on."""
    at_most = np.append(cdf(ends[:-1]), 1.0)
    return np.diff(at_most, prepend=0.0)


@pytest.mark.parametrize("mode", ["paper", "released"])
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("value", [1, 90, 255])
def test_distribution_of_normal_noise(severity: int, value: int, mode: str) -> None:
    # Rounded, 7 is what lies from 6.5 to 7.5; truncated, from 7 to 8; 0 is also what is below.
    ends = np.arange(256) + (0.5 if mode == "paper" else 1.0)
    if mode == "released":
        ends[254] = 255.0
    for name in ("gaussian_noise", "speckle_noise"):
        ((_, tables),) = [(n, t) for n, t in TABLES.items() if n[0] == name]
        spread = tables[0][severity - 1] * (255 if name == "gaussian_noise" else value)
        results = drawn(name, severity, value, mode=mode)
        assert_counts(results, chances_of(stats.norm(value, spread).cdf, ends))


def test_whole_levels_of_photons_are_not_truncated() -> None:
    """Nor would float64: 255 · 7 / 7 is 255, but 7 times 255 / 7 is less in float32."""
    images, released = sample_images(5, 32, 32), CORRUPTIONS["shot_noise"].in_mode("released")
    for photons in (7, 14, 1001):
        counts = set(
            released(images, ids=range(len(images)), photons=photons).unique().tolist()
        )
        assert 255 in counts
        assert counts <= {k * 255 // photons for k in range(photons + 1)}


@pytest.mark.parametrize("mode", ["paper", "released"])
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("value", [1, 90, 255])
def test_distribution_of_shot_noise(severity: int, value: int, mode: str) -> None:
    photons = TABLES["shot_noise", "photons"][0][severity - 1]
    # In whole numbers, so that truncation and ties (half to even) are exact.
    shown = [
        round(k * 255 / photons) if mode == "paper" else k * 255 // photons
        for k in range(photons + 1)
    ]
    poisson = stats.poisson(photons * value / 255)
    chances = np.zeros(256)
    chances[shown] = np.append(poisson.pmf(np.arange(photons)), poisson.sf(photons - 1))
    results = drawn("shot_noise", severity, value, mode=mode)
    assert_counts(results, chances)
    assert set(results) <= set(shown)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulses_are_black_and_white_alike(severity: int) -> None:
    amount = TABLES["impulse_noise", "amount"][0][severity - 1]
    results = drawn("impulse_noise", severity, 90)
    for shade in (0, 255):
        specks = int((results == shade).sum())
        assert stats.binomtest(specks, len(results), amount / 2).pvalue > 1e-5
    assert set(results) == {0, 90, 255}


def test_specks_of_a_mild_severity_are_among_those_of_a_severe_one() -> None:
    milder = None
    for severity in SEVERITIES:
        specks = drawn("impulse_noise", severity, 90).astype(int)
        if milder is not None:
            assert (specks[milder != 90] == milder[milder != 90]).all()
        milder = specks


# ------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize("quarters", range(5))
@pytest.mark.parametrize("photons", [3, 60, 500])
def test_shot_noise_between_two_levels(photons: int, quarters: int) -> None:
    """Float32 values of 20 + quarters / 4 levels: the two levels' distributions, by lot."""
    share = quarters / 4
    flat = torch.full((1, 3, 224, 224), (20 + share) / 255)
    counts = CORRUPTIONS["shot_noise"](flat, photons=photons).flatten().numpy() * photons
    numbers = np.arange(photons + 1)
    low, high = (stats.poisson(photons * level / 255) for level in (20, 21))
    chances = (1 - share) * low.pmf(numbers) + share * high.pmf(numbers)
    wanted = chances * counts.size
    often = wanted > 10
    assert np.abs(counts - counts.round()).max() < 1e-3
    found = np.bincount(counts.round().astype(int), minlength=photons + 1)
    statistic = ((found - wanted)[often] ** 2 / wanted[often]).sum()
    assert stats.chi2.sf(statistic, int(often.sum()) - 1) > 1e-5


@pytest.mark.parametrize("photons", [1, 2, 3, 60, 500, 2000])
def test_the_poisson_tables_hold_the_inverse_distribution(photons: int) -> None:
    """Every one of 65,536 numbers, at several levels, through guide and search alike."""
    guide, ends = _guide(photons), _ends(photons)
    number = np.arange(65536)
    for level in (0, 1, 128, 254, 255):
        at_most = stats.poisson.cdf(np.arange(photons), photons * level / 255)
        wanted = np.searchsorted(at_most, (number + 0.5) / 65536)
        row = guide[level].repeat(1 << BIN_BITS)
        guided = row >= 0
        found = (row + number % (1 << BIN_BITS)) >> BIN_BITS
        assert (found == wanted)[guided].all()
        assert guided.mean() > (0.75 if photons > 60 else 0.95)
        rare = number[~guided]
        assert [_count(level, word, guide, ends) for word in rare] == wanted[rare].tolist()


def test_the_ends_of_what_may_be_set() -> None:
    images = sample_images(5, 48, 80)
    for dtype in (torch.uint8, torch.float32):
        given = images if dtype == torch.uint8 else images / 255
        white = given.max().item()
        for name, key in (("gaussian_noise", "sigma"), ("speckle_noise", "sigma"),
                          ("impulse_noise", "amount")):  # fmt: skip
            assert CORRUPTIONS[name](given, **{key: 0.0}).equal(given)
            extreme = CORRUPTIONS[name](given, **{key: 1.0})
            assert (extreme - 1.0 * given).abs().mean() > 0.05 * white
        specks = CORRUPTIONS["impulse_noise"](given, amount=1.0)
        kept = (specks != 0) & (specks != white)
        assert kept.sum() <= 12  # one of 32,768: 1.8 of these 57,600 elements
        assert set(CORRUPTIONS["shot_noise"](given, photons=1).unique().tolist()) == {0, white}
        fine = CORRUPTIONS["shot_noise"](given, photons=2000)
        assert (fine - 1.0 * given).abs().max() < 0.11 * white  # 5 √2000 / 2000
        assert CORRUPTIONS["shot_noise"](0 * given, photons=2000).count_nonzero() == 0
