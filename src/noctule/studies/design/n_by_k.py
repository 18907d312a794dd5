"""Many benchmarks of n families with k corruptions each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count, product

from noctule.arguments import seed_number, whole_number
from noctule.errors import InputError
from noctule.sampling import image_words, key_of
from noctule.studies.design.measures import DesignScores, score_design
from noctule.studies.matrix import OverlapMatrix

# Draws made at once.
_GROUP = 64

Names = tuple[str, ...]
Members = dict[int, Names]
"""The candidates of each family, in alphabetical order, by its label; the family whose first
name comes first in the alphabet is the first."""


@dataclass(frozen=True)
class FamilyDesign:
    """A benchmark of some families with the same number of corruptions each.

    Attributes:
        families: Labels of the families, in the order of their first names.
        names: The corruptions, family by family, in alphabetical order within each.
        scores: Of the set.
    """

    families: tuple[int, ...]
    names: tuple[str, ...]
    scores: DesignScores


def n_by_k(
    matrix: OverlapMatrix, labels: Sequence[int], n: int, k: int, count: int, *, seed: int = 0
) -> tuple[FamilyDesign, ...]:
    """Benchmarks of `n` families with `k` corruptions each, no two alike.

    As in Laugros, Caplier & Ospici 2021, "Using Synthetic Corruptions to Measure Robustness to
    Natural Distribution Shifts": n families are chosen among those with at least k members,
    then k members of each. If there are no more than `count` such benchmarks, they are all
    given, by family and then by name. Otherwise they are drawn until `count`
    different ones have come up: every n families alike likely, and every k members of each.
    Those for a smaller count are the first of those for a larger one. Neither the order of the
    candidates nor the numbering of the families changes anything.

    Args:
        matrix: The candidates and their overlap.
        labels: The family of each candidate, in the order of `matrix.names`.
        n: Families in a benchmark.
        k: Corruptions of each family.
        count: Benchmarks wanted.
        seed: Of the draws.

    Raises:
        InputError: Labels for other candidates, a number below 1, or fewer than n families
            with k members (the sizes there are are given).
    """
    n = whole_number(n, "families", low=1)
    k = whole_number(k, "per_family", low=1)
    count, seed = whole_number(count, "count", low=1), seed_number(seed)
    labels = [whole_number(label, "labels", low=0) for label in _sequence(labels)]
    members = _large_families(matrix, labels, n, k, count)
    if _number_possible([len(m) for m in members.values()], n, k) <= count:
        found = list(_all(members, n, k))
    else:
        found = list(_drawn(members, n, k, count, seed))
    family_of = dict(zip(matrix.names, map(int, labels), strict=True))
    return tuple(
        FamilyDesign(
            tuple(dict.fromkeys(family_of[name] for name in names)),
            names,
            score_design(matrix, names),
        )
        for names in found
    )


def _sequence(labels: Sequence[int]) -> Sequence[int]:
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise InputError(
            f"is a {type(labels).__name__}",
            where="labels",
            remedy="Use a whole number for each candidate.",
        )
    return labels


def _large_families(
    matrix: OverlapMatrix, labels: Sequence[int], n: int, k: int, count: int
) -> Members:
    if len(labels) != len(matrix.names):
        raise InputError(
            f"{len(labels)} family labels for {len(matrix.names)} candidates", where="labels"
        )
    families: dict[int, list[str]] = {}
    for name, label in sorted(zip(matrix.names, labels, strict=True)):
        families.setdefault(int(label), []).append(name)
    large = {label: tuple(family) for label, family in families.items() if len(family) >= k}
    if len(large) < n:
        sizes = sorted((len(family) for family in families.values()), reverse=True)
        raise InputError(
            f"{n} families with {k} corruptions are asked for, and the {len(sizes)} families "
            f"have {', '.join(map(str, sizes))}",
            where=matrix.source,
            remedy="Ask for fewer families, or for fewer corruptions of each.",
        )
    return large


def _number_possible(sizes: Sequence[int], n: int, k: int) -> int:
    """The sum, over every n families, of the product of their numbers of k-sets."""
    ways = [1, *[0] * n]  # ways[j]: with j of the families seen so far
    for size in sizes:
        for j in range(n, 0, -1):
            ways[j] += ways[j - 1] * math.comb(size, k)
    return ways[n]


def _all(members: Members, n: int, k: int) -> Iterator[Names]:
    for families in combinations(members.values(), n):
        for sets in product(*(combinations(family, k) for family in families)):
            yield tuple(name for one in sets for name in one)


def _drawn(members: Members, n: int, k: int, wanted: int, seed: int) -> Iterator[Names]:
    """Different benchmarks; draw number t depends on the seed, t and the families' names."""
    candidates = [name for family in members.values() for name in family]
    first_names = [min(family) for family in members.values()]
    seen: set[Names] = set()
    for start in count(0, _GROUP):
        draws = range(start, start + _GROUP)
        for family_order, member_order in zip(
            _random_orders("families", first_names, draws, seed),
            _random_orders("members", candidates, draws, seed),
            strict=True,
        ):
            families = [
                _lowest(family, k, member_order)
                for family in members.values()
                if min(family) in _lowest(first_names, n, family_order)
            ]
            chosen = tuple(name for family in families for name in family)
            if chosen not in seen:
                seen.add(chosen)
                yield chosen
            if len(seen) == wanted:
                return


def _lowest(names: Sequence[str], k: int, order: Mapping[str, tuple[int, int]]) -> Names:
    """The k names that come first in a random order, as they stand: a draw of k of them."""
    first = sorted(names, key=order.__getitem__)[:k]
    return tuple(name for name in names if name in first)


def _random_orders(
    what: str, names: Sequence[str], draws: range, seed: int
) -> list[dict[str, tuple[int, int]]]:
    """For each draw, two random words for each name, to sort them by."""
    keys = [key_of("n-by-k", seed, what, draw) for draw in draws]
    return [
        dict(zip(names, zip(high.tolist(), low.tolist(), strict=True), strict=True))
        for high, low in image_words(keys, names)
    ]
