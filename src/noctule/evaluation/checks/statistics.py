"""Exact tests, and how numbers are written."""

from __future__ import annotations


def at_least_p(successes: int, trials: int, probability: float) -> float:
    """Probability of at least that many successes: an exact binomial test.

    >>> at_least_p(3, 3, 0.5), at_least_p(0, 0, 0.5)
    (0.125, 1.0)
    """
    from scipy.stats import binom

    return float(binom.sf(successes - 1, trials, probability))


def at_most_p(successes: int, trials: int, probability: float) -> float:
    """Probability of at most that many successes.

    >>> at_most_p(0, 3, 0.5)
    0.125
    """
    from scipy.stats import binom

    return float(binom.cdf(successes, trials, probability))


def percent(share: float) -> str:
    """A share as in a sentence.

    >>> percent(0.8333)
    '83.3 %'
    """
    return f"{100 * share:.1f} %"
