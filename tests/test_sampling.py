"""The generator against its publication, and its numbers against chance.

Seeds are fixed, so a test that passes always passes; what chance would reject once in 10,000
is rejected.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from noctule.sampling import (
    Stream,
    as_int32,
    bits_of,
    high24,
    image_keys,
    image_words,
    integers,
    key_of,
    threefry2x32,
    unit_interval,
)
from oracles.threefry import WordStream, hashed, threefry
from oracles.threefry import image_words as slow_image_words

REJECT_BELOW = 1e-4
COUNT = 20_000

ONES = 0xFFFFFFFF
PI = (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)
# Random123, kat_vectors: rounds, key, counter, result.
PUBLISHED = [
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
    (13, *PI, (0xBA3E4725, 0xF27D669E)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (20, *PI, (0xC4923A9C, 0x483DF7A0)),
    (32, (0, 0), (0, 0), (0xCEE3D47E, 0xA23DFD5C)),
    (32, (ONES, ONES), (ONES, ONES), (0x6E2FE0D0, 0xB1B76F82)),
    (32, *PI, (0xE2827716, 0xC3C05CDF)),
]


def word(value: int) -> torch.Tensor:
    return torch.tensor([[as_int32(value)]], dtype=torch.int32)


def unsigned(words: torch.Tensor) -> NDArray[np.int64]:
    return words.to(torch.int64).numpy() & ONES


@pytest.mark.parametrize(("rounds", "key", "counter", "expected"), PUBLISHED)
def test_published_vectors(
    rounds: int, key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]
) -> None:
    keys = torch.cat([word(key[0]), word(key[1])], dim=1)
    result = threefry2x32(keys, word(counter[0]), word(counter[1]), rounds=rounds)
    assert tuple(int(unsigned(w)[0, 0]) for w in result) == expected
    assert threefry(key, *counter, rounds) == expected  # the oracle too


@pytest.mark.parametrize("rounds", [13, 20, 32])
def test_equals_the_python_oracle(rounds: int) -> None:
    keys, x0, x1 = np.random.default_rng(rounds).integers(-(2**31), 2**31, (3, 30, 2))
    tensors = [torch.from_numpy(part.astype(np.int32)) for part in (keys, x0, x1)]
    result = [unsigned(part) for part in threefry2x32(*tensors, rounds=rounds)]
    for image in range(30):
        key = (int(keys[image, 0]) & ONES, int(keys[image, 1]) & ONES)
        for element in range(2):
            counter = (int(x0[image, element]) & ONES, int(x1[image, element]) & ONES)
            expected = threefry(key, *counter, rounds)
            assert tuple(int(part[image, element]) for part in result) == expected


def test_counters_are_not_written_to() -> None:
    keys, counter = torch.ones(1, 2, dtype=torch.int32), torch.ones(1, 3, dtype=torch.int32)
    threefry2x32(keys, counter, counter)
    assert keys.eq(1).all()
    assert counter.eq(1).all()


def test_key_of_is_the_documented_hash() -> None:
    assert key_of(-7, "shear") == hashed(b"int:2:-7str:5:shear")
    assert key_of("été") == hashed(b"str:5:" + "été".encode())  # length in bytes
    texts = [("ab", "c"), ("a", "bc"), ("abc",), ("1",), (1,), ("1", ""), ("", "1")]
    assert len({key_of(*parts) for parts in texts}) == len(texts)


def test_words_of_images_equal_the_oracle() -> None:
    ids = ["cat/1.png", "été", "", 0, -3, 10**12]
    names = ["angle_deg", "side"]
    result = image_words([key_of(5, "shear", name) for name in names], ids)
    for name, (x0, x1) in zip(names, result, strict=True):
        expected = [slow_image_words(5, "shear", name, i) for i in ids]
        assert list(zip(unsigned(x0).tolist(), unsigned(x1).tolist(), strict=True)) == expected
    assert [len(x0) for x0, _ in image_words([(1, 2), (3, 4)], [])] == [0, 0]


def test_a_number_and_its_text_are_the_same_id() -> None:
    assert image_keys((1, 2), [4711]).equal(image_keys((1, 2), ["4711"]))
    assert not image_keys((1, 2), [4711]).equal(image_keys((1, 2), ["04711"]))


def test_streams_equal_the_oracle() -> None:
    key = (0xFEDCBA98, 0x01234567)
    stream = Stream(torch.cat([word(key[0]), word(key[1])], dim=1))
    slow = WordStream(key)
    for lane in (0, 1, 5):
        fast = [unsigned(part)[0].tolist() for part in stream.words(9, lane=lane)]
        assert fast == [[slow.word(i, lane=lane, which=w) for i in range(9)] for w in (0, 1)]
    for count in (0, 1, 5, 8):
        assert (
            stream.bits16(count)[0].numpy().astype(np.int64) & 0xFFFF == slow.halves(count)
        ).all()


def test_an_image_has_the_same_words_in_any_company() -> None:
    stream = Stream(image_keys(key_of("company"), list("abcde")))
    order = torch.tensor([3, 0, 4])
    assert stream[order].words(7)[1].equal(stream.words(7)[1][order])
    assert stream[1:3].bits16(7).equal(stream.bits16(7)[1:3])
    assert stream.words(3)[0].equal(stream.words(7)[0][:, :3])  # nor does the count matter
    assert stream.bits16(3).equal(stream.bits16(7)[:, :3])


# -------------------------------------------------------------- samples that should be uniform


def one_image(seed: int = 0) -> Stream:
    return Stream(image_keys(key_of(seed, "tests", "stream"), ["image"]))


SAMPLES = {
    "seeds": lambda: image_words_over([key_of(seed, "tests", "x") for seed in range(COUNT)]),
    "corruptions": lambda: image_words_over([key_of(0, f"c{i}", "x") for i in range(COUNT)]),
    "draws": lambda: image_words_over([key_of(0, "tests", f"x{i}") for i in range(COUNT)]),
    "number ids": lambda: image_words([key_of(0, "tests", "x")], range(COUNT))[0],
    "text ids": lambda: image_words(
        [key_of(0, "tests", "x")], [f"test/{i:06d}.png" for i in range(COUNT)]
    )[0],
    "elements": lambda: tuple(w[0] for w in one_image().words(COUNT)),
    "elements, 13 rounds": lambda: tuple(w[0] for w in one_image().words(COUNT, rounds=13)),
    "lanes": lambda: tuple(
        torch.stack([one_image().words(1, lane=lane)[which][0, 0] for lane in range(1000)])
        for which in (0, 1)
    ),
    "images' fields": lambda: tuple(
        w[:, 0] for w in Stream(image_keys(key_of(0, "tests", "x"), range(COUNT))).words(1)
    ),
}


def image_words_over(keys: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    words = image_words(keys, ["image"])
    return torch.cat([w[0] for w in words]), torch.cat([w[1] for w in words])


@pytest.fixture(scope="module", params=SAMPLES)
def pair(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    """Both words along one key component, all others the same."""
    x0, x1 = SAMPLES[request.param]()
    return x0, x1


def assert_uniform(values: NDArray[np.float64], bins: int = 64) -> None:
    """Mean, variance and histogram of numbers in [0, 1)."""
    count = len(values)
    z_mean = (values.mean() - 0.5) / np.sqrt(1 / 12 / count)
    # The variance of (u - 1/2)² is 1/80 - 1/144 = 1/180.
    z_variance = (np.square(values - 0.5).mean() - 1 / 12) / np.sqrt(1 / 180 / count)
    histogram = np.bincount((values * bins).astype(int), minlength=bins)
    assert 2 * stats.norm.sf(abs(z_mean)) > REJECT_BELOW
    assert 2 * stats.norm.sf(abs(z_variance)) > REJECT_BELOW
    assert stats.chisquare(histogram).pvalue > REJECT_BELOW


def assert_uncorrelated(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    """Neither the values nor their distances from the middle go together."""
    for x, y in ((a, b), (np.abs(a - 0.5), np.abs(b - 0.5))):
        z = np.corrcoef(x, y)[0, 1] * np.sqrt(len(x))
        assert 2 * stats.norm.sf(abs(z)) > REJECT_BELOW


def assert_fair_bits(words: NDArray[np.int64], width: int) -> None:
    for bit in range(width):
        ones = int((words >> bit & 1).sum())
        assert stats.binomtest(ones, len(words)).pvalue > REJECT_BELOW / width


def test_uniform(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for words in pair:
        assert_uniform(unit_interval(words).to(torch.float64).numpy())


def test_every_bit_is_fair(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for words in pair:
        assert_fair_bits(unsigned(words), 32)


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_neighbours_are_independent(pair: tuple[torch.Tensor, torch.Tensor], lag: int) -> None:
    u, v = (unit_interval(words).to(torch.float64).numpy() for words in pair)
    assert_uncorrelated(u, v)
    for a in (u, v):
        for b in (u, v):
            assert_uncorrelated(a[lag:], b[:-lag])


def test_neighbours_differ_in_half_their_bits(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for words in map(unsigned, pair):
        flips = np.bitwise_count(words[1:] ^ words[:-1])
        expected = stats.binom.pmf(np.arange(33), 32, 0.5)
        middle = slice(8, 25)  # the tails are too rare for a chi-square
        observed = np.bincount(flips, minlength=33)
        observed = np.append(observed[middle], observed[:8].sum() + observed[25:].sum())
        shares = np.append(expected[middle], expected[:8].sum() + expected[25:].sum())
        assert stats.chisquare(observed, shares * len(flips)).pvalue > REJECT_BELOW


def test_values_do_not_repeat(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    both = unsigned(pair[0]) << 31 ^ unsigned(pair[1])
    assert len(np.unique(both)) == len(both)


def test_pairs_fill_the_square() -> None:
    """Chi-square of (element i, element i + 1) on a 32 × 32 grid, and of both words."""
    u, v = (w[0].to(torch.int64).numpy() >> 27 & 31 for w in one_image(1).words(100_000))
    for a, b in ((u, v), (u[1:], u[:-1]), (v[1:], v[:-1])):
        grid = np.bincount(a * 32 + b, minlength=1024)
        assert stats.chisquare(grid).pvalue > REJECT_BELOW


def test_sixteen_bits() -> None:
    halves = Stream(image_keys(key_of("halves"), range(4))).bits16(30_000).numpy()
    halves = halves.astype(np.int64) & 0xFFFF
    for row in halves:
        assert_uniform((row + 0.5) / 65536)
        assert_fair_bits(row, 16)
        u = row / 65536
        for lag in (1, 2, 3, 4, 8):
            assert_uncorrelated(u[lag:], u[:-lag])
    assert_uncorrelated(halves[0] / 65536, halves[1] / 65536)


# ------------------------------------------------------------------------ from words to numbers


def test_unit_interval_stays_below_one() -> None:
    extreme = torch.tensor([0, -1, 2**31 - 1, -(2**31), 255, 256], dtype=torch.int32)
    expected = [0.0, 1 - 2**-24, 0.5 - 2**-24, 0.5, 0.0, 2**-24]
    assert unit_interval(extreme).tolist() == expected
    assert unit_interval(extreme).dtype == torch.float32


@pytest.mark.parametrize(("low", "high"), [(3, 8), (-45, 44), (0, 0), (7, 217)])
def test_integers(low: int, high: int) -> None:
    words = one_image(2).words(COUNT)[0][0]
    drawn = integers(words, low, high)
    assert drawn.dtype == torch.int64
    counts = np.bincount((drawn - low).numpy(), minlength=high - low + 1)
    assert len(counts) == high - low + 1  # nothing below, nothing above
    assert counts.min() > 0  # both ends reached
    assert low == high or stats.chisquare(counts).pvalue > REJECT_BELOW
    extreme = torch.tensor([0, -1], dtype=torch.int32)
    assert integers(extreme, low, high).tolist() == [low, high]


def test_integers_take_bounds_per_element() -> None:
    words = one_image(3).words(3)[0][0]
    high = torch.tensor([0, 9, 99])
    alone = [int(integers(words[i], 0, int(high[i]))) for i in range(3)]
    assert integers(words, 0, high).tolist() == alone


def test_low_bit_and_high_bits_are_independent() -> None:
    words = one_image(4).words(COUNT)[0][0]
    bit, rest = bits_of(words).numpy(), high24(words).numpy()
    assert set(bit) == {0, 1}
    table = np.bincount(bit * 16 + (rest >> 20), minlength=32)
    assert stats.chisquare(table).pvalue > REJECT_BELOW
