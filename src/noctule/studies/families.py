"""Families of candidates that overlap in the same way, and an order for the heat map."""

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
"""What the mean correlation within families has to exceed (arXiv 2107.12052)."""


class Families(NamedTuple):
    """A partition of the candidates of a matrix.

    Attributes:
        labels: The family of each of `OverlapMatrix.names`, numbered from 0 by first
            appearance.
        mean_correlation: Mean Pearson correlation of the rows of two candidates of one
            family, over all such pairs; None if every candidate is its own family.
    """

    labels: tuple[int, ...]
    mean_correlation: float | None


def kmeans_families(matrix: OverlapMatrix, *, seed: int = 0) -> Families:
    """Families by the published rule: k-means on the rows of the scores.

    k is raised from 2 until the mean correlation of the rows of one family exceeds 0.5
    (Laugros, Caplier & Ospici, arXiv 2107.12052); if no k < n gets there, each candidate is
    its own family. As published the rows are scores, which have no upper bound: a very large
    one sets its two candidates apart, from the others and, the diagonal being 1, from each
    other. `hierarchical_families` is not prone to it.

    Departures: the correlation of a row without variation is defined (see `_correlations`);
    rows of which fewer than k are distinct make fewer than k families. The order of the
    candidates changes nothing.

    Args:
        matrix: N candidates.
        seed: Of the initial centres; the best of a hundred starts counts, each of at most a
            thousand iterations, as published. Where the families are not
            plain, another seed may find others.

    >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
    >>> kmeans_families(OverlapMatrix(("a", "b", "c", "d"), blocks))
    Families(labels=(0, 0, 1, 1), mean_correlation=1.0)
    """
    scores, order = _in_order_of_names(matrix, matrix.scores)

    def cluster(k: int) -> Labels:
        model = KMeans(k, n_init=100, max_iter=1000, random_state=key_of("k-means", seed)[0])
        with warnings.catch_warnings():
            # Fewer distinct rows than k: the rows that are alike are then one family, rightly.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels: Labels = model.fit_predict(scores).astype(np.int64)
        return labels

    # For so few rows more threads only wait for each other, the longer the busier the machine
    # is; and sums of one thread are the same everywhere.
    with threadpool_limits(1):
        return _first_coherent(scores, order, cluster)


def hierarchical_families(matrix: OverlapMatrix) -> Families:
    """Families by average linkage of the distances 1 - Ō, with Ō = min(score, 1).

    The tree is cut into at most k families, k raised from 2 by the rule of `kmeans_families`,
    with the rows of Ō in the place of the scores. Merges at the same height are not told
    apart, so a cut may give fewer than k. Nothing in it is random, and the order of the
    candidates changes nothing. Ours, not published.

    >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
    >>> hierarchical_families(OverlapMatrix(("a", "b", "c", "d"), blocks)).labels
    (0, 0, 1, 1)
    """
    shares, order = _in_order_of_names(matrix, matrix.shares)

    def cluster(k: int) -> Labels:
        tree = _tree(shares)
        # All merges up to the one that leaves k. (By its criterion "maxclust", SciPy 1.12 gives
        # one family too few if that is the first merge.)
        labels: Labels = hierarchy.fcluster(tree, tree[-k, 2], criterion="distance")
        return labels.astype(np.int64)

    return _first_coherent(shares, order, cluster)


def seriation(matrix: OverlapMatrix) -> tuple[int, ...]:
    """An order of `OverlapMatrix.names`, as positions, that puts what overlaps side by side.

    The leaves of the tree of `hierarchical_families`, turned so that the distances between
    neighbours sum to the least the tree allows (Bar-Joseph, Gifford & Jaakkola, "Fast optimal
    leaf ordering for hierarchical clustering", Bioinformatics 2001). Of the two directions,
    the one whose first name comes first in the alphabet.

    >>> woven = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.2], [0.9, 0.2, 1.0]])
    >>> seriation(OverlapMatrix(("a", "b", "c"), woven))
    (0, 2, 1)
    """
    if not matrix.names:
        return ()
    shares, order = _in_order_of_names(matrix, matrix.shares)
    distances = 1 - shares
    branches = [_Branch([leaf], np.zeros((1, 1)), None) for leaf in range(len(shares))]
    for left, right, *_ in _tree(shares) if len(shares) > 1 else []:
        branches.append(_joined(branches[int(left)], branches[int(right)], distances))
    root = branches[-1]
    first, last = np.unravel_index(np.argmin(root.lengths), root.lengths.shape)
    leaves = _traced(root, root.leaves[first], root.leaves[last], distances)
    return tuple(order[leaf] for leaf in (leaves if leaves[0] <= leaves[-1] else leaves[::-1]))


def family_letter(label: int) -> str:
    """What a family is called: A to Z, then AA, AB and so on.

    >>> family_letter(0), family_letter(25), family_letter(26)
    ('A', 'Z', 'AA')
    """
    first, last = divmod(label, 26)
    return (family_letter(first - 1) if first else "") + chr(ord("A") + last)


class _Branch(NamedTuple):
    """A part of the tree, and its shortest orders.

    SciPy's `optimal_leaf_ordering` is not used: it often misses the shortest order
    (scipy/scipy#11227).

    Attributes:
        leaves: Its candidates.
        lengths: (leaves, leaves) length of the shortest order from one leaf to another;
            infinite where the tree does not allow these two ends.
        children: Its two parts; None for a leaf.
    """

    leaves: list[int]
    lengths: Matrix
    children: tuple[_Branch, _Branch] | None


def _joined(left: _Branch, right: _Branch, distances: Matrix) -> _Branch:
    across = distances[np.ix_(left.leaves, right.leaves)]
    one_way = _shortest(_shortest(left.lengths, across), right.lengths)
    start = len(left.leaves)
    lengths = np.full((start + len(right.leaves),) * 2, np.inf)
    lengths[:start, start:] = one_way
    lengths[start:, :start] = one_way.T
    return _Branch(left.leaves + right.leaves, lengths, (left, right))


def _shortest(first: Matrix, second: Matrix) -> Matrix:
    """Shortest way from row to column by any point between: min over j of x_ij + y_jk."""
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


def _in_order_of_names(matrix: OverlapMatrix, values: Matrix) -> tuple[Matrix, list[int]]:
    """Values with rows and columns sorted by name, and where each was.

    What depends on the order, ties and the last bit of sums, then depends on the names only.
    """
    order = sorted(range(len(matrix.names)), key=matrix.names.__getitem__)
    return np.ascontiguousarray(values[np.ix_(order, order)]), order


def _tree(shares: Matrix) -> Matrix:
    """Average linkage of the distances 1 - Ō, as SciPy's linkage matrix."""
    # Unchecked: a diagonal that was read from a file is 1 but for rounding.
    condensed = squareform(1 - shares, checks=False)
    tree: Matrix = hierarchy.linkage(condensed, method="average")
    return tree


def _first_coherent(
    rows: Matrix, order: Sequence[int], cluster: Callable[[int], Labels]
) -> Families:
    """The first clustering, k from 2, whose families hold rows that are correlated enough."""
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
    """Pearson correlation of every two rows.

    A row without variation has none, by the formula. Here it is 0 with a row that varies, for
    it says nothing of what goes along with what, and 1 with another row without variation:
    the diagonal being 1, both are 1 throughout.
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    # Rounding of the mean leaves a trace of the size of the row's last bit.
    flat = norms[:, 0] <= 1e-12 * np.linalg.norm(rows, axis=1)
    unit = np.where(flat[:, None], 0.0, centred / np.where(norms > 0, norms, 1.0))
    return np.where(np.outer(flat, flat), 1.0, np.clip(unit @ unit.T, -1.0, 1.0))


def _mean_within(correlations: Matrix, labels: Labels) -> float | None:
    """Mean over the pairs of one family; None if there are none."""
    i, j = np.triu_indices(len(labels), 1)
    same = labels[i] == labels[j]
    return float(correlations[i, j][same].mean()) if same.any() else None


def _numbered(labels: Labels, order: Sequence[int]) -> tuple[int, ...]:
    """Labels in the matrix's own order, numbered from 0 by first appearance."""
    own = dict(zip(order, labels.tolist(), strict=True))
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(own[i], len(numbers)) for i in range(len(order)))
