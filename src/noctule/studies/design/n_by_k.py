"""Benchmarks of n families with k corruptions each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count, product

from noctule.arguments import seed_number, whole_number
from noctule.display import Displayed
from noctule.errors import InputError
from noctule.sampling import image_words, key_of
from noctule.studies.design.measures import DesignScores, score_design
from noctule.studies.matrix import OverlapMatrix

_DRAWS_AT_ONCE = 64

Names = tuple[str, ...]
Members = dict[int, Names]
"""Candidates of each family in alphabetical order, by its label. Families are sorted by their
first names."""


@dataclass(frozen=True, repr=False)
class FamilyDesign(Displayed):
    """A set of corruptions, with the same number from each of some families.

    Attributes:
        families: Labels of the families, sorted by their first names.
        names: Names of the corruptions, family by family, in alphabetical order within each.
        scores: Scores of the set.
    """

    families: tuple[int, ...]
    names: tuple[str, ...]
    scores: DesignScores


def n_by_k(
    matrix: OverlapMatrix, labels: Sequence[int], n: int, k: int, count: int, *, seed: int = 0
) -> tuple[FamilyDesign, ...]:
    """Different benchmarks of `n` families with `k` corruptions each.

    As in Laugros, Caplier & Ospici 2021, "Using Synthetic Corruptions to Measure Robustness to
    Natural Distribution Shifts": n families are chosen among those with at least k members,
    then k members of each. If there are at most `count` such benchmarks, all are returned,
    sorted by family and name. Otherwise, benchmarks are drawn until there are `count` different
    ones: all sets of n families are equally likely, and so are all sets of k members. The
    benchmarks for a smaller count are the first of those for a larger count. The result does
    not depend on the order of the candidates or the numbering of the families.

    Args:
        matrix: Overlap of the candidates.
        labels: Family of each candidate, in the order of `matrix.names`.
        n: Number of families in a benchmark.
        k: Number of corruptions from each family.
        count: Number of benchmarks.
        seed: Seed of the draws.

    Raises:
        InputError: The labels do not match the candidates, a number is below 1, or fewer than n
            families have k members (the message lists the sizes of families).
    """
    n = whole_number(n, "families", low=1)
    k = whole_number(k, "per_family", low=1)
    count, seed = whole_number(count, "count", low=1), seed_number(seed)
    labels = [whole_number(label, "labels", low=0) for label in _sequence(labels)]
    members = _large_families(matrix, labels, n, k, count)
    if _number_possible([len(m) for m in members.values()], n, k) <= count:
        benchmarks = list(_all(members, n, k))
    else:
        benchmarks = list(_drawn(members, n, k, count, seed))
    family_of = dict(zip(matrix.names, map(int, labels), strict=True))
    return tuple(
        FamilyDesign(
            tuple(dict.fromkeys(family_of[name] for name in names)),
            names,
            score_design(matrix, names),
        )
        for names in benchmarks
    )


def _sequence(labels: Sequence[int]) -> Sequence[int]:
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise InputError(
            f"is of type {type(labels).__name__}",
            where="labels",
            remedy="Pass a whole number for each candidate.",
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
            f"there are not {n} families with {k} corruptions: the {len(sizes)} families have "
            f"{', '.join(map(str, sizes))}",
            where=matrix.source,
            remedy="Use fewer families, or fewer corruptions of each.",
        )
    return large


def _number_possible(sizes: Sequence[int], n: int, k: int) -> int:
    """The number of benchmarks: the sum over all n families of the product of their k-sets."""
    ways = [1, *[0] * n]  # ways[j]: number of ways with j of the families so far
    for size in sizes:
        for j in range(n, 0, -1):
            ways[j] += ways[j - 1] * math.comb(size, k)
    return ways[n]


def _all(members: Members, n: int, k: int) -> Iterator[Names]:
    for families in combinations(members.values(), n):
        for sets in product(*(combinations(family, k) for family in families)):
            yield tuple(name for names in sets for name in names)


def _drawn(members: Members, n: int, k: int, total: int, seed: int) -> Iterator[Names]:
    """Different benchmarks; draw t depends only on the seed, t and the families' names."""
    candidates = [name for family in members.values() for name in family]
    first_names = [min(family) for family in members.values()]
    seen: set[Names] = set()
    for start in count(0, _DRAWS_AT_ONCE):
        draws = range(start, start + _DRAWS_AT_ONCE)
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
            if len(seen) == total:
                return


def _lowest(names: Sequence[str], k: int, order: Mapping[str, tuple[int, int]]) -> Names:
    """The k names that are first in a random order, in their original order."""
    first = sorted(names, key=order.__getitem__)[:k]
    return tuple(name for name in names if name in first)


def _random_orders(
    what: str, names: Sequence[str], draws: range, seed: int
) -> list[dict[str, tuple[int, int]]]:
    """For each draw, two random words for each name, by which names are sorted."""
    keys = [key_of("n-by-k", seed, what, draw) for draw in draws]
    return [
        dict(zip(names, zip(high.tolist(), low.tolist(), strict=True), strict=True))
        for high, low in image_words(keys, names)
    ]
