"""A condition is one corruption at one level, or over its full range, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from noctule.config import Refused
from noctule.corruptions import CORRUPTIONS, LEVELS
from noctule.errors import InputError

CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """One corruption at one level or over its full range (level None), or clean (both None).

    >>> str(Condition("shear", 3)), str(Condition("shear")), str(Condition())
    ('shear@3', 'shear', 'clean')
    """

    corruption: str | None = None
    level: int | None = None

    def __str__(self) -> str:
        if self.corruption is None:
            return CLEAN
        return self.corruption if self.level is None else f"{self.corruption}@{self.level}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition with this name; an alias of a corruption becomes its proper name.

        Raises:
            InputError: unknown corruption, or a level that is not 1 to 5.
        """
        if text == CLEAN:
            return cls()
        name, at, level = text.partition("@")
        if at and level not in {str(known) for known in LEVELS}:
            raise InputError(f"condition '{text}' has level '{level}'", remedy="Use 1 to 5.")
        return cls(CORRUPTIONS[name].name, int(level) if at else None)


def conditions_of(
    corruptions: Iterable[str], levels: Sequence[int] | None
) -> tuple[Condition, ...]:
    """Clean, then each corruption at each level, or once over its full range.

    >>> [str(condition) for condition in conditions_of(["shear", "rain"], [1, 5])]
    ['clean', 'shear@1', 'shear@5', 'rain@1', 'rain@5']
    """
    at = (None,) if levels is None else tuple(levels)
    return (Condition(), *(Condition(name, level) for name in corruptions for level in at))


def proper_names(names: Sequence[str]) -> tuple[str, ...]:
    """Corruptions by their proper names; for the validators of specs.

    Raises:
        Refused: one is unknown, or listed twice.
    """
    try:
        proper = tuple(CORRUPTIONS[name].name for name in names)
    except InputError as error:
        raise Refused.because(error) from error
    refuse_duplicates("corruption", proper)
    return proper


def refuse_duplicates(kind: str, values: Sequence[object]) -> None:
    """For the validators of specs: nothing may be listed twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise Refused(f"{kind} {value!r} is listed twice", "Remove one of the two.")
