"""The bootstrap's multiplicities: sums, keys and distribution."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from noctule.sampling import resample_counts

REJECT_BELOW = 1e-4


def test_resampling_draws_as_many_as_there_are() -> None:
    for n_images in (1, 2, 7, 1000):
        counts = resample_counts(0, "t", n_images, range(20))
        assert counts.shape == (20, n_images)
        assert counts.dtype == torch.int32
        assert counts.min() >= 0
        assert counts.sum(dim=1).eq(n_images).all()
    assert resample_counts(0, "t", 0, range(3)).shape == (3, 0)
    assert resample_counts(0, "t", 5, []).shape == (0, 5)


def test_a_replicate_depends_on_its_number_only() -> None:
    many = resample_counts(3, "t", 50, range(40))
    assert many[7:12].equal(resample_counts(3, "t", 50, range(7, 12)))
    assert many[[30, 2]].equal(resample_counts(3, "t", 50, [30, 2]))


def test_replicates_differ_in_every_argument() -> None:
    base = resample_counts(3, "t", 50, range(2))
    assert not base[0].equal(base[1])
    assert not base.equal(resample_counts(4, "t", 50, range(2)))
    assert not base.equal(resample_counts(3, "u", 50, range(2)))
    assert not base.equal(resample_counts(3, "t", 51, range(2))[:, :50])


def test_resampling_is_multinomial() -> None:
    n_images, replicates = 100, 2000
    counts = resample_counts(0, "t", n_images, range(replicates)).numpy()
    # Every image is as likely, and one image's count is Binomial(n, 1/n).
    assert stats.chisquare(counts.sum(axis=0)).pvalue > REJECT_BELOW
    observed = np.bincount(counts.ravel())[:5]
    shares = stats.binom.pmf(np.arange(5), n_images, 1 / n_images)
    tail = counts.size - observed.sum()
    expected = np.append(shares, 1 - shares.sum()) * counts.size
    assert stats.chisquare(np.append(observed, tail), expected).pvalue > REJECT_BELOW
    # Neighbouring images: the covariance of multinomial counts is -1/n.
    z = (np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] + 1 / n_images) * np.sqrt(replicates)
    assert 2 * stats.norm.sf(abs(z)) > REJECT_BELOW
