"""Conditions: clean, or a corruption at one severity or over its full severity range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from noctule.config import SpecValueError
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.errors import InputError

CLEAN = "clean"


@dataclass(frozen=True)
class Condition:
    """One corruption at a severity or over its full range (None), or clean (both None).

    >>> str(Condition("shear", 3)), str(Condition("shear")), str(Condition())
    ('shear@3', 'shear', 'clean')
    """

    corruption: str | None = None
    severity: int | None = None

    def __str__(self) -> str:
        if self.corruption is None:
            return CLEAN
        return (
            self.corruption if self.severity is None else f"{self.corruption}@{self.severity}"
        )

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse the name of a condition; aliases of corruptions become proper names.

        Raises:
            InputError: The corruption is unknown, or the severity is not 1 to 5.
        """
        if text == CLEAN:
            return cls()
        name, at, severity = text.partition("@")
        if at and severity not in {str(known) for known in SEVERITIES}:
            raise InputError(
                f"condition '{text}' has severity '{severity}'", remedy="Use 1 to 5."
            )
        return cls(CORRUPTIONS[name].name, int(severity) if at else None)


def conditions_of(
    corruptions: Iterable[str], severities: Sequence[int] | None
) -> tuple[Condition, ...]:
    """Clean, then each corruption at each severity, or once over its full range.

    >>> [str(condition) for condition in conditions_of(["shear", "rain"], [1, 5])]
    ['clean', 'shear@1', 'shear@5', 'rain@1', 'rain@5']
    """
    at = (None,) if severities is None else tuple(severities)
    return (
        Condition(),
        *(Condition(name, severity) for name in corruptions for severity in at),
    )


def proper_names(names: Sequence[str]) -> tuple[str, ...]:
    """The proper names of corruptions, for validators of specs.

    Raises:
        SpecValueError: A corruption is unknown or listed twice.
    """
    try:
        proper = tuple(CORRUPTIONS[name].name for name in names)
    except InputError as error:
        raise SpecValueError.because(error) from error
    refuse_duplicates("corruption", proper)
    return proper


def refuse_duplicates(kind: str, values: Sequence[object]) -> None:
    """Raise SpecValueError if a value is listed twice, for validators of specs."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise SpecValueError(f"{kind} {value!r} is listed twice", "Remove one of the two.")
