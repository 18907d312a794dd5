"""What a check finds: lines that hold, do not hold, or cannot be verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MOST_SHOWN = 120
State = Literal["holds", "does not hold", "cannot be verified"]


@dataclass(frozen=True)
class Line:
    """One thing that was checked.

    Attributes:
        name: what.
        state: what came of it.
        detail: the values.
    """

    name: str
    state: State
    detail: str


def brief(text: str) -> str:
    """At most 120 characters, with dots for the rest."""
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def judged(name: str, found: object, due: object) -> Line:
    """Holds if what was found is what is due.

    >>> judged("seed", 1, 0)
    Line(name='seed', state='does not hold', detail='1, where 0 is due')
    """
    if found == due and type(found) is type(due):
        return Line(name, "holds", brief(f"{found}"))
    return Line(name, "does not hold", f"{brief(str(found))}, where {due} is due")


def same_hash(name: str, found: object, due: str) -> Line:
    """Like `judged`, for hashes: their first 16 digits are shown."""
    if found == due:
        return Line(name, "holds", f"{due[:16]}...")
    return Line(name, "does not hold", f"{str(found)[:16]}..., where {due[:16]}... is due")


def flawless(name: str, flaw: str | None, otherwise: str) -> Line:
    """Holds if there is no flaw."""
    return Line(name, "holds", otherwise) if flaw is None else failed(name, flaw)


def failed(name: str, detail: str) -> Line:
    """Does not hold."""
    return Line(name, "does not hold", detail)


def unverified(name: str, detail: str) -> Line:
    """Cannot be verified."""
    return Line(name, "cannot be verified", detail)
