"""Numbers, units, signs and counts as tables, charts and sentences show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noctule.errors import shown

if TYPE_CHECKING:
    from noctule.metrics import Estimate

UNDEFINED = "–"
MINUS = "−"


def number(
    value: float | None, digits: int = 1, *, scale: float = 1.0, signed: bool = False
) -> str:
    """A number with a proper minus sign, none before what rounds to 0; None is a dash.

    >>> number(0.25, scale=100), number(-0.04), number(1234, 0), number(None)
    ('25.0', '0.0', '1,234', '–')
    >>> number(3, 2, signed=True), number(-3, 2), number(0.001, 2, signed=True)
    ('+3.00', '−3.00', '0.00')
    """
    if value is None:
        return UNDEFINED
    text = f"{scale * value:{'+' if signed else ''},.{digits}f}"
    return text.replace("-", MINUS) if text.strip("+-0.,") else text.lstrip("+-")


def interval(
    low: float | None,
    high: float | None,
    digits: int = 1,
    *,
    scale: float = 1.0,
    signed: bool = False,
) -> str:
    """The ends of an interval; a dash if one is not known.

    >>> interval(-0.05, 0.01, scale=100), interval(None, 1)
    ('−5.0 to 1.0', '–')
    """
    if low is None or high is None:
        return UNDEFINED
    ends = (number(end, digits, scale=scale, signed=signed) for end in (low, high))
    return " to ".join(ends)


def estimate_texts(
    estimate: Estimate, digits: int = 1, *, scale: float = 100.0, signed: bool = False
) -> tuple[str, str]:
    """A value and its interval; where the value is not defined, the latter is empty.

    >>> from noctule.metrics import Estimate
    >>> estimate_texts(Estimate(-0.02, -0.05, 0.01))
    ('−2.0', '−5.0 to 1.0')
    """
    value = number(estimate.value, digits, scale=scale, signed=signed)
    if estimate.value is None:
        return value, ""
    return value, interval(estimate.low, estimate.high, digits, scale=scale, signed=signed)


def interval_name(confidence: float) -> str:
    """Heading of a column of intervals.

    >>> interval_name(0.95)
    '95 % CI'
    """
    return f"{100 * confidence:g} % CI"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(1024, "image"), counted(2, "class", "classes")
    ('1 image', '1,024 images', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def sentence(text: str) -> str:
    """Text with a capital letter; mCE keeps its own spelling.

    >>> sentence("relative CE"), sentence("mCE")
    ('Relative CE', 'mCE')
    """
    return text if text.startswith("mCE") else text[:1].upper() + text[1:]


def one_line(text: object) -> str:
    """Text without control characters and line breaks."""
    return " ".join(shown(text).split())
