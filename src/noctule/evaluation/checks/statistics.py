"""Exact binomial tests, and percentages."""

from __future__ import annotations


def at_least_p(successes: int, trials: int, probability: float) -> float:
    """Probability of at least this number of successes: an exact binomial test.

    >>> at_least_p(3, 3, 0.5), at_least_p(0, 0, 0.5)
    (0.125, 1.0)
    """
    from scipy.stats import binom

    return float(binom.sf(successes - 1, trials, probability))


def at_most_p(successes: int, trials: int, probability: float) -> float:
    """Probability of at most this number of successes.

    >>> at_most_p(0, 3, 0.5)
    0.125
    """
    from scipy.stats import binom

    return float(binom.cdf(successes, trials, probability))


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.8333)
    '83.3 %'
    """
    return f"{100 * share:.1f} %"
