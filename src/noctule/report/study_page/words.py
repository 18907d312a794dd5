"""How numbers of a study are written on its page."""

from __future__ import annotations

from noctule.metrics.estimates import Estimate
from noctule.report.study_files import Pair
from noctule.report.tables import UNDEFINED

MINUS = "−"


def score_number(value: float | None) -> str:
    """An overlap, to two digits.

    >>> score_number(0.456), score_number(-0.08), score_number(None)
    ('0.46', '−0.08', '–')
    """
    return UNDEFINED if value is None else _signed(f"{value:.2f}")


def pair_interval(pair: Pair) -> str:
    """The interval of a pair; an end may have no bound."""
    if pair.low is None and pair.high is None:
        return UNDEFINED
    low, high = (
        "no bound" if end is None else score_number(end) for end in (pair.low, pair.high)
    )
    return f"{low} to {high}"


def percent(estimate: Estimate) -> str:
    """A share in percent, to one digit.

    >>> percent(Estimate(0.9144, None, None)), percent(Estimate(None, None, None, "why"))
    ('91.4', '–')
    """
    return UNDEFINED if estimate.value is None else _signed(f"{100 * estimate.value:.1f}")


def percent_interval(estimate: Estimate) -> str:
    """The interval of a share in percent."""
    if estimate.low is None or estimate.high is None:
        return UNDEFINED
    low, high = (_signed(f"{100 * end:.1f}") for end in (estimate.low, estimate.high))
    return f"{low} to {high}"


def share(value: float | None) -> str:
    """A measure of a design, in [0, 1], to three digits as `noctule design` prints it."""
    return UNDEFINED if value is None else f"{value:.3f}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "seed"), counted(1200, "image"), counted(2, "family", "families")
    ('1 seed', '1,200 images', '2 families')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _signed(text: str) -> str:
    """With a minus as long as a digit, and none before what is rounded to 0."""
    if text.startswith("-") and not text.strip("-0."):
        return text[1:]
    return text.replace("-", MINUS)
