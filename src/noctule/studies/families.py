"""Families of candidates with similar overlap, and an order for the heat map."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from noctule.sampling import key_of
from noctule.studies.matrix import OverlapMatrix

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]

MIN_MEAN_CORRELATION = 0.5
"""Mean correlation within families that has to be exceeded (arXiv 2107.12052)."""


class Families(NamedTuple):
    """A partition of the candidates of a matrix.

    Attributes:
        labels: Family of each of `OverlapMatrix.names`, numbered from 0 by first appearance.
        mean_correlation: Mean Pearson correlation of the rows of two candidates, over all pairs
            within a family; None if every candidate is its own family.
    """

    labels: tuple[int, ...]
    mean_correlation: float | None


def kmeans_families(matrix: OverlapMatrix, *, seed: int = 0) -> Families:
    """Families by the published rule: k-means on the rows of the scores.

    k is increased from 2 until the mean correlation of rows within families exceeds 0.5
    (Laugros, Caplier & Ospici, arXiv 2107.12052); if it does for no k < n, each candidate is
    its own family. As published, the rows are scores, which have no upper bound: a very large
    score separates its two candidates from the others and, as the diagonal is 1, from each
    other. `hierarchical_families` does not have this problem.

    Departures: the correlation of a constant row is defined (see `_correlations`), and fewer
    than k distinct rows give fewer than k families. The result does not depend on the order of
    the candidates.

    Args:
        matrix: Overlap of n candidates.
        seed: Seed of the initial centres. As published, the best of 100 starts is used, each
            with at most 1,000 iterations. If families are not distinct, other seeds may give
            others.

    >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
    >>> kmeans_families(OverlapMatrix(("a", "b", "c", "d"), blocks))
    Families(labels=(0, 0, 1, 1), mean_correlation=1.0)
    """
    ordered, order = _by_name(matrix)
    scores = ordered.scores

    def cluster(k: int) -> Labels:
        model = KMeans(k, n_init=100, max_iter=1000, random_state=key_of("k-means", seed)[0])
        with warnings.catch_warnings():
            # With fewer than k distinct rows, equal rows form one family, as they should.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels: Labels = model.fit_predict(scores).astype(np.int64)
        return labels

    # For so few rows several threads only wait for each other, and the sums of a single thread
    # are the same everywhere.
    with threadpool_limits(1):
        return _first_coherent(scores, order, cluster)


def hierarchical_families(matrix: OverlapMatrix) -> Families:
    """Families by average linkage of the distances 1 - Ō, with Ō = min(score, 1).

    The tree is cut into at most k families, where k is increased from 2 by the rule of
    `kmeans_families`, with the rows of Ō instead of the scores. Merges at the same height are
    cut together, so that there may be fewer than k. The method is noctule's own, is not random,
    and does not depend on the order of the candidates.

    >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
    >>> hierarchical_families(OverlapMatrix(("a", "b", "c", "d"), blocks)).labels
    (0, 0, 1, 1)
    """
    ordered, order = _by_name(matrix)
    shares = ordered.shares

    def cluster(k: int) -> Labels:
        tree = _tree(shares)
        # All merges up to the one that leaves k. (With the criterion "maxclust", SciPy 1.12
        # gives one family too few if that is the first merge.)
        labels: Labels = hierarchy.fcluster(tree, tree[-k, 2], criterion="distance")
        return labels.astype(np.int64)

    return _first_coherent(shares, order, cluster)


def seriation(matrix: OverlapMatrix) -> tuple[int, ...]:
    """An order of `OverlapMatrix.names`, as indices, with similar candidates next to each
    other.

    It is the order of the leaves of the tree of `hierarchical_families` with the smallest sum
    of distances between neighbours (Bar-Joseph, Gifford & Jaakkola, "Fast optimal leaf ordering
    for hierarchical clustering", Bioinformatics 2001). Of its two directions, the one whose
    first name is alphabetically first is used.

    >>> woven = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.2], [0.9, 0.2, 1.0]])
    >>> seriation(OverlapMatrix(("a", "b", "c"), woven))
    (0, 2, 1)
    """
    if not matrix.names:
        return ()
    ordered, order = _by_name(matrix)
    shares = ordered.shares
    distances = 1 - shares
    branches = [_Branch([leaf], np.zeros((1, 1)), None) for leaf in range(len(shares))]
    for left, right, *_ in _tree(shares) if len(shares) > 1 else []:
        branches.append(_joined(branches[int(left)], branches[int(right)], distances))
    root = branches[-1]
    first, last = np.unravel_index(np.argmin(root.lengths), root.lengths.shape)
    leaves = _traced(root, root.leaves[first], root.leaves[last], distances)
    return tuple(order[leaf] for leaf in (leaves if leaves[0] <= leaves[-1] else leaves[::-1]))


def family_letter(label: int) -> str:
    """The name of a family: A to Z, then AA, AB and so on.

    >>> family_letter(0), family_letter(25), family_letter(26)
    ('A', 'Z', 'AA')
    """
    first, last = divmod(label, 26)
    return (family_letter(first - 1) if first else "") + chr(ord("A") + last)


class _Branch(NamedTuple):
    """A branch of the tree, and its shortest orders.

    SciPy's `optimal_leaf_ordering` is not used, because it often misses the shortest order
    (scipy/scipy#11227).

    Attributes:
        leaves: Candidates in the branch.
        lengths: Length of the shortest order from one leaf to another, (leaves, leaves);
            infinite where the tree does not allow these ends.
        children: The two branches it consists of; None for a leaf.
    """

    leaves: list[int]
    lengths: Matrix
    children: tuple[_Branch, _Branch] | None


def _joined(left: _Branch, right: _Branch, distances: Matrix) -> _Branch:
    across = distances[np.ix_(left.leaves, right.leaves)]
    forwards = _shortest(_shortest(left.lengths, across), right.lengths)
    start = len(left.leaves)
    lengths = np.full((start + len(right.leaves),) * 2, np.inf)
    lengths[:start, start:] = forwards
    lengths[start:, :start] = forwards.T
    return _Branch(left.leaves + right.leaves, lengths, (left, right))


def _shortest(first: Matrix, second: Matrix) -> Matrix:
    """Length of the shortest path through any intermediate point: min over j of x_ij + y_jk."""
    shortest: Matrix = (first[:, :, None] + second).min(axis=1)
    return shortest


def _traced(branch: _Branch, first: int, last: int, distances: Matrix) -> list[int]:
    """The shortest order of a branch between two leaves."""
    if branch.children is None:
        return branch.leaves
    left, right = branch.children
    if first in right.leaves:
        return _traced(branch, last, first, distances)[::-1]
    ways = distances[np.ix_(left.leaves, right.leaves)]
    ways = ways + left.lengths[left.leaves.index(first)][:, None]
    ways = ways + right.lengths[:, right.leaves.index(last)]
    i, j = np.unravel_index(np.argmin(ways), ways.shape)
    return [
        *_traced(left, first, left.leaves[i], distances),
        *_traced(right, right.leaves[j], last, distances),
    ]


def _by_name(matrix: OverlapMatrix) -> tuple[OverlapMatrix, list[int]]:
    """The matrix in alphabetical order, and the original index of each candidate."""
    ordered = matrix.by_name()
    return ordered, [matrix.names.index(name) for name in ordered.names]


def _tree(shares: Matrix) -> Matrix:
    """Average linkage of the distances 1 - Ō, as SciPy's linkage matrix."""
    # Unchecked, because a diagonal that was read from a file may be only approximately 1.
    condensed = squareform(1 - shares, checks=False)
    tree: Matrix = hierarchy.linkage(condensed, method="average")
    return tree


def _first_coherent(
    rows: Matrix, order: Sequence[int], cluster: Callable[[int], Labels]
) -> Families:
    """The first clustering, for k from 2, with a sufficient correlation within families."""
    if not len(rows):
        return Families((), None)
    correlations = _correlations(rows)
    for k in range(2, len(rows)):
        labels = cluster(k)
        mean = _mean_within(correlations, labels)
        if mean is not None and mean > MIN_MEAN_CORRELATION:
            return Families(_numbered(labels, order), mean)
    return Families(tuple(range(len(rows))), None)


def _correlations(rows: Matrix) -> Matrix:
    """Pearson correlation of all pairs of rows.

    For constant rows, the formula is undefined. Here, the correlation of a constant row is 0
    with a row that varies, and 1 with another constant row: as the diagonal is 1, both rows
    consist of ones.
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    # Constant up to the rounding error of the mean.
    flat = norms[:, 0] <= 1e-12 * np.linalg.norm(rows, axis=1)
    unit = np.where(flat[:, None], 0.0, centred / np.where(norms > 0, norms, 1.0))
    return np.where(np.outer(flat, flat), 1.0, np.clip(unit @ unit.T, -1.0, 1.0))


def _mean_within(correlations: Matrix, labels: Labels) -> float | None:
    """Mean over all pairs within a family; None if there are no such pairs."""
    i, j = np.triu_indices(len(labels), 1)
    same = labels[i] == labels[j]
    return float(correlations[i, j][same].mean()) if same.any() else None


def _numbered(labels: Labels, order: Sequence[int]) -> tuple[int, ...]:
    """Labels in the order of the matrix, numbered from 0 by first appearance."""
    own = dict(zip(order, labels.tolist(), strict=True))
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(own[i], len(numbers)) for i in range(len(order)))
