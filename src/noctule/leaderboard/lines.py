"""What a check finds: lines that hold, do not hold, or cannot be verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MOST_SHOWN = 120
State = Literal["holds", "does not hold", "cannot be verified"]


@dataclass(frozen=True)
class CheckItem:
    """One thing that was checked.

    Attributes:
        name: what.
        state: what came of it.
        detail: the values.
    """

    name: str
    state: State
    detail: str


def truncate(text: str) -> str:
    """At most 120 characters, with dots for the rest."""
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def expect_equal(name: str, found: object, due: object) -> CheckItem:
    """Holds if what was found is what is due.

    >>> judged("seed", 1, 0)
    Line(name='seed', state='does not hold', detail='1, where 0 is due')
    """
    if found == due and type(found) is type(due):
        return CheckItem(name, "holds", truncate(f"{found}"))
    return CheckItem(name, "does not hold", f"{truncate(str(found))}, where {due} is due")


def same_hash(name: str, found: object, due: str) -> CheckItem:
    """Like `expect_equal`, for hashes: their first 16 digits are shown."""
    if found == due:
        return CheckItem(name, "holds", f"{due[:16]}...")
    return CheckItem(name, "does not hold", f"{str(found)[:16]}..., where {due[:16]}... is due")


def passed_unless(name: str, flaw: str | None, otherwise: str) -> CheckItem:
    """Holds if there is no flaw."""
    return CheckItem(name, "holds", otherwise) if flaw is None else failed(name, flaw)


def failed(name: str, detail: str) -> CheckItem:
    """Does not hold."""
    return CheckItem(name, "does not hold", detail)


def unverified(name: str, detail: str) -> CheckItem:
    """Cannot be verified."""
    return CheckItem(name, "cannot be verified", detail)
