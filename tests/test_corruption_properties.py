"""What holds for every corruption in the registry, whoever adds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from corruption_cases import coffee, pictures
from scipy import stats

import noctule
from noctule.corruptions import CORRUPTIONS, LEVELS, Corruption, corrupt, spec
from noctule.corruptions.draws import Choice, Field, Integer, Uniform
from noctule.errors import InputError
from noctule.sampling import Stream

pytestmark = pytest.mark.usefixtures("one_thread")

# Names, parameters and ranges as published: smallest and largest value, and ± for a fair sign.
# "whole" ranges include both ends.
WHOLE, REAL = "whole", "real"
PUBLISHED = {
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
COLOR_ONLY = {"arlequin", "color_distortion", "gray_scale", "hue"}


class Case(NamedTuple):
    corruption: Corruption
    dtype: torch.dtype
    channels: int
    height: int
    width: int

    def images(self, count: int = 5) -> torch.Tensor:
        return pictures(
            count, self.height, self.width, channels=self.channels, dtype=self.dtype
        )

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        return f"{self.corruption.name}-{kind}-{self.channels}x{self.height}x{self.width}"


SHAPES = [(3, 32, 32), (3, 48, 80), (3, 97, 61), (3, 224, 224), (1, 33, 32)]
CASES = [
    Case(corruption, dtype, *shape)
    for corruption in CORRUPTIONS.values()
    for dtype in (torch.uint8, torch.float32)
    for shape in SHAPES
    if corruption.channels in (None, shape[0])
]
IDS = ["cat/0.png", "cat/1.png", 4711, 2, "été"]

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each = pytest.mark.parametrize("c", CORRUPTIONS.values(), ids=CORRUPTIONS)


def test_the_registry_holds_what_was_published() -> None:
    drawn = {
        name: [key for key, draw in c.draws.items() if not isinstance(draw, Field)]
        for name, c in CORRUPTIONS.items()
    }
    assert drawn == {name: list(ranges) for name, ranges in PUBLISHED.items()}
    assert {name for name, c in CORRUPTIONS.items() if c.channels == 3} == COLOR_ONLY
    assert CORRUPTIONS["color_disortion"] is CORRUPTIONS["color_distortion"]
    assert noctule.CORRUPTIONS is CORRUPTIONS


# ------------------------------------------------------------------------------ single pictures


def assert_well_formed(result: torch.Tensor, images: torch.Tensor) -> None:
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    if images.dtype == torch.float32:
        assert result.isfinite().all()
        assert result.min() >= 0
        assert result.max() <= 1


@each_case
def test_shape_dtype_and_range_are_kept_and_the_input_too(case: Case) -> None:
    images = case.images()
    before = images.clone()
    result = case.corruption(images, ids=IDS)
    assert_well_formed(result, images)
    assert images.equal(before)
    result.zero_()  # nor is the result a view of the input
    assert images.equal(before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@each
def test_large_pictures(c: Corruption, dtype: torch.dtype) -> None:
    images = pictures(1, 1024, 640, dtype=dtype)
    result = c(images, ids=["large"])
    assert_well_formed(result, images)
    assert not result.equal(images)


@each_case
def test_batch_blind(case: Case) -> None:
    images = case.images()
    together = case.corruption(images, ids=IDS)
    assert case.corruption(images, ids=IDS).equal(together)  # and deterministic
    for number in range(len(IDS)):
        one = slice(number, number + 1)
        assert case.corruption(images[one], ids=IDS[one])[0].equal(together[number]), number


@each_case
def test_order_free(case: Case) -> None:
    images, order = case.images(), [3, 0, 4, 1, 2]
    result = case.corruption(images[order], ids=[IDS[number] for number in order])
    assert result.equal(case.corruption(images, ids=IDS)[order])


@each_case
def test_every_picture_is_changed(case: Case) -> None:
    result = case.corruption(case.images(), ids=IDS)
    for number, image in enumerate(case.images()):
        flat = number == 4  # its grays stay, and its one edge may fall between blocks
        if not (flat and case.corruption.name in ("gray_scale", "hue", "pixelate")):
            assert not result[number].equal(image), number


@pytest.mark.parametrize("level", LEVELS)
@each
def test_batch_blind_at_levels(c: Corruption, level: int) -> None:
    images = pictures(5, 48, 80)
    together = c(images, ids=IDS, level=level)
    apart = [c(images[i : i + 1], ids=IDS[i : i + 1], level=level)[0] for i in range(5)]
    assert torch.stack(apart).equal(together)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@each
def test_any_memory_layout(c: Corruption, dtype: torch.dtype) -> None:
    images = pictures(3, 48, 80, dtype=dtype)
    expected = c(images, ids=IDS[:3])
    layouts = [
        images.contiguous(memory_format=torch.channels_last),
        images.transpose(2, 3).contiguous().transpose(2, 3),
        torch.stack([images, images], dim=-1)[..., 0],
        torch.cat([images, images])[:3],
        images[:1].expand(3, -1, -1, -1),
    ]
    for other in layouts[:-1]:
        before = other.clone()
        assert c(other, ids=IDS[:3]).equal(expected)
        assert other.equal(before)
    shared = c(layouts[-1], ids=IDS[:3])
    assert shared[0].equal(expected[0])
    assert not shared[0].equal(shared[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@each
def test_empty_batch(c: Corruption, dtype: torch.dtype) -> None:
    images = torch.zeros(0, 3, 32, 32, dtype=dtype)
    result = c(images, ids=[])
    assert result.shape == images.shape
    assert result.dtype == dtype


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@each
def test_thread_count(
    c: Corruption, dtype: torch.dtype, threads: Callable[[int], None]
) -> None:
    images = pictures(5, 224, 224, dtype=dtype)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(c(images, ids=IDS))
    assert results[0].equal(results[1])
    assert results[0].equal(results[2])


@pytest.mark.parametrize("images_per_piece", [1, 2])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@each
def test_piece_size(
    c: Corruption, dtype: torch.dtype, images_per_piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(5, 48, 80, dtype=dtype)
    expected = c(images, ids=IDS)
    pieces: list[int] = []

    def counted(images: torch.Tensor, **parameters: torch.Tensor | Stream) -> torch.Tensor:
        pieces.append(len(images))
        return c.kernel(images, **parameters)

    size = images_per_piece * images[0].numel() * c.bytes_per_value
    monkeypatch.setattr(spec, "_working_bytes", lambda device: size)
    cut = Corruption(c.name, c.family, c.source, c.draws, counted, c.channels, c.bytes_per_value)
    assert cut(images, ids=IDS).equal(expected)
    assert pieces == {1: [1, 1, 1, 1, 1], 2: [2, 2, 1]}[images_per_piece]


# Only the luma is rounded to 8 bits on the way.
ROUNDING = {"gray_scale": 1.01}


@pytest.mark.parametrize("shape", [(48, 80), (224, 224)], ids=["48x80", "224x224"])
@each
def test_uint8_is_float32_rounded(c: Corruption, shape: tuple[int, int]) -> None:
    images = pictures(5, *shape)
    rounded = c(images, ids=IDS).to(torch.float32)
    exact = c(images.to(torch.float32) / 255, ids=IDS) * 255
    assert (rounded - exact).abs().max() <= ROUNDING.get(c.name, 0.502)


def test_hue_rounds_float32_to_bytes() -> None:
    images = pictures(5, 48, 80)
    slightly_off = (images / 255 + 0.4 / 255).clamp(max=1)
    result = corrupt(slightly_off, "hue", ids=IDS) * 255
    assert result.round().equal(corrupt(images, "hue", ids=IDS).to(torch.float32))


# --------------------------------------------------------------------------- ids, seeds, levels


@each
def test_ids_and_seeds_differ(c: Corruption) -> None:
    images = coffee()[:, 60:124, 60:124].expand(32, -1, -1, -1)
    result = c(images, ids=range(32))
    assert len({picture.numpy().tobytes() for picture in result}) >= 3  # pixelate has 3 sizes
    other = c(images, ids=range(100, 132))
    reseeded = c(images, ids=range(32), seed=1)
    assert not result.equal(other)
    assert not result.equal(reseeded)
    assert not other.equal(reseeded)


@each
def test_the_forms_of_an_id(c: Corruption) -> None:
    images = pictures(3, 32, 32)
    expected = c(images, ids=[0, 1, 2])
    assert c(images).equal(expected)  # positions are the default
    assert c(images, ids=["0", "1", "2"]).equal(expected)
    assert c(images, ids=torch.arange(3)).equal(expected)
    assert c(images, ids=np.arange(3).tolist()).equal(expected)
    assert corrupt(images, c.name, ids=range(3), seed=0, level=None).equal(expected)


@each
def test_harder_levels_change_more(c: Corruption) -> None:
    # 120 is a multiple of pixelate's 2, 3 and 4: where 3 leaves a rest of 2, as at 224, the
    # published picture moves by a pixel, which changes more than blocks of 4 do.
    image = coffee()[:, 40:160, 40:160]
    images = image.expand(32, -1, -1, -1)
    changes = [
        (c(images, level=level).to(torch.float32) - image).abs().mean().item()
        for level in LEVELS
    ]
    assert changes[0] > 0
    assert changes == sorted(changes), changes
    assert changes[-1] > 1.2 * changes[0], changes
    full = (c(images).to(torch.float32) - image).abs().mean().item()
    assert changes[0] < full < changes[-1]


MANY = 4000


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[int | None, dict[str, torch.Tensor | Stream]]]:
    """Parameters of many images, for every corruption, at every level and without one."""
    return {
        name: {level: c.sample(range(MANY), level=level) for level in (None, *LEVELS)}
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
def test_levels_are_fifths_of_the_range(
    drawn: Drawn, name: str, key: str, kind: str, low: float, high: float
) -> None:
    draw = CORRUPTIONS[name].draws[key]
    at_level = {level: drawn[name][level][key] for level in LEVELS}
    if not getattr(draw, "graded", False):
        full = drawn[name][None][key]
        assert isinstance(full, torch.Tensor)
        assert all(full.equal(values) for values in at_level.values())
        return
    numbers = {level: magnitudes(values, kind) for level, values in at_level.items()}
    fifth = (high - low + (1 if kind.endswith(WHOLE) else 0)) / 5
    for level, values in numbers.items():
        step = level - 1 if getattr(draw, "hardest", "high") == "high" else 5 - level
        start, stop = low + step * fifth, low + (step + 1) * fifth
        if kind.endswith(WHOLE):  # values on the border of two fifths belong to both
            assert (values.min(), values.max()) == (np.floor(start), np.ceil(stop) - 1)
        else:
            assert start - 1e-9 <= values.min() < start + 0.01 * fifth
            assert stop - 0.01 * fifth < values.max() <= stop + 1e-9
    # A different fifth of the images for each level, together: the full range.
    pooled = np.concatenate([values[level - 1 :: 5] for level, values in numbers.items()])
    assert_uniform(pooled, kind, low, high)


@each
def test_levels_share_their_noise(c: Corruption, drawn: Drawn) -> None:
    """The same words at every level: same sign, and the same order among images."""
    for key, draw in c.draws.items():
        first, *others = (drawn[c.name][level][key] for level in (None, *LEVELS))
        if isinstance(draw, Field):
            assert isinstance(first, Stream)
            assert all(isinstance(o, Stream) and o.keys.equal(first.keys) for o in others)
        elif isinstance(draw, Uniform | Integer) and draw.signed:
            assert isinstance(first, torch.Tensor)
            assert all(isinstance(o, torch.Tensor) and o.sign().equal(first.sign()) for o in others)


@each
def test_draws_are_independent_of_each_other(c: Corruption, drawn: Drawn) -> None:
    numbers = [
        values.numpy().astype(float)
        for values in drawn[c.name][None].values()
        if isinstance(values, torch.Tensor)
    ]
    for i, a in enumerate(numbers):
        for b in numbers[:i]:
            z = np.corrcoef(a, b)[0, 1] * np.sqrt(MANY)
            assert 2 * stats.norm.sf(abs(z)) > 1e-4


# --------------------------------------------------------------------------- given parameters


@each
def test_given_parameters_replace_drawn_ones(c: Corruption) -> None:
    images = pictures(4, 48, 80)
    drawn = c.sample(range(4), seed=3)
    expected = c(images, seed=3)
    plain = {key: v for key, v in drawn.items() if isinstance(v, torch.Tensor)}
    assert c(images, seed=3, **plain).equal(expected)
    assert c.apply(images, **drawn).equal(expected)
    single = {key: v[0].item() for key, v in plain.items()}
    assert c(images, seed=3, **single)[0].equal(expected[0])
    if not any(isinstance(draw, Field) for draw in c.draws.values()):
        assert c(images, seed=4, **plain).equal(expected)  # then nothing is left to draw


def test_options_have_names() -> None:
    images = pictures(2, 48, 80)
    for c in CORRUPTIONS.values():
        for key, draw in c.draws.items():
            if isinstance(draw, Choice):
                for index, option in enumerate(draw.options):
                    assert c(images, **{key: option}).equal(c(images, **{key: index}))


@each
def test_unknown_parameters_are_refused(c: Corruption) -> None:
    images = pictures(2, 32, 32)
    known = next(key for key, draw in c.draws.items() if not isinstance(draw, Field))
    with pytest.raises(InputError, match=known):
        c(images, **{known[:-1]: 1})
    with pytest.raises(InputError, match="2 images"):
        c(images, **{known: torch.ones(3)})
    for key, draw in c.draws.items():
        if isinstance(draw, Field):
            with pytest.raises(InputError):
                c(images, **{key: 1})
        if isinstance(draw, Choice):
            with pytest.raises(InputError, match=draw.options[0]):
                c(images, **{key: draw.options[0] + "x"})


@pytest.mark.parametrize("count", [0, -1])
@pytest.mark.parametrize("name", [n for n, c in CORRUPTIONS.items() if "count" in c.draws])
def test_a_count_below_one_is_refused(name: str, count: int) -> None:
    with pytest.raises(InputError, match=f"count is {count}"):
        corrupt(pictures(2, 32, 32), name, count=count)


# -------------------------------------------------------------------------------- wrong images


@each
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 32, 32), dtype=np.uint8), "ndarray"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float64), "float64"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float16), "float16"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "int64"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
        (torch.zeros(1, 1, 3, 32, 32, dtype=torch.uint8), r"\(1, 1, 3, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), r"\(1, 32, 32, 3\)"),
        (torch.zeros(1, 4, 32, 32, dtype=torch.uint8), "channels"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "8 × 8 px"),
        (torch.zeros(1, 3, 32, 15, dtype=torch.uint8), "32 × 15 px"),
        (torch.linspace(-2.1, 2.6, 3072).view(1, 3, 32, 32), "normalis"),
        (torch.linspace(0, 255, 3072).view(1, 3, 32, 32), "255"),
        (torch.full((1, 3, 32, 32), torch.nan), "nan"),
        (torch.full((1, 3, 32, 32), torch.inf), "inf"),
    ],
    ids=[
        "array", "float64", "float16", "int64", "3-d", "5-d", "channels last", "4 channels",
        "8 px", "15 px", "normalised", "0 to 255", "nan", "inf",
    ],
)  # fmt: skip
def test_wrong_images_are_refused(c: Corruption, images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        c(images)
    assert c.name in str(refused.value)


def test_one_bad_value_is_enough() -> None:
    images = torch.full((2, 3, 32, 32), 0.5)
    images[1, 2, 31, 31] = torch.nan
    with pytest.raises(InputError, match="nan"):
        corrupt(images, "blur")


@pytest.mark.parametrize("name", sorted(COLOR_ONLY))
def test_color_corruptions_need_color(name: str) -> None:
    with pytest.raises(InputError, match=r"needs 3 channels, the images have 1") as refused:
        corrupt(pictures(1, 32, 32, channels=1), name)
    assert name in str(refused.value)


def test_the_smallest_size_works() -> None:
    images = pictures(5, 16, 16)
    for c in CORRUPTIONS.values():
        assert_well_formed(c(images, ids=IDS), images)


def test_unknown_names_suggest_the_nearest() -> None:
    images = pictures(1, 32, 32)
    with pytest.raises(InputError, match="shear"):
        corrupt(images, "sheer")
    with pytest.raises(InputError, match="gaussian"):
        CORRUPTIONS["gausian"]
    assert "sheer" not in CORRUPTIONS


@pytest.mark.parametrize("level", [0, 6, -1, 2.5, "3"])
@each
def test_unknown_levels_are_refused(c: Corruption, level: int) -> None:
    with pytest.raises(InputError, match="1 .*to 5"):
        c(pictures(1, 32, 32), level=level)


@each
def test_ids_are_counted(c: Corruption) -> None:
    for ids in ([], [1], [1, 2, 3], torch.arange(3)):
        with pytest.raises(InputError, match=f"{len(ids)} ids for 2 images"):
            c(pictures(2, 32, 32), ids=ids)


# ------------------------------------------------------------------------------- the registry


def test_a_name_is_registered_once() -> None:
    registry = spec.Registry()
    rain = CORRUPTIONS["rain"]
    registry.register(rain, aliases=["drizzle"])
    assert registry["drizzle"] is rain
    assert list(registry) == ["rain"]
    assert len(registry) == 1
    with pytest.raises(ValueError, match="rain"):
        registry.register(rain)
    with pytest.raises(ValueError, match="drizzle"):
        registry.register(CORRUPTIONS["blur"], aliases=["drizzle"])


def test_draws_must_be_the_kernels_parameters() -> None:
    blur = CORRUPTIONS["blur"]
    wrong = Corruption("wrong", blur.family, blur.source, {"sigma": Uniform(0, 1)}, blur.kernel)
    with pytest.raises(ValueError, match="weight"):
        spec.Registry().register(wrong)


@each
def test_every_corruption_is_documented(c: Corruption) -> None:
    assert c.summary.endswith((".", ":"))
    assert c.family in "noise blur geometry occlusion color digital weather".split()
    assert c.source
    assert all(draw.describe() for draw in c.draws.values())
    assert c.kernel.__doc__
    assert all(f"{key}" in c.kernel.__doc__ for key in c.draws)
