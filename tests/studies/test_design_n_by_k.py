from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from noctule.errors import InputError
from noctule.studies.design import n_by_k, score_design
from noctule.studies.matrix import OverlapMatrix

# Families of 3, 2, 1 and 3 candidates.
NAMES = tuple("abcdefghi")
LABELS = [0, 0, 1, 2, 1, 3, 0, 3, 3]
FAMILIES = {0: "abg", 1: "ce", 2: "d", 3: "fhi"}
MATRIX = OverlapMatrix(NAMES, np.eye(9) + 0.1 * (1 - np.eye(9)), {"z": "no gain"})


def every_benchmark(n: int, k: int) -> set[frozenset[str]]:
    """Every set of n · k candidates in which n families have k each: by trying all sets."""
    family_of = dict(zip(NAMES, LABELS, strict=True))
    return {
        frozenset(names)
        for names in combinations(NAMES, n * k)
        if sorted(Counter(family_of[name] for name in names).values()) == [k] * n
    }


SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (2, 3), (1, 3)]


@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_all_are_given_when_there_are_no_more_than_asked_for(n, k) -> None:
    expected = every_benchmark(n, k)
    # Exactly as many as asked for is still all of them; with one fewer they are drawn.
    for count in (len(expected), len(expected) + 1):
        designs = n_by_k(MATRIX, LABELS, n, k, count)
        assert len(designs) == len(expected)
        assert {frozenset(design.names) for design in designs} == expected
        assert designs == n_by_k(MATRIX, LABELS, n, k, count, seed=7)  # nothing is drawn
    if len(expected) > 1:
        drawn = n_by_k(MATRIX, LABELS, n, k, len(expected) - 1)
        assert len({frozenset(design.names) for design in drawn}) == len(expected) - 1


def test_the_number_of_all_by_hand() -> None:
    # Families with 2 members: 3, 2 and 3, with 3, 1 and 3 pairs: 3·1 + 3·3 + 1·3 = 15.
    assert len(n_by_k(MATRIX, LABELS, 2, 2, 99)) == 15
    names = ["".join(design.names) for design in n_by_k(MATRIX, LABELS, 2, 2, 99)]
    assert names[:4] == ["abce", "agce", "bgce", "abfh"]


def test_a_design_names_its_families_and_scores() -> None:
    for design in n_by_k(MATRIX, LABELS, 2, 2, 99) + n_by_k(MATRIX, LABELS, 2, 2, 3):
        first, second = design.families
        assert first < second
        assert set(design.names[:2]) <= set(FAMILIES[first])
        assert set(design.names[2:]) <= set(FAMILIES[second])
        assert design.scores == score_design(MATRIX, design.names)
        assert design.scores.undefined == {"z": "no gain"}


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_drawn_ones_are_among_all_and_differ(n, k) -> None:
    expected = every_benchmark(n, k)
    for count in range(1, len(expected)):
        found = [frozenset(design.names) for design in n_by_k(MATRIX, LABELS, n, k, count)]
        assert len(set(found)) == len(found) == count
        assert set(found) <= expected


def test_draws_depend_on_the_seed_and_fewer_are_the_first_of_more() -> None:
    ten = n_by_k(MATRIX, LABELS, 2, 2, 10, seed=3)
    assert n_by_k(MATRIX, LABELS, 2, 2, 10, seed=3) == ten
    assert n_by_k(MATRIX, LABELS, 2, 2, 4, seed=3) == ten[:4]
    assert n_by_k(MATRIX, LABELS, 2, 2, 10, seed=4) != ten


def test_neither_the_order_of_candidates_nor_the_labels_change_the_draws() -> None:
    backwards = OverlapMatrix(NAMES[::-1], MATRIX.raw)
    other_labels = [7 - label for label in LABELS[::-1]]
    one = n_by_k(MATRIX, LABELS, 2, 2, 6)
    other = n_by_k(backwards, other_labels, 2, 2, 6)
    assert [set(d.names) for d in one] == [set(d.names) for d in other]


def test_families_and_members_are_drawn_alike_often() -> None:
    seeds = 600
    first = [n_by_k(MATRIX, LABELS, 1, 2, 1, seed=seed)[0] for seed in range(seeds)]
    # Three families have two members: a third of 600 each, standard deviation 11.5.
    families = Counter(design.families for design in first)
    assert set(families) == {(0,), (1,), (3,)}
    assert all(abs(times - seeds / 3) < 4 * 11.5 for times in families.values())
    # Of the first family's members a, b and g, each is in two of the three pairs; of about
    # 200 draws the standard deviation is at most 6.7.
    members = Counter(name for d in first if d.families == (0,) for name in d.names)
    for name in "abg":
        assert abs(members[name] - 2 / 3 * families[0,]) < 4 * 6.7


def test_families_and_members_are_drawn_independently() -> None:
    # Families b and c have a single member, family a two; if the same word ordered families
    # and members, which member of the first comes would hang on the family it comes with.
    matrix = OverlapMatrix(("a", "b", "c", "d"), np.eye(4))
    pairs = Counter(
        "".join(n_by_k(matrix, [0, 1, 2, 0], 2, 1, 1, seed=seed)[0].names)
        for seed in range(600)
    )
    # ab, ac, db, dc with 1/6 each, bc with 1/3; standard deviations 9.1 and 11.5.
    for pair in ("ab", "ac", "db", "dc"):
        assert abs(pairs[pair] - 100) < 4 * 9.1
    assert abs(pairs["bc"] - 200) < 4 * 11.5


@pytest.mark.parametrize(
    ("n", "k", "count", "message"),
    [
        (4, 2, 5, "4 families with 2 corruptions: the 4 families have 3, 3, 2, 1"),
        (1, 4, 5, "there are not 1 families with 4 corruptions"),
        (0, 1, 5, "families: 0 is out of range"),
        (1, 0, 5, "per_family: 0 is out of range"),
        (1, 1, 0, "count: 0 is out of range"),
    ],
)
def test_what_no_benchmark_can_be_is_refused(n, k, count, message) -> None:
    with pytest.raises(InputError, match=message):
        n_by_k(MATRIX, LABELS, n, k, count)


def test_labels_have_to_be_one_for_each_candidate() -> None:
    with pytest.raises(InputError, match="8 family labels for 9 candidates"):
        n_by_k(MATRIX, LABELS[:-1], 1, 1, 1)
