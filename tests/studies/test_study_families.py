"""Families and seriation: planted answers, slow oracles, and what they must not depend on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from noctule.sampling import Stream, image_keys, key_of, unit_interval
from noctule.studies.families import (
    Families,
    hierarchical_families,
    kmeans_families,
    seriation,
)
from noctule.studies.matrix import OverlapMatrix

Method = Callable[[OverlapMatrix], Families]
METHODS: list[Method] = [kmeans_families, hierarchical_families]
SEEDS = range(8)


def uniforms(seed: int, *shape: int) -> NDArray[np.float64]:
    words, _ = Stream(image_keys(key_of("test families"), [seed])).words(int(np.prod(shape)))
    return unit_interval(words).numpy().reshape(shape).astype(np.float64)


def matrix_of(raw: NDArray[np.float64] | Sequence[Sequence[float]]) -> OverlapMatrix:
    values = np.array(raw, dtype=np.float64)
    return OverlapMatrix(tuple("abcdefghijklmnopqrstuvwxyz"[: len(values)]), values)


def random_matrix(seed: int, n: int, low: float = 0.01, high: float = 0.99) -> OverlapMatrix:
    """Symmetric, 1 on the diagonal, elsewhere between low and high."""
    upper = np.triu(low + (high - low) * uniforms(seed, n, n), 1)
    return matrix_of(upper + upper.T + np.eye(n))


def block_matrix(families: Sequence[int], seed: int, noise: float) -> OverlapMatrix:
    """About .8 within a family and .1 between families."""
    labels = np.array(families)
    base = np.where(labels[:, None] == labels, 0.8, 0.1)
    jitter = np.triu(noise * (2 * uniforms(seed, *base.shape) - 1), 1)
    values = base + jitter + jitter.T
    np.fill_diagonal(values, 1.0)
    return matrix_of(values)


def blurred(seed: int) -> OverlapMatrix:
    """Four families that are hard to tell apart: k-means depends on its start."""
    return block_matrix([(7 * i) % 4 for i in range(16)], seed, 0.8)


def turned(matrix: OverlapMatrix, order: Sequence[int]) -> OverlapMatrix:
    names = tuple(matrix.names[i] for i in order)
    return OverlapMatrix(names, matrix.raw[np.ix_(order, order)])


def groups(labels: Sequence[int], names: Sequence[str]) -> set[frozenset[str]]:
    return {
        frozenset(name for name, label in zip(names, labels, strict=True) if label == one)
        for one in labels
    }


# By hand


@pytest.mark.parametrize("method", METHODS)
def test_families_by_hand(method: Method) -> None:
    # a with c, b with d: rows 1 0 x 0, 0 1 0 x, x 0 1 0, 0 x 0 1 with x = .5.
    matrix = matrix_of([[1, 0, 0.5, 0], [0, 1, 0, 0.5], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
    families = method(matrix)
    assert families.labels == (0, 1, 0, 1)
    # Means are 3/8; deviations of a in eighths: 5 -3 1 -3, of c: 1 -3 5 -3.
    # Correlation (5 + 9 + 5 + 9) / (25 + 9 + 1 + 9) = 28/44; the same for b and d.
    assert families.mean_correlation == pytest.approx(28 / 44)


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_has_to_exceed_one_half(method: Method) -> None:
    # As above with x: the mean is (1 + x) / 4 and the correlation
    # (2x − (1 + x)² / 4) / (1 + x² − (1 + x)² / 4). At .4 it is (.8 − .49) / (1.16 − .49) =
    # .463 for k = 2, and the same for the one pair that k = 3 leaves.
    def pairs(x: float) -> OverlapMatrix:
        return matrix_of([[1, 0, x, 0], [0, 1, 0, x], [x, 0, 1, 0], [0, x, 0, 1]])

    assert method(pairs(0.4)) == Families((0, 1, 2, 3), None)
    above = method(pairs(0.45))
    # (.9 − .525625) / (1.2025 − .525625)
    assert above.labels == (0, 1, 0, 1)
    assert above.mean_correlation == pytest.approx(0.374375 / 0.676875)


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_candidates(method: Method) -> None:
    assert method(matrix_of([[1]])) == Families((0,), None)
    # k is raised from 2, and two candidates in two families are each its own.
    for x in (0.0, 0.9, 1.0, 3.0):
        assert method(matrix_of([[1, x], [x, 1]])) == Families((0, 1), None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [3, 6])
def test_unrelated_candidates_are_each_their_own_family(method: Method, n: int) -> None:
    # Any two rows of the identity have the correlation −1 / (n − 1).
    assert method(matrix_of(np.eye(n))) == Families(tuple(range(n)), None)


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_are_alike_are_one_family(method: Method) -> None:
    assert method(matrix_of(np.ones((4, 4)))) == Families((0, 0, 0, 0), 1.0)
    # All others have fewer distinct rows than candidates.
    blocks = np.zeros((7, 7))
    for start, end in ((0, 3), (3, 5), (5, 7)):
        blocks[start:end, start:end] = 1
    families = method(matrix_of(blocks))
    assert families.labels == (0, 0, 0, 1, 1, 2, 2)
    assert families.mean_correlation == pytest.approx(1.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_without_variation_is_correlated_with_no_row_that_varies(method: Method) -> None:
    # a overlaps wholly with all; at k = 2 it is with b or with c, at correlation 0.
    assert method(matrix_of([[1, 1, 1], [1, 1, 0], [1, 0, 1]])) == Families((0, 1, 2), None)
    # Two such rows are alike. k-means leaves the two together at k = 3; by distance c is as
    # near to them as they are to each other, and 1, 0, 0 are not enough.
    matrix = matrix_of([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 1]])
    group_equal = Families((0, 0, 1, 2), 1.0), Families((0, 1, 2, 3), None)
    assert method(matrix) == group_equal[METHODS.index(method)]


def test_scores_and_not_negative_overlap_make_families() -> None:
    matrix = matrix_of([[1, 0, 0.6, -3], [0, 1, -0.5, 0.6], [0.6, -0.5, 1, 0], [-3, 0.6, 0, 1]])
    cut = matrix_of(matrix.scores)
    for method in METHODS:
        assert method(matrix) == method(cut)
        assert method(matrix).labels == (0, 1, 0, 1)
    assert seriation(matrix) == seriation(cut)


def test_a_very_large_score_sets_two_candidates_apart_in_k_means_only() -> None:
    matrix = block_matrix([0, 0, 0, 1, 1, 1], 0, 0.02)
    matrix.raw[0, 1] = matrix.raw[1, 0] = 50.0
    labels = kmeans_families(matrix).labels
    assert len({labels[0], labels[1], labels[2]}) == 3
    assert hierarchical_families(matrix).labels == (0, 0, 0, 1, 1, 1)


# Oracles


def slow_mean_correlation(rows: NDArray[np.float64], labels: Sequence[int]) -> float | None:
    pairs = [
        float(np.corrcoef(rows[i], rows[j])[0, 1])
        for i, j in itertools.combinations(range(len(rows)), 2)
        if labels[i] == labels[j]
    ]
    return sum(pairs) / len(pairs) if pairs else None


def slow_average_linkage(distances: NDArray[np.float64], k: int) -> list[int]:
    clusters = [[i] for i in range(len(distances))]
    while len(clusters) > k:
        a, b = min(
            itertools.combinations(range(len(clusters)), 2),
            key=lambda pair: np.mean(distances[np.ix_(clusters[pair[0]], clusters[pair[1]])]),
        )
        clusters[a] += clusters.pop(b)
    return [
        next(c for c, cluster in enumerate(clusters) if i in cluster)
        for i in range(len(distances))
    ]


def expect_first_coherent(
    families: Families,
    matrix: OverlapMatrix,
    rows: NDArray[np.float64],
    cluster: Callable[[int], Sequence[int]],
) -> None:
    for k in range(2, len(rows)):
        labels = cluster(k)
        mean = slow_mean_correlation(rows, labels)
        if mean is not None and mean > 0.5:
            assert groups(families.labels, matrix.names) == groups(labels, matrix.names)
            assert families.mean_correlation == pytest.approx(mean)
            return
    assert families == Families(tuple(range(len(rows))), None)


@pytest.mark.parametrize("seed", SEEDS)
def test_hierarchical_families_agree_with_a_naive_linkage(seed: int) -> None:
    matrix = random_matrix(seed, 9)
    distances = 1 - np.clip(matrix.raw, 0, 1)
    expect_first_coherent(
        hierarchical_families(matrix),
        matrix,
        np.clip(matrix.raw, 0, 1),
        lambda k: slow_average_linkage(distances, k),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_k_means_families_follow_the_published_rule(seed: int) -> None:
    # Plain k-means from many other starts finds the same clusters.
    matrix = block_matrix([0, 1, 2, 0, 1, 2, 0, 3], seed, 0.15)
    rows = np.maximum(matrix.raw, 0)
    expect_first_coherent(
        kmeans_families(matrix),
        matrix,
        rows,
        lambda k: KMeans(k, n_init=50, random_state=99).fit_predict(rows).tolist(),
    )


def test_the_oracles_stop_at_several_k() -> None:
    counts = {len(set(hierarchical_families(random_matrix(s, 9)).labels)) for s in SEEDS}
    assert len(counts) >= 3


def test_seriation_is_the_best_order_the_tree_allows() -> None:
    for seed in range(20):
        matrix = random_matrix(seed, 6)
        distances = 1 - np.clip(matrix.raw, 0, 1)
        trees = [slow_average_linkage(distances, k) for k in range(1, 6)]

        def together(order: tuple[int, ...], trees: Sequence[Sequence[int]] = trees) -> bool:
            # The tree allows an order if every one of its clusters is in one piece.
            return all(
                len(list(itertools.groupby(order, key=labels.__getitem__))) == len(set(labels))
                for labels in trees
            )

        def length(order: tuple[int, ...], distances: NDArray[np.float64] = distances) -> float:
            return float(sum(distances[i, j] for i, j in itertools.pairwise(order)))

        found = seriation(matrix)
        assert together(found)
        best = min(
            length(order) for order in itertools.permutations(range(6)) if together(order)
        )
        assert length(found) == pytest.approx(best)


# Planted structure


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", SEEDS)
def test_planted_families_are_found(method: Method, seed: int) -> None:
    planted = (0, 1, 0, 2, 2, 1, 0, 1, 2, 2)
    assert method(block_matrix(planted, seed, 0.05)).labels == planted


def test_seriation_keeps_families_together_and_straightens_a_line() -> None:
    planted = (0, 1, 0, 2, 2, 1, 0, 1, 2, 2)
    order = seriation(block_matrix(planted, 0, 0.05))
    assert sorted(order) == list(range(10))
    assert len(list(itertools.groupby(planted[i] for i in order))) == 3
    places = np.array([3, 0, 6, 1, 5, 2, 4])
    line = np.maximum(1 - np.abs(places[:, None] - places) / 10, 0)
    found = places[list(seriation(matrix_of(line)))].tolist()
    assert found in (list(range(7)), list(range(6, -1, -1)))


def test_seriation_of_few_and_of_ties() -> None:
    assert seriation(matrix_of([[1]])) == (0,)
    assert seriation(matrix_of([[1, 0.2], [0.2, 1]])) == (0, 1)
    # All orders are as good: still one that holds each candidate once.
    assert sorted(seriation(matrix_of(np.ones((4, 4))))) == [0, 1, 2, 3]


# What nothing depends on


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_candidates_does_not_matter(method: Method) -> None:
    for seed in SEEDS[:3]:
        # Ties included: the identity has nothing else.
        for matrix in (
            random_matrix(seed, 9, -0.5, 1.5),
            blurred(seed),
            matrix_of(np.eye(8)),
        ):
            order = np.argsort(uniforms(seed + 100, len(matrix.names))).tolist()
            other = turned(matrix, order)
            first, second = method(matrix), method(other)
            assert groups(first.labels, matrix.names) == groups(second.labels, other.names)
            assert first.mean_correlation == second.mean_correlation
            names = [matrix.names[i] for i in seriation(matrix)]
            assert names == [other.names[i] for i in seriation(other)]
            assert names[0] < names[-1]


@pytest.mark.parametrize("method", METHODS)
def test_labels_are_numbered_by_first_appearance(method: Method) -> None:
    for seed in SEEDS[:3]:
        labels = method(turned(blurred(seed), range(15, -1, -1))).labels
        firsts = list(dict.fromkeys(labels))
        assert firsts == list(range(len(firsts)))


def test_families_are_the_same_every_time_and_on_any_number_of_threads() -> None:
    for seed in range(2):
        matrix = blurred(seed)
        first = kmeans_families(matrix)
        for threads in (1, 4):
            with threadpool_limits(threads):
                assert kmeans_families(matrix) == first


def test_the_starts_are_as_published_and_depend_on_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred starts of at most a thousand iterations each (arXiv 2107.12052)."""
    asked: list[dict[str, int]] = []

    def recorded(k: int, **options: int) -> KMeans:
        asked.append(options)
        return KMeans(k, **options)

    monkeypatch.setattr("noctule.studies.families.KMeans", recorded)
    for seed in (0, 0, 1):
        kmeans_families(block_matrix([0, 0, 1, 1], 0, 0.05), seed=seed)
    assert [(one["n_init"], one["max_iter"]) for one in asked] == [(100, 1000)] * 3
    first, again, other = (one["random_state"] for one in asked)
    assert first == again != other
