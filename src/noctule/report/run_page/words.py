"""How numbers are written on the page."""

from __future__ import annotations

import re

from noctule.metrics import Estimate
from noctule.report.text_tables import UNDEFINED, interval_cells


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent, without the sign.

    >>> percent(0.25), percent(None)
    ('25.0', '–')
    """
    return UNDEFINED if value is None else f"{100 * value:.{digits}f}"


def cells(estimate: Estimate, scale: float = 100.0, digits: int = 1) -> tuple[str, str]:
    """A number and its interval, with proper minus signs.

    >>> cells(Estimate(-0.02, -0.05, 0.01))
    ('−2.0', '−5.0 to 1.0')
    >>> cells(Estimate(-0.0001, -0.002, 0.01))
    ('0.0', '−0.2 to 1.0')
    """
    value, interval = interval_cells(estimate, scale, digits)
    return _signed(value), _signed(interval)


def _signed(text: str) -> str:
    """With proper minus signs, but for none before what rounds to 0."""
    return re.sub(r"-(0\.?0*)(?![\d.])", r"\1", text).replace("-", "−")


def keys(estimate: Estimate, scale: float = 100.0) -> tuple[float | None, float | None]:
    """What the two cells are sorted by: the value, and the lower bound."""
    value, low = (
        None if one is None else scale * one for one in (estimate.value, estimate.low)
    )
    return value, low


def interval_name(confidence: float) -> str:
    """Of a column.

    >>> interval_name(0.95)
    '95 % CI'
    """
    return f"{100 * confidence:g} % CI"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(1024, "image")
    ('1 image', '1,024 images')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def sentence(text: str) -> str:
    """Text with a capital; mCE keeps its own spelling.

    >>> sentence("relative CE"), sentence("mCE")
    ('Relative CE', 'mCE')
    """
    return text if text.startswith("mCE") else text[:1].upper() + text[1:]
