"""The items of a check: each holds, does not hold, or cannot be verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MAX_CHARS = 120
State = Literal["holds", "does not hold", "cannot be verified"]


@dataclass(frozen=True)
class CheckItem:
    """One checked property of a submission.

    Attributes:
        name: Name of the property.
        state: Outcome of the check.
        detail: The values compared.
    """

    name: str
    state: State
    detail: str


def truncate(text: str) -> str:
    """The text, cut to at most 120 characters."""
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."


def passed(name: str, detail: str) -> CheckItem:
    """An item that holds."""
    return CheckItem(name, "holds", detail)


def failed(name: str, detail: str) -> CheckItem:
    """An item that does not hold."""
    return CheckItem(name, "does not hold", detail)


def unverified(name: str, detail: str) -> CheckItem:
    """An item that cannot be verified."""
    return CheckItem(name, "cannot be verified", detail)


def passed_unless(name: str, flaw: str | None, detail: str) -> CheckItem:
    """An item that holds if there is no flaw."""
    return passed(name, detail) if flaw is None else failed(name, flaw)


def expect_equal(name: str, actual: object, expected: object) -> CheckItem:
    """An item that holds if two values of one type are equal.

    >>> expect_equal("seed", 1, 0)
    CheckItem(name='seed', state='does not hold', detail='1, expected 0')
    """
    if actual == expected and type(actual) is type(expected):
        return passed(name, truncate(f"{actual}"))
    return failed(name, f"{truncate(str(actual))}, expected {expected}")


def same_hash(name: str, actual: object, expected: str) -> CheckItem:
    """As `expect_equal`, for hashes, of which 16 digits are shown."""
    if actual == expected:
        return passed(name, f"{expected[:16]}...")
    return failed(name, f"{str(actual)[:16]}..., expected {expected[:16]}...")
