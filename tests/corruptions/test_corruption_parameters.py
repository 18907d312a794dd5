"""What is drawn for each image: ranges, severities, signs; and what may be given instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from corruption_cases import each, sample_images
from noctule.corruptions import CORRUPTIONS, SEVERITIES, Corruption, corrupt
from noctule.corruptions.draws import Choice, Integer, NoiseField, PerSeverity, Uniform
from noctule.errors import InputError
from noctule.sampling import Stream

pytestmark = pytest.mark.usefixtures("one_thread")

# Names, parameters and ranges as published: smallest and largest value, and ± for a fair sign.
# "whole" ranges include both ends.
WHOLE, REAL = "whole", "real"
PUBLISHED: dict[str, dict[str, Any]] = {
    "quantization": {"steps": (WHOLE, 3, 8)},
    "gaussian": {"sigma": (REAL, 0.05, 0.18)},
    "salt_pepper": {"amount": (REAL, 0.003, 0.032)},
    "blur": {"weight": (REAL, 0.4, 0.95)},
    "thumbnail_resize": {"factor": (REAL, 1.1, 3.25)},
    "pixelate": {"block_px": (WHOLE, 2, 4)},
    "artifacts": {"count": (WHOLE, 14, 170), "gray": (REAL, 0, 1)},
    "vertical_artifacts": {"count": (WHOLE, 14, 180), "gray": (REAL, 0, 1)},
    "rhombus": {"count": (WHOLE, 9, 76)},
    "arlequin": {"count": (WHOLE, 3, 36)},
    "circle": {"count": (WHOLE, 7, 50)},
    "rain": {"count": (WHOLE, 12, 120)},
    "obstruction": {
        "side_px": (WHOLE, 47, 125),
        "top_fraction": (REAL, 0, 1),
        "left_fraction": (REAL, 0, 1),
        "gray": (REAL, 0, 1),
    },
    "border": {"thickness_px": (WHOLE, 9, 46), "gray": (REAL, 0, 1)},
    "translation": {"dx_px": ("± whole", 15, 62), "dy_px": ("± whole", 15, 62)},
    "shear": {"angle_deg": ("± whole", 12, 39)},
    "rotation": {"angle_deg": ("± whole", 7, 50)},
    "elastic": {"cut_px": (WHOLE, 44, 110), "side": (WHOLE, 0, 1)},
    "backlight": {
        "change": ("± real", 0.11, 0.44),
        "split_px": (WHOLE, -45, 44),
        "axis": (WHOLE, 0, 1),
    },
    "brightness": {"change": ("± real", 0.16, 0.51)},
    "contrast": {"weight": (REAL, 0.33, 0.74)},
    "color_distortion": {"change": (REAL, 0.09, 0.40), "channel": (WHOLE, 0, 2)},
    "gray_scale": {"weight": (REAL, 0.49, 1)},
    "hue": {"turn": ("± real", 0.05, 0.5)},
    "uniform": {"amplitude": (REAL, 0.06, 0.20)},
}

# A severity says nothing about these.
UNGRADED = {"gray", "top_fraction", "left_fraction", "split_px", "side", "axis", "channel"}


def test_the_registry_holds_what_was_published() -> None:
    drawn = {
        name: [key for key, draw in c.draws.items() if not isinstance(draw, NoiseField)]
        for name, c in CORRUPTIONS.items()
        if not any(isinstance(draw, PerSeverity) for draw in c.draws.values())
    }
    assert drawn == {name: list(ranges) for name, ranges in PUBLISHED.items()}


MANY = 4000


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[int | None, dict[str, torch.Tensor | Stream]]]:
    """Parameters of many images, for every corruption, at every severity and without one."""
    return {
        name: {
            severity: c.sample(range(MANY), severity=severity)
            for severity in (None, *SEVERITIES)
        }
        for name, c in CORRUPTIONS.items()
    }


Drawn = dict[str, dict[int | None, dict[str, torch.Tensor | Stream]]]
RANGES = [(name, key, *rule) for name, keys in PUBLISHED.items() for key, rule in keys.items()]


def magnitudes(values: torch.Tensor | Stream, kind: str) -> np.ndarray:
    """Without the sign, after seeing that it is fair."""
    assert isinstance(values, torch.Tensor)
    numbers = values.numpy()
    if kind.startswith("±"):
        negative = int((numbers < 0).sum())
        assert stats.binomtest(negative, len(numbers)).pvalue > 1e-4
        return np.abs(numbers)
    return numbers


def assert_uniform(values: np.ndarray, kind: str, low: float, high: float) -> None:
    """In the range, up to both its ends, each value as likely."""
    if kind.endswith(WHOLE):
        assert np.issubdtype(values.dtype, np.integer)
        assert (values.min(), values.max()) == (low, high)
        counts = np.bincount(values - int(low))
        assert stats.chisquare(counts).pvalue > 1e-4
    else:
        assert values.dtype == np.float64
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() < high
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("name", "key", "kind", "low", "high"), RANGES)
def test_the_published_range(
    drawn: Drawn, name: str, key: str, kind: str, low: float, high: float
) -> None:
    assert_uniform(magnitudes(drawn[name][None][key], kind), kind, low, high)


@pytest.mark.parametrize(("name", "key", "kind", "low", "high"), RANGES)
def test_severities_are_fifths_of_the_range(
    drawn: Drawn, name: str, key: str, kind: str, low: float, high: float
) -> None:
    at_severity = {severity: drawn[name][severity][key] for severity in SEVERITIES}
    if key in UNGRADED:
        full = drawn[name][None][key]
        assert isinstance(full, torch.Tensor)
        assert all(full.equal(values) for values in at_severity.values())
        return
    numbers = {severity: magnitudes(values, kind) for severity, values in at_severity.items()}
    fifth = (high - low + (1 if kind.endswith(WHOLE) else 0)) / 5
    for severity, values in numbers.items():
        step = (
            5 - severity if name == "quantization" else severity - 1
        )  # fewer steps are harder
        start, stop = low + step * fifth, low + (step + 1) * fifth
        if kind.endswith(WHOLE):  # values on the border of two fifths belong to both
            assert (values.min(), values.max()) == (np.floor(start), np.ceil(stop) - 1)
        else:
            assert start - 1e-9 <= values.min() < start + 0.01 * fifth
            assert stop - 0.01 * fifth < values.max() <= stop + 1e-9
    # A different fifth of the images for each severity, together: the full range.
    pooled = np.concatenate([values[severity - 1 :: 5] for severity, values in numbers.items()])
    assert_uniform(pooled, kind, low, high)


@each
def test_severities_share_their_noise(c: Corruption, drawn: Drawn) -> None:
    """The same words at every severity: same sign, and the same order among images."""
    for key, draw in c.draws.items():
        first, *others = (drawn[c.name][severity][key] for severity in (None, *SEVERITIES))
        if isinstance(draw, NoiseField):
            assert isinstance(first, Stream)
            assert all(isinstance(o, Stream) and o.keys.equal(first.keys) for o in others)
        elif isinstance(draw, Uniform | Integer) and draw.signed:
            assert isinstance(first, torch.Tensor)
            assert all(
                isinstance(o, torch.Tensor) and o.sign().equal(first.sign()) for o in others
            )


@each
def test_draws_are_independent_of_each_other(c: Corruption, drawn: Drawn) -> None:
    values = drawn[c.name][None]
    plain = [
        key for key, draw in c.draws.items() if not isinstance(draw, PerSeverity | NoiseField)
    ]
    tables = [key for key, draw in c.draws.items() if isinstance(draw, PerSeverity)]
    # The tables of a corruption share one lot: the first that varies stands for all.
    varying = [key for key in tables if len(set(c.draws[key].values)) > 1]
    numbers = [values[key].numpy().astype(float) for key in (*plain, *varying[:1])]
    for i, a in enumerate(numbers):
        for b in numbers[:i]:
            z = np.corrcoef(a, b)[0, 1] * np.sqrt(MANY)
            assert 2 * stats.norm.sf(abs(z)) > 1e-4


# --------------------------------------------------------------------------- given parameters


@each
def test_given_parameters_replace_drawn_ones(c: Corruption) -> None:
    images = sample_images(4, 48, 80)
    drawn = c.sample(range(4), seed=3)
    expected = c(images, ids=range(4), seed=3)
    plain = {key: v for key, v in drawn.items() if isinstance(v, torch.Tensor)}
    assert c(images, ids=range(4), seed=3, **plain).equal(expected)
    assert c.apply(images, **drawn).equal(expected)
    single = {key: v[0].item() for key, v in plain.items()}
    assert c(images, ids=range(4), seed=3, **single)[0].equal(expected[0])
    if not any(isinstance(draw, NoiseField) for draw in c.draws.values()):
        assert c(images, ids=range(4), seed=4, **plain).equal(
            expected
        )  # then nothing is left to draw


def test_options_have_names() -> None:
    images = sample_images(2, 48, 80)
    for c in CORRUPTIONS.values():
        for key, draw in c.draws.items():
            if isinstance(draw, Choice):
                for index, option in enumerate(draw.options):
                    assert c(images, **{key: option}).equal(c(images, **{key: index}))


@each
def test_unknown_parameters_are_refused(c: Corruption) -> None:
    images = sample_images(2, 32, 32)
    known = next(key for key, draw in c.draws.items() if not isinstance(draw, NoiseField))
    with pytest.raises(InputError, match=known):
        c(images, **{known[:-1]: 1})
    with pytest.raises(InputError, match="2 images"):
        c(images, **{known: torch.ones(3)})
    for key, draw in c.draws.items():
        if isinstance(draw, NoiseField):
            with pytest.raises(InputError):
                c(images, **{key: 1})
        if isinstance(draw, Choice):
            with pytest.raises(InputError, match=draw.options[0]):
                c(images, **{key: draw.options[0] + "x"})


BEYOND = {
    "whole": (0, -1, 2.5, 1e6, np.nan, "x"),
    "± whole": (2.5, 1e6, -1e6, np.inf, "x"),
    "real": (-0.01, np.inf, np.nan, "x"),
    "± real": (-1.01, 1.01, np.nan, "x"),
}
FROM_ZERO = {"split_px", "side", "axis", "channel"}


TABLES = [
    pytest.param(c, key, id=f"{name}-{key}")
    for name, c in CORRUPTIONS.items()
    for key, draw in c.draws.items()
    if isinstance(draw, PerSeverity)
]


@pytest.mark.parametrize(("c", "key"), TABLES)
def test_a_severity_takes_its_value_from_the_table(c: Corruption, key: str) -> None:
    values = c.draws[key].values
    for severity in SEVERITIES:
        assert c.sample(range(50), severity=severity)[key].unique().tolist() == [
            values[severity - 1]
        ]
    lots = c.sample(range(MANY))[key]
    assert set(lots.tolist()) == set(values)
    for value in set(values):
        share = values.count(value) / 5
        hits = int((lots == value).sum())
        assert stats.binomtest(hits, MANY, share).pvalue > 1e-5 if share < 1 else hits == MANY


@pytest.mark.parametrize(("c", "key"), TABLES)
def test_the_limits_of_a_table_can_be_set_and_not_more(c: Corruption, key: str) -> None:
    """What a user may set works: nothing leaves the image, and images stay on their own."""
    images = sample_images(3, 48, 80)
    low, high = c.draws[key].limits
    highest = min(high, max(4 * value for value in c.draws[key].values))
    for value in (low, highest):
        result = c(images, ids=range(3), **{key: value})
        assert result.shape == images.shape
        assert c(images[1:2], ids=[1], **{key: value})[0].equal(result[1])
    for value in (low - 1, high + 1, np.nan, "x"):
        if value != high:
            with pytest.raises(InputError, match=rf"{c.name}\.{key}"):
                c(images, **{key: value})


@pytest.mark.parametrize(("c", "key"), TABLES)
def test_another_table_replaces_the_values_of_the_severities(c: Corruption, key: str) -> None:
    values = c.draws[key].values[::-1]
    turned = c.with_tables({key: values})
    assert turned.sample([0], severity=1)[key].item() == values[0]
    assert c.sample([0], severity=1)[key].item() == values[-1]
    with pytest.raises(InputError, match=rf"{c.name}\.{key}: has 4 values"):
        c.with_tables({key: values[:4]})
    below = c.draws[key].limits[0] - 1
    with pytest.raises(InputError, match=rf"{c.name}\.{key}: {below} is out of range"):
        c.with_tables({key: [below, *values[1:]]})


@pytest.mark.parametrize(("name", "key", "kind", "low", "high"), RANGES)
def test_values_without_meaning_are_refused(
    name: str, key: str, kind: str, low: float, high: float
) -> None:
    del low, high
    meaningful = {"split_px": (0, -1)}.get(key, (0,) if key in FROM_ZERO else ())
    for value in BEYOND[kind]:
        if value not in meaningful:
            with pytest.raises(InputError, match=rf"{name}\.{key}"):
                corrupt(sample_images(2, 32, 32), name, **{key: value})


@pytest.mark.parametrize(("name", "key", "kind", "low", "high"), RANGES)
def test_values_beyond_the_published_range_may_be_set(
    name: str, key: str, kind: str, low: float, high: float
) -> None:
    """Nothing leaves the image, and images stay on their own."""
    images = sample_images(3, 48, 80)
    milder = low if key in FROM_ZERO or low in (0, 1) else 1
    for value in (milder, high if key in FROM_ZERO else 1 if kind.endswith(REAL) else 300):
        result = corrupt(images, name, ids=range(3), **{key: value})
        assert result.shape == images.shape
        alone = corrupt(images[1:2], name, ids=[1], **{key: value})
        assert alone[0].equal(result[1])


@pytest.mark.parametrize("name", [n for n, c in CORRUPTIONS.items() if "count" in c.draws])
def test_no_stamps_are_refused_by_apply_too(name: str) -> None:
    c = CORRUPTIONS[name]
    drawn = c.sample(range(2)) | {"count": torch.tensor([3, 0])}
    with pytest.raises(InputError, match="count: is 0"):
        c.apply(sample_images(2, 32, 32), **drawn)
